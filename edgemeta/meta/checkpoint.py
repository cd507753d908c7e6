"""Checkpoints of a training run: safetensors and JSON, never pickle, replaced atomically.

`DIR/config.json` says how to run it again; `DIR/model.safetensors` is the backbone and the objective, for eval and
export; `DIR/state.safetensors` is all that exact resuming needs, and resuming reads no other. A kill between two
replacements leaves two whole files, the model a save older than the state; each holds its step in its metadata.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import CheckpointError, OptionError
from ..terminal import printable
from . import backbones
from .config import TrainConfig, check_minutes
from .objectives import Prototypes, Ridge, episodic

Tensors = dict[str, Tensor]

MEND = "restore it from a copy, or start another run with another --out"
RECORD: dict[str, tuple[type, ...]] = {
    "classes": (int,),
    "images": (int,),
    "measured": (bool, type(None)),
    "init": (str, type(None)),
    "data_sha256": (str, type(None)),
}
# What AdamW keeps of each parameter that has had a gradient.
MOMENTS = ("exp_avg", "exp_avg_sq")


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write JSON beside `path`, then replace it. Raises CheckpointError when the disk refuses."""
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Tensors, metadata: dict[str, Any]) -> None:
    """Write safetensors beside `path`, then replace it; `metadata` becomes one JSON string. Raises CheckpointError."""
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    _replace(path, lambda partial: save_file(contiguous, str(partial), {"edgemeta": json.dumps(metadata)}))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        write(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{printable(str(path))} could not be written ({error}); make room, then go on with --resume "
            "from the last one that was"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it is there only if something, Ctrl-C perhaps, came between
            partial.unlink()


def read_tensors(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and metadata of a file. Raises CheckpointError naming it."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("edgemeta", "{}"))
            if not isinstance(metadata, dict):
                raise ValueError("its metadata are no object")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{printable(str(path))} cannot be read as a checkpoint: {error}") from error


def read_config(folder: Path) -> TrainConfig:
    """The configuration of a run. Raises CheckpointError."""
    return read_record(folder)[0]


def read_record(folder: Path) -> tuple[TrainConfig, dict[str, Any]]:
    """The configuration of a run, and all of its config.json. Raises CheckpointError."""
    path = folder / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        config = TrainConfig.from_json(record["config"])
        backbones.check_names(config.backbone, config.backbone_options)
        _check_types(record)
        return config, record
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{printable(str(folder))} holds no config.json: is it the --out of `edgemeta train`?"
        ) from error
    except KeyError as error:
        raise CheckpointError(f"{printable(str(path))} is damaged: it has no {error}; {MEND}") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{printable(str(path))} is damaged: {error}; {MEND}") from error


def _check_types(record: dict[str, Any]) -> None:
    """Raises ValueError for what config.json says beside the options. Older runs said less."""
    check_minutes(record.get("minutes"))
    for name, kinds in RECORD.items():
        if type(record.get(name)) not in kinds:
            raise ValueError(f"{name} must be of type {kinds[0].__name__}, not {type(record.get(name)).__name__}")


def sha256_of(path: Path) -> str:
    """The hash of a checkpoint's file, hexadecimal. Raises CheckpointError."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))} cannot be read: {error.strerror}") from error


def model_file(where: Path) -> Path:
    """The weights of a run, given its folder or the file itself."""
    return where / "model.safetensors" if where.is_dir() else where


def build_model(config: TrainConfig) -> tuple[nn.Module, Prototypes | Ridge]:
    """A fresh backbone and its episodic objective."""
    backbone = backbones.build(config.backbone, channels=config.channels, size=config.size, **config.backbone_options)
    return backbone, episodic(config.method, l2=config.l2)


def load_into(module: nn.Module, tensors: Tensors, prefix: str, where: str) -> None:
    """Load the tensors that start with `prefix`. Raises CheckpointError when the architecture differs."""
    own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(
            f"{printable(where)} is of another architecture: {first[0].strip()}. "
            "Name the same --backbone, --width and --size as it was trained with"
        ) from error


def load_model(folder: Path) -> tuple[nn.Module, Prototypes | Ridge, TrainConfig]:
    """The trained backbone and objective of a run, in evaluation mode. Raises CheckpointError."""
    config = read_config(folder)
    try:
        backbone, objective = build_model(config)
    except OptionError as error:
        raise CheckpointError(f"{printable(str(folder / 'config.json'))} is damaged: {error}; {MEND}") from error
    path = folder / "model.safetensors"
    tensors, _ = read_tensors(path)
    load_into(backbone, tensors, "backbone.", str(path))
    load_into(objective, tensors, "objective.", str(path))
    return backbone.eval(), objective.eval(), config


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{key}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for key, entry in state.items()
        for name, value in entry.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, trained: Iterable[Tensor], where: str) -> None:
    """The inverse of `optimizer_tensors`. trained: the parameters that have had a gradient, of which there is a state.

    Raises CheckpointError when a tensor is missing, is of another shape, or belongs to nothing.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    keys = {id(p): key for key, p in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    left = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
    for p in trained:
        key = keys[id(p)]
        shapes = {"step": torch.Size(), **dict.fromkeys(MOMENTS, p.shape)}
        state[key] = {field: _taken(left, f"optimizer.{key}.{field}", shape, where) for field, shape in shapes.items()}
    if left:
        raise CheckpointError(f"{printable(where)} is damaged: {printable(min(left))} belongs to nothing; {MEND}")
    full = optimizer.state_dict()
    full["state"] = state
    optimizer.load_state_dict(full)


def _taken(tensors: Tensors, name: str, shape: torch.Size, where: str) -> Tensor:
    """Remove a float tensor of this shape. Raises CheckpointError when there is none."""
    found = tensors.pop(name, None)
    if found is None or found.shape != shape or found.dtype != torch.float32:
        what = "missing" if found is None else f"{found.dtype} of shape {tuple(found.shape)}, not {tuple(shape)}"
        raise CheckpointError(f"{printable(where)} is damaged: {name} is {what}; {MEND}")
    return found


def progress_of(metadata: dict[str, Any], steps: int, where: str) -> tuple[int, float]:
    """The steps done, of `steps`, and the seconds they took. Raises CheckpointError."""
    step: Any = metadata.get("step")
    seconds: Any = metadata.get("seconds")
    if type(step) is not int or not 0 <= step <= steps:
        shown = step if type(step) is int else type(step).__name__
        raise CheckpointError(f"{printable(where)} is damaged: it holds step {shown} of {steps}; {MEND}")
    if type(seconds) not in (int, float) or not 0 <= seconds <= 1e12:
        raise CheckpointError(f"{printable(where)} is damaged: it does not say after how many seconds; {MEND}")
    return step, float(seconds)
