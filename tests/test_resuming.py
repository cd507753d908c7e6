"""Checkpoints: exact resume after any end, and damage that is never silent."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SMALL, same_weights, tensors
from safetensors import SafetensorError
from safetensors.torch import save_file

from edgemeta.cli import main
from edgemeta.data import Glyphs
from edgemeta.errors import CheckpointError, DataError
from edgemeta.meta import checkpoint
from edgemeta.meta.trainer import train


@pytest.mark.parametrize("method", ["protonet", "pretrain"])
def test_resume_is_exact(tmp_path, method, monkeypatch):
    config = replace(SMALL, method=method, steps=10)
    train(config, tmp_path / "straight", quiet=True)
    stop_at = 6
    from edgemeta.meta.trainer import Run

    step = Run._train_step

    def interrupted(self: Run) -> torch.Tensor:
        if self.step == stop_at:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Run, "_train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", quiet=True)
    monkeypatch.undo()
    train(config, tmp_path / "broken", resume=True, quiet=True)
    assert same_weights(tmp_path / "straight", tmp_path / "broken")


def ctrl_c_in_step_5(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """After the forward pass has moved batch norm; a checkpoint was saved before step 3."""
    from edgemeta.meta.trainer import Run

    loss = Run._loss

    def signalled(self: Run) -> torch.Tensor:
        if self.step == 3:
            self.save()
        value = loss(self)
        if self.step == 5:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return value

    monkeypatch.setattr(Run, "_loss", signalled)


def test_ctrl_c_in_the_middle_of_a_step_resumes_exactly(tmp_path, monkeypatch):
    """The signal comes after the forward pass has moved batch norm; the step is finished first."""
    config = replace(SMALL, steps=10)
    train(config, tmp_path / "straight", quiet=True)
    ctrl_c_in_step_5(monkeypatch, times=1)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", quiet=True)
    monkeypatch.undo()
    train(config, tmp_path / "broken", resume=True, quiet=True)
    assert same_weights(tmp_path / "straight", tmp_path / "broken")


def test_a_loss_that_is_not_finite_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    from edgemeta.meta.trainer import Run

    train(SMALL, tmp_path / "run", quiet=True)
    before = tensors(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["config"]["steps"] = 40
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    monkeypatch.setattr(Run, "_train_step", lambda self: torch.tensor(float("nan")))
    with pytest.raises(DataError, match="the loss became nan"):
        train(replace(SMALL, steps=40), tmp_path / "run", resume=True, quiet=True)
    after = tensors(tmp_path / "run")
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_run_that_diverges_before_its_first_save_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("edgemeta.meta.trainer.Run._train_step", lambda self: torch.tensor(float("nan")))
    with pytest.raises(DataError, match="Nothing had been saved yet"):
        train(replace(SMALL, steps=40), tmp_path / "run", quiet=True)


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    from edgemeta.meta.trainer import Run

    train(SMALL, tmp_path / "run", quiet=True)
    before = tensors(tmp_path / "run")
    step = Run._train_step

    def poisoned(self: Run) -> torch.Tensor:
        loss = step(self)
        with torch.no_grad():
            next(self.model.parameters()).fill_(float("nan"))
        return loss

    monkeypatch.setattr(Run, "_train_step", poisoned)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["config"]["steps"] = 9  # fewer than the 20 steps between two looks at the loss
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="weights became NaN"):
        train(replace(SMALL, steps=9), tmp_path / "run", resume=True, quiet=True)
    after = tensors(tmp_path / "run")
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--batch", "8"], "batch is 16, not 8"),
        (["--seed", "1"], "seed is 0, not 1"),
        (["--method", "r2d2"], "method is protonet, not r2d2"),
        (["--width", "4"], "width"),
        (["--steps", "9"], "steps is 8, not 9"),
        (["--minutes", "1"], "minutes is None"),
        (["--data", "glyphs"], "started with"),
    ],
)
def test_resume_refuses_what_the_run_was_not_started_with(tmp_path, capsys, options, named):
    train(SMALL, tmp_path / "run", quiet=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", *options]) == 2
    assert named in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_the_same_command_with_resume_goes_on(tmp_path):
    command = ["train", "--data", "digits", "--method", "protonet", "--backbone", "conv4", "--width", "8", "--size"]
    command += ["16", "--ways", "4", "--held-out", "4", "--steps", "3", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    assert main([*command, "--resume"]) == 0
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 0


def test_a_run_killed_before_its_first_save_begins_again(tmp_path):
    train(SMALL, tmp_path / "whole", quiet=True)
    train(SMALL, tmp_path / "run", quiet=True)
    for name in ("state", "model"):
        (tmp_path / "run" / f"{name}.safetensors").unlink()
    train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def stop_at_call(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C just before the step of this number, those that measure the speed included."""
    from edgemeta.meta.trainer import Run

    step, calls = Run._train_step, itertools.count()

    def interrupted(self: Run) -> torch.Tensor:
        if next(calls) == number:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Run, "_train_step", interrupted)


@pytest.mark.parametrize(("stop", "with_init"), [(3, True), (24 + 5, False)])
def test_a_run_with_minutes_is_one_with_that_number_of_steps(tmp_path, monkeypatch, stop, with_init):
    """Stopped while its speed is measured, or before the first save that follows: the measuring leaves no trace."""
    init = None
    if with_init:
        init = tmp_path / "first"
        train(replace(SMALL, seed=9, steps=3), init, quiet=True)
    config = replace(SMALL, method="pretrain", steps=6000)
    stop_at_call(monkeypatch, stop)
    monkeypatch.setattr("edgemeta.meta.trainer.Run.save", lambda self: None)  # SIGKILL leaves no time for it
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", minutes=1e-6, init=init, quiet=True)
    monkeypatch.undo()
    trained = train(config, tmp_path / "run", resume=True, init=init, quiet=True)
    assert trained.steps == 48  # the fewest
    train(replace(config, steps=48), tmp_path / "straight", init=init, quiet=True)
    assert same_weights(tmp_path / "straight", tmp_path / "run")


def test_a_run_stopped_while_its_speed_is_measured_still_knows_its_minutes(tmp_path, monkeypatch, capsys):
    stop_at_call(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(replace(SMALL, steps=6000), tmp_path / "run", minutes=1e-6, quiet=True)
    monkeypatch.undo()
    assert checkpoint.read_record(tmp_path / "run")[1]["minutes"] == 1e-6
    assert not (tmp_path / "run" / "state.safetensors").exists()
    assert train(replace(SMALL, steps=6000), tmp_path / "run", resume=True, quiet=True).steps == 48
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", "--minutes", "1e-6"]) == 0
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", "--minutes", "2"]) == 2
    capsys.readouterr()
    assert main(["train", "--out", str(tmp_path / "run"), "--resume", "--steps", "60"]) == 2
    assert "its steps is 48, not 60" in capsys.readouterr().err


def test_a_second_ctrl_c_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    """It does not wait for the end of the step, and half a step must not be saved."""
    config = replace(SMALL, steps=10)
    train(config, tmp_path / "straight", quiet=True)
    ctrl_c_in_step_5(monkeypatch, times=2)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "broken", quiet=True)
    monkeypatch.undo()
    assert checkpoint.read_tensors(tmp_path / "broken" / "state.safetensors")[1]["step"] == 3
    train(config, tmp_path / "broken", resume=True, quiet=True)
    assert same_weights(tmp_path / "straight", tmp_path / "broken")


def test_resume_refuses_other_data_of_the_same_size(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "edgemeta.meta.trainer.open_source",
        lambda spec, part: Glyphs(seed=int(spec.split(":")[1]), alphabets=3, characters=5, drawers=5),
    )
    config = replace(SMALL, data=("glyphs:1", "glyphs:2"), held_out=2)
    train(config, tmp_path / "run", quiet=True)
    for data in (("glyphs:2", "glyphs:1"), ("glyphs:1", "glyphs:3")):
        with pytest.raises(DataError, match="other images, or in another order"):
            train(replace(config, data=data), tmp_path / "run", resume=True, quiet=True)
    train(config, tmp_path / "run", resume=True, quiet=True)
    # A run of an older version did not store the hash.
    change_json(tmp_path / "run", lambda record: record.pop("data_sha256"))
    train(config, tmp_path / "run", resume=True, quiet=True)


def change_json(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(replace(SMALL, method="pretrain"), folder, quiet=True)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of its own, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def refused_everywhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What each command that reads a checkpoint's config.json says; all of them exit with 2."""
    said = []
    for command in (
        ["train", "--out", str(folder), "--resume"],
        ["eval", str(folder), "--data", "digits"],
        ["export", str(folder), "--out", str(folder.with_name("x.edgemeta"))],
    ):
        assert main(command) == 2
        said.append(capsys.readouterr().err)
        assert "config.json" in said[-1] and "damaged" in said[-1] and "restore it" in said[-1]
    return said[0]


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("backbone_options", {"foo": 3}, "no option foo; known are width"),
        ("backbone_options", [], "backbone_options"),
        ("backbone_options", {"width": 4.5}, "backbone_options"),
        ("backbone", "vgg", "unknown backbone"),
        ("ways", "5", "ways must be of type int, not str"),
        ("augment", None, "augment must be of type float, not NoneType"),
        ("data", [5], "data must be"),
        ("data", [], "data must be"),
        ("data", 5, "data must be"),
        ("size", 16.0, "size must be of type int, not float"),
        ("steps", True, "steps must be of type int, not bool"),
        ("seed", 2**31, "seed must be"),
        ("learning_rate", float("nan"), "learning rate must be"),
    ],
)
def test_training_options_that_are_damaged(run, capsys, name, value, named):
    change_json(run, lambda record: record["config"].update({name: value}))
    assert named in refused_everywhere(run, capsys)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda record: record.pop("classes"), "classes must be of type int"),
        (lambda record: record.pop("config"), "has no 'config'"),
        (lambda record: record.update(config=[]), "must be an object"),
        (lambda record: record.update(images="many"), "images must be of type int"),
        (lambda record: record.update(minutes=-1), "minutes must be positive"),
        (lambda record: record.update(init=3), "init must be of type str"),
    ],
)
def test_a_record_that_is_damaged(run, capsys, change, named):
    change_json(run, change)
    assert named in refused_everywhere(run, capsys)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", "{", "\ud800"])
def test_a_config_that_is_no_record(run, capsys, text):
    (run / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    refused_everywhere(run, capsys)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        (None, "step NoneType of 8"),
        ("3", "metadata"),
        ("[" * 100_000, "recursion"),
        ('{"step": -5, "seconds": 1}', "step -5 of 8"),
        ('{"step": "x", "seconds": 1}', "step str of 8"),
        ('{"step": 9, "seconds": 1}', "step 9 of 8"),
        ('{"step": true, "seconds": 1}', "step bool of 8"),
        ('{"step": 8}', "how many seconds"),
        ('{"step": 8, "seconds": NaN}', "how many seconds"),
    ],
)
def test_a_state_that_does_not_say_how_far_it_is(run, capsys, metadata, named):
    path = run / "state.safetensors"
    state, _ = checkpoint.read_tensors(path)
    save_file(state, str(path), {"edgemeta": metadata} if metadata is not None else None)
    assert main(["train", "--out", str(run), "--resume"]) == 2
    error = capsys.readouterr().err
    assert named in error and "state.safetensors" in error


def without_moments(state: dict[str, torch.Tensor]) -> None:
    for name in [name for name in state if name.startswith("optimizer.")]:
        del state[name]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (without_moments, "optimizer.0.step is missing"),
        (lambda state: state.pop("optimizer.1.exp_avg"), "optimizer.1.exp_avg is missing"),
        (lambda state: state.update({"optimizer.x.y": torch.zeros(1)}), "optimizer.x.y belongs to nothing"),
        (lambda state: state.update({"optimizer.0.exp_avg": torch.zeros(2)}), "optimizer.0.exp_avg is torch.float32"),
        (lambda state: state.update({"optimizer.0.step": torch.zeros(1)}), "optimizer.0.step is torch.float32"),
        (lambda state: state.update({"optimizer.0.step": torch.tensor(8)}), "optimizer.0.step is torch.int64"),
    ],
)
def test_a_state_without_its_moments(run, capsys, harm, named):
    """Such a run would go on, but not as it would have gone."""
    path = run / "state.safetensors"
    state, metadata = checkpoint.read_tensors(path)
    harm(state)
    checkpoint.write_tensors(path, state, metadata)
    assert main(["train", "--out", str(run), "--resume"]) == 2
    assert named in capsys.readouterr().err


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch, capsys):
    train(SMALL, tmp_path / "run", quiet=True)
    before = tensors(tmp_path / "run")

    def full(_tensors: object, name: str, _metadata: object) -> None:
        Path(name).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    assert main(["train", "--out", str(tmp_path / "run"), "--resume"]) == 2
    error = capsys.readouterr().err
    assert "could not be written" in error and "No space left" in error
    after = tensors(tmp_path / "run")
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not list((tmp_path / "run").glob("*.part"))


def test_a_killed_run_resumes(tmp_path):
    """SIGINT to the command leaves a checkpoint; --resume finishes the run."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "edgemeta", "train", "--data", "digits", "--method", "protonet", "--backbone"]
    command += ["conv4", "--width", "8", "--size", "16", "--ways", "4", "--held-out", "4", "--out", str(out)]
    # A job in the background of a shell inherits an ignored SIGINT, and this test may be part of one.
    process = subprocess.Popen(
        [*command, "--steps", "100000"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):
        if (out / "config.json").exists():
            break
        time.sleep(0.1)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    record = json.loads((out / "config.json").read_text())
    record["config"]["steps"] = checkpoint.read_tensors(out / "state.safetensors")[1]["step"]  # nothing is left
    (out / "config.json").write_text(json.dumps(record))
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_checkpoints_hold_no_pickle_and_no_surprise(tmp_path, capsys):
    train(SMALL, tmp_path / "run", quiet=True)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "config.json",
        "model.safetensors",
        "state.safetensors",
    ]
    with pytest.raises(CheckpointError, match="--resume"):
        train(SMALL, tmp_path / "run", quiet=True)
    path = tmp_path / "run" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        checkpoint.load_model(tmp_path / "run")
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "x.edgemeta")]) == 2
    assert "cannot be read as a checkpoint" in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    train(SMALL, tmp_path / "run", quiet=True)
    with pytest.raises(CheckpointError, match="another architecture"):
        train(replace(SMALL, backbone="resnet", size=24), tmp_path / "other", init=tmp_path / "run", quiet=True)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    record["config"]["backbone_options"] = {"width": 4}
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="another architecture"):
        checkpoint.load_model(tmp_path / "run")


def test_init_starts_from_another_run(tmp_path):
    train(SMALL, tmp_path / "run", quiet=True)
    train(replace(SMALL, steps=1, learning_rate=1e-9), tmp_path / "next", init=tmp_path / "run", quiet=True)
    one, two = tensors(tmp_path / "run"), tensors(tmp_path / "next")
    weight = "backbone.body.0.0.weight"
    assert torch.allclose(one[weight], two[weight], atol=1e-6)
