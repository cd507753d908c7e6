"""The command line: what it prints, and exit status 2 with one clear line for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_bundle import small_bundle

from edgemeta import Learner, kernels
from edgemeta.cli import main
from edgemeta.data import Digits
from edgemeta.heads import head_names
from edgemeta.journal import Journal, NewExample


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bundle and six images of each of two digits, as the current folder."""
    monkeypatch.chdir(tmp_path)
    small_bundle(tmp_path / "small.edgemeta")
    digits = Digits().load()
    for digit in (0, 1):
        for number, i in enumerate(digits.members()[digit][:6]):
            Image.fromarray(digits.pixels[i]).save(tmp_path / f"{digit}-{number}.png")
    return tmp_path


def images(digit: int, *numbers: int) -> list[str]:
    return [f"{digit}-{n}.png" for n in numbers]


def teach(*, bundle: bool = True) -> None:
    extra = ["--bundle", "small.edgemeta"] if bundle else []
    for digit, label in ((0, "zero"), (1, "one")):
        assert main(["learn", "x.learned", *extra, "--label", label, *images(digit, 0, 1, 2)]) == 0


def test_learn_predict_forget_undo_list(desk, capsys):
    teach()
    assert "known now: one 3, zero 3" in capsys.readouterr().out
    assert main(["predict", "x.learned", *images(0, 4), *images(1, 4), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [a["label"] for a in answers] == ["zero", "one"]
    assert answers[0]["ranked"][0]["confidence"] == answers[0]["confidence"]
    assert main(["forget", "x.learned", "--label", "one"]) == 0
    assert main(["predict", "x.learned", *images(1, 4)]) == 0
    assert "1-4.png: zero" in capsys.readouterr().out
    assert main(["undo", "x.learned"]) == 0
    assert main(["list", "x.learned", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"labels": {"one": 3, "zero": 3}}


def test_numbers_from_the_command_line(desk, capsys):
    for digit in (0, 1):
        teach = ["learn", "n.learned", "--bundle", "small.edgemeta", "--target", f"{digit},-{digit}.5", "--group", "g"]
        assert main([*teach, *images(digit, 0, 1, 2)]) == 0
    assert "known now: 6 examples" in capsys.readouterr().out
    assert main(["predict", "n.learned", *images(0, 4), *images(1, 4), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers[0]["mean"][0] < 0.5 < answers[1]["mean"][0] and len(answers[0]["mean"]) == 2
    assert main(["predict", "n.learned", *images(0, 4)]) == 0
    assert "0-4.png: Estimate(" in capsys.readouterr().out
    assert main(["list", "n.learned", "--json"]) == 0 and main(["list", "n.learned"]) == 0
    assert capsys.readouterr().out.splitlines() == ['{"examples": 6}', "6 examples of 2 numbers"]
    assert main(["list", "n.learned", "--examples", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["examples"]
    assert [row["target"] for row in rows] == [[0.0, -0.5]] * 3 + [[1.0, -1.5]] * 3 and rows[0]["group"] == "g"
    assert main(["forget", "n.learned", "--example", rows[0]["id"]]) == 0
    assert main(["list", "n.learned", "--examples"]) == 0 and main(["report", "n.learned"]) == 0
    assert "1, -1.5" in capsys.readouterr().out
    assert main(["inspect", "n.learned", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == 2
    for bad, said in (
        (["learn", "n.learned", "--target", "x", "0-0.png"], "--target is a number"),
        (["learn", "n.learned", "--target", "1", "0-0.png"], "targets=2"),
        (["learn", "n.learned", "--target", "nan,1", "0-0.png"], "NaN"),
        (["learn", "n.learned", "--label", "a", "0-0.png"], "Regressor"),
        (["report", "n.learned", "--head", "lda"], "--head is for classes"),
        (["predict", "n.learned", "--unknown", "0.05", "0-0.png"], "--unknown is for classes"),
    ):
        assert main(bad) == 2
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1


def test_forget_one_example_by_the_id_that_list_shows(desk, capsys):
    teach()
    capsys.readouterr()
    main(["list", "x.learned", "--examples", "--json"])
    example = json.loads(capsys.readouterr().out)["examples"][0]["id"]
    assert main(["forget", "x.learned", "--example", example]) == 0
    assert main(["list", "x.learned", "--examples"]) == 0
    assert example not in capsys.readouterr().out


def test_merge_compact_repair_inspect(desk, capsys):
    teach()
    main(["learn", "y.learned", "--bundle", "small.edgemeta", "--label", "two", *images(1, 5)])
    assert main(["merge", "x.learned", "y.learned"]) == 0
    assert "1 examples came" in capsys.readouterr().out
    main(["forget", "x.learned", "--label", "two"])
    before = Path("x.learned").stat().st_size
    assert main(["compact", "x.learned"]) == 0
    assert Path("x.learned").stat().st_size < before
    assert main(["inspect", "x.learned", "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["labels"] == {"zero": 3, "one": 3}
    assert main(["repair", "x.learned"]) == 0
    assert main(["inspect", "small.edgemeta", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["embedding"]["dim"] == 16


def test_repair_with_the_bundle_when_the_header_is_lost(desk, capsys):
    teach()
    damaged = bytearray(Path("x.learned").read_bytes())
    damaged[:128] = bytes(128)
    Path("x.learned").write_bytes(damaged)
    assert main(["list", "x.learned"]) == 2
    assert main(["repair", "x.learned", "--bundle", "small.edgemeta"]) == 0
    with Learner("small.edgemeta", "x.learned", readonly=True) as learner:
        assert learner.counts == {"one": 3, "zero": 3}


def test_relearn_moves_to_another_backbone(desk, capsys):
    small_bundle(desk / "newer.edgemeta", seed=3)
    main(["learn", "x.learned", "--bundle", "small.edgemeta", "--label", "a", "--keep", "input", *images(0, 0, 1)])
    assert main(["relearn", "x.learned", "--bundle", "newer.edgemeta", "--out", "y.learned"]) == 0
    with Learner("newer.edgemeta", "y.learned") as moved, Learner("newer.edgemeta") as fresh:
        fresh.learn_many(images(0, 0, 1), "a")
        assert (moved.solution().weights == fresh.solution().weights).all()
    teach()  # these have no stored input
    capsys.readouterr()
    assert main(["relearn", "x.learned", "--bundle", "newer.edgemeta", "--out", "z.learned"]) == 2
    assert "keep='input'" in capsys.readouterr().err
    assert not Path("z.learned").exists()


def test_verify_passes_a_true_bundle_and_fails_a_wrong_one(desk, capsys):
    assert main(["verify", "small.edgemeta", "--json"]) == 0
    check = json.loads(capsys.readouterr().out)[0]
    assert check["cosine"] > 0.9999 and check["ok"]
    wrong = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    small_bundle(desk / "wrong.edgemeta", golden_outputs=wrong)
    assert main(["verify", "wrong.edgemeta"]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_eval_of_every_head(desk, capsys):
    command = ["eval", "small.edgemeta", "--data", "digits", "--ways", "5", "--shots", "5", "--episodes", "4"]
    assert main([*command, "--head", "all", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"auto", *head_names()}
    assert found["ridge"]["head"] == "ridge" and found["neighbours"]["nbytes"] > found["cosine"]["nbytes"]
    assert all(0 <= one["calibration_error"] < 50 for one in found.values())
    assert main([*command, "--head", "all"]) == 0
    assert "confidence off by" in capsys.readouterr().out
    assert main(["eval", "small.edgemeta", "--data", "omniglot-runs:.", "--head", "all"]) == 2


def test_eval_of_a_bundle(desk, capsys):
    options = ["--data", "digits", "--ways", "5", "--shots", "5", "--episodes", "40", "--json"]
    assert main(["eval", "small.edgemeta", *options]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {"accuracy", "ci95", "episodes", "ways", "shots"} <= set(first)
    assert first["episodes"] == 40 and 60 < first["accuracy"] < 100 and 0 < first["ci95"] < 10
    main(["eval", "small.edgemeta", *options])
    second = json.loads(capsys.readouterr().out)
    times = {"solve_us": 0, "predict_us": 0}
    assert {**second, **times} == {**first, **times}
    assert first["solve_us"] > 0 and first["predict_us"] > 0 and first["nbytes"] > 0
    main(["eval", "small.edgemeta", *options, "--head", "ridge"])
    assert json.loads(capsys.readouterr().out)["head"] == "ridge"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "none.learned", "0-0.png"], "there is no none.learned"),
        (["predict", "x.learned", "none.png"], "none.png"),
        (["predict", "x.learned", "small.edgemeta"], "small.edgemeta"),
        (["learn", "x.learned", "--label", "", "0-0.png"], "label"),
        (["learn", "x.learned", "--label", "a\x1b[31m", "0-0.png"], "control character"),
        (["learn", "x.learned", "--bundle", "other.edgemeta", "--label", "a", "0-0.png"], "embeddings"),
        (["learn", "x.learned", "--bundle", "none.edgemeta", "--label", "a", "0-0.png"], "no bundle"),
        (["forget", "x.learned", "--label", "nobody"], "nobody"),
        (["forget", "x.learned", "--example", "7"], "not an example id"),
        (["merge", "x.learned", "y.learned"], "y.learned"),
        (["predict", "x.learned", "--head", "forest", "0-0.png"], "unknown head"),
        (["eval", "small.edgemeta", "--data", "mnist"], "unknown data"),
        (["eval", "small.edgemeta", "--data", "digits", "--ways", "11"], "11"),
        (["eval", "small.edgemeta", "--data", "omniglot:nowhere"], "Omniglot"),
        (["eval", "small.edgemeta", "--data", "folder:nowhere"], "nowhere"),
        (["eval", "nowhere.edgemeta", "--data", "digits"], "no bundle"),
        (["inspect", "nowhere.learned"], "nowhere.learned"),
        (["verify", "torn.edgemeta"], "torn.edgemeta"),
        (["train", "--data", "digits", "--out", "run", "--steps", "0"], "steps"),
        (["train", "--data", "digits", "--out", "run", "--seed", "-1"], "seed"),
        (["train", "--data", "digits", "--out", "run", "--learning-rate", "-1"], "learning rate"),
        (["train", "--data", "digits", "--out", "run", "--width", "0"], "at least 1"),
        (["train", "--data", "digits", "--out", "run", "--minutes", "nan"], "minutes"),
        (["train", "--data", "digits", "--out", "0-0.png", "--steps", "1", "--ways", "3", "--size", "24"], "0-0.png"),
        (["eval", "small.edgemeta", "--data", "digits", "--episodes", "0"], "episodes"),
        (["eval", "small.edgemeta", "--data", "digits", "--seed", "-1"], "seed"),
        (["demo", "--draws", "0"], "draws"),
        (["export", "empty", "--out", "e.edgemeta"], "config.json"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(desk, capsys, arguments, message):
    teach()
    small_bundle(desk / "other.edgemeta", seed=9)
    (desk / "torn.edgemeta").write_bytes((desk / "small.edgemeta").read_bytes()[:1000])
    (desk / "empty").mkdir()
    before = (desk / "x.learned").read_bytes()
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("edgemeta: ") and message in error
    assert "Traceback" not in error and error.count("\n") == 1 and "\x1b" not in error
    assert (desk / "x.learned").read_bytes() == before


def test_one_episode_is_json_too(desk, capsys):
    assert main(["eval", "small.edgemeta", "--data", "digits", "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["ci95"] is None


def test_a_terminal_without_the_letters_still_learns(desk):
    command = [sys.executable, "-m", "edgemeta", "learn", "x.learned", "--bundle", "small.edgemeta", "--label", "müg"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*command, "0-0.png"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "m\\xfcg" in done.stdout


def test_several_images_are_learned_all_or_none(desk):
    teach()
    assert main(["learn", "x.learned", "--label", "zero", "0-3.png", "broken.png"]) == 2
    with Learner("small.edgemeta", "x.learned", readonly=True) as learner:
        assert learner.counts == {"one": 3, "zero": 3}


def test_usage_errors_are_status_2(desk):
    with pytest.raises(SystemExit) as stop:
        main(["learn"])
    assert stop.value.code == 2


def test_labels_of_a_hostile_file_are_escaped(desk, capsys, monkeypatch):
    """The library refuses control characters, so a file that holds them is written without its check."""
    teach()
    with monkeypatch.context() as unchecked:
        unchecked.setattr("edgemeta.journal.new.check_label", lambda label, what="label": label)
        with Journal.peek("x.learned") as seen:
            key, dim = seen.embedding_id, seen.dim
        with Journal.open("x.learned", embedding_id=key, dim=dim) as journal:
            journal.append([NewExample("a\x1b[2J\u202eb", np.ones(dim, dtype=np.int32), group="g\x1b[2J")])
    capsys.readouterr()
    for command in (["list", "x.learned", "--examples"], ["inspect", "x.learned"], ["predict", "x.learned", "0-3.png"]):
        main(command)
        out, error = capsys.readouterr()
        assert "\x1b" not in out + error and "\u202e" not in out + error
    assert main(["forget", "x.learned", "--label", "nothing"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_learning_from_what_is_not_there_makes_no_file(desk):
    assert main(["learn", "new.learned", "--bundle", "small.edgemeta", "--label", "x", "none.png"]) == 2
    assert not list(desk.glob("new.learned*"))


def test_warnings_are_one_line(desk, capsys):
    teach()
    path = desk / "x.learned"
    path.write_bytes(path.read_bytes()[:-8])
    capsys.readouterr()
    assert main(["learn", "x.learned", "--label", "zero", "0-4.png"]) == 0
    error = capsys.readouterr().err
    assert error.startswith("edgemeta: ") and "torn end was cut off" in error and error.count("\n") == 1


def test_inspect_finds_a_local_file_without_a_dot(desk, capsys):
    teach()
    (desk / "x.learned").rename(desk / "memory")
    assert main(["inspect", "memory", "--json"]) == 0


def test_eval_says_when_it_measures_on_training_data(desk, capsys):
    command = ["train", "--data", "digits", "--method", "protonet", "--backbone", "conv4", "--width", "4", "--size"]
    assert main([*command, "16", "--ways", "3", "--held-out", "3", "--steps", "1", "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["eval", "run", "--data", "digits", "--episodes", "2"]) == 0
    assert "was trained on" in capsys.readouterr().err


def test_the_module_runs(desk):
    done = subprocess.run([sys.executable, "-m", "edgemeta", "info", "--json"], capture_output=True, text=True)
    assert done.returncode == 0
    assert json.loads(done.stdout)["kernels"] == kernels.name()
