"""Every example runs as it is, and so does the README's first code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgemeta.data import Digits

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(p for p in (ROOT / "examples").glob("*.py") if p.stem != "make_recipes")

# Words that each example prints only when it did its task.
SAYS = {
    "bounded_memory": "the weights are those of all examples: True",
    "camera_vote": "I see a 8",
    "choose_a_head": "ridge",
    "correct_a_label": "{'four': 4}",
    "first_steps": "seven, ",
    "forget_and_undo": "as if never seen: True",
    "how_well_is_it_known": "looks mislabelled: ",
    "images_from_a_folder": "right on ",
    "learn_a_number": "the gauge shows 47: read 4",
    "merge_two_devices": "is taken for a two",
    "notice_drift": "noticed after ",
    "own_embeddings": "label='running'",
    "pin_a_bundle": "refused: BundleDamagedError",
    "save_and_reopen": "still known: {'0': 5",
    "say_unknown": "a seven: label None, nearest ",
    "start_from_the_factory": "taught are a symbol of my own",
    "start_from_other_tasks": "five readings, with what other devices taught: off by 0.0",
    "train_and_export": "<Bundle mine: 64 dimensions",
    "export_your_own": "tflite-int8: ",
    "wrap_a_model": "<Bundle mine: 256 dimensions",
    "watch_from_another_process": "something new: True, now ('five', 'six')",
}


def run(path: Path, folder: Path) -> str:
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, tmp_path):
    assert SAYS[path.stem] in run(path, tmp_path)


CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)


def test_the_readmes_first_code(tmp_path):
    code = CODE[0]
    digits = Digits().load()
    for name, i in (("stop", 0), ("go", 1), ("new", digits.members()[1][7])):
        Image.fromarray(digits.pixels[i]).save(tmp_path / f"{name}.png")
    script = tmp_path / "readme.py"
    script.write_text(code, encoding="utf-8")
    assert run(script, tmp_path).strip() == "go"
    assert (tmp_path / "signs.learned").exists()


def test_the_readmes_second_code(tmp_path):
    setting = """
from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
frames, frame = list(digits.pixels[:3]), digits.pixels[4]
with Learner("glyphs", "other-device.learned") as other:
    other.learn(digits.pixels[5], "slow")
"""
    script = tmp_path / "readme.py"
    script.write_text(setting + CODE[1] + "    print(learner.counts)\n", encoding="utf-8")
    said = run(script, tmp_path).strip()
    assert "too few examples to say" in said and said.endswith("{'slow': 1, 'stop': 3}")


def test_the_readmes_third_code(tmp_path):
    setting = """
import numpy as np
from edgemeta import Learner
from edgemeta.data import Digits

digits = Digits().load()
with Learner("glyphs", "signs.learned") as learner:
    for digit in (3, 8):
        learner.learn_many(digits.pixels[digits.members()[digit][::15]], str(digit))
frame = digits.pixels[digits.members()[0][3]]
usual_frames = digits.pixels[np.random.default_rng(0).integers(len(digits.pixels), size=300)]
"""
    script = tmp_path / "readme.py"
    script.write_text(setting + CODE[2] + "print(prediction.label)\n", encoding="utf-8")
    said = run(script, tmp_path).splitlines()
    assert said[0].split()[0] in ("3", "8") and float(said[0].split()[1]) > 1.0 and said[-1] == "None"
    assert said[1].startswith("no window of ")


def test_the_readmes_fourth_code(tmp_path):
    setting = """
from edgemeta.data import Digits

digits = Digits().load()
photos, readings, photo = digits.pixels[:30], digits.labels[:30], digits.pixels[40]
"""
    script = tmp_path / "readme.py"
    script.write_text(setting + CODE[3], encoding="utf-8")
    assert "30 examples, 30 of them independent, ridge" in run(script, tmp_path)
