"""From a training run to a bundle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgemeta.background import Background, measure_background
from edgemeta.bundle import SUFFIX, Bundle, HeadRecipe, InputContract, Licence, write_bundle
from edgemeta.bundle.fields import Field
from edgemeta.data import Glyphs
from edgemeta.errors import BundleDamagedError, OptionError
from edgemeta.heads import Head
from edgemeta.heads.ridge import Ridge as RidgeHead
from edgemeta.meta import checkpoint
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.evaluating import learned_head
from edgemeta.meta.trainer import embed_all, load_data, split
from edgemeta.normalisation import Normalisation, to_float
from edgemeta.terminal import printable

from .graph import PixelsToEmbedding
from .onnx import FP32, to_onnx

GOLDEN = 8
# An embedding without L2 is scaled so that the longest one seen in training has this norm; 1 is the limit.
LONGEST = 0.5


def export_checkpoint(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    licences: Sequence[Licence] = (),
) -> Bundle:
    """Export the run in `folder` as the bundle `out`, a file NAME.edgemeta; returns it opened.

    name: that in the manifest, NAME when not given.
    Raises OptionError, CheckpointError, BundleError, MissingDependencyError; DataError when an embedding without L2
    needs the training data for its scale and they are not there.
    """
    folder, name = Path(folder), _checked_name(name, Path(out))
    backbone, objective, config = checkpoint.load_model(folder)
    contract = InputContract(config.size, config.size)
    normalisation = Normalisation(l2=config.l2, scale=_scale(backbone, config))
    module = PixelsToEmbedding(backbone, config.channels).eval()
    graph = to_onnx(module, config.size, config.size)
    inputs = golden_inputs(config.size)
    with torch.no_grad():
        outputs = module(torch.from_numpy(inputs)).numpy().astype(np.float32)
    write_bundle(
        out,
        name=name,
        embedding_id=embedding_id(backbone, contract, normalisation),
        input=contract,
        normalisation=normalisation,
        head=_recipe(learned_head(objective, normalisation.scale)),
        variants=[(FP32, graph)],
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=licences,
        training=training_record(folder),
    )
    return Bundle.open(os.path.abspath(out))


def held_out_background(folder: str | os.PathLike[str]) -> Background:
    """How far inputs lie from means of their class, on the classes that the run in `folder` held out.

    Those it was trained on lie closer than classes on a device will. Raises OptionError where nothing was held out,
    CheckpointError, DataError.
    """
    backbone, _, config = checkpoint.load_model(Path(folder))
    _, held_out = split(load_data(config), config)
    if held_out is None:
        raise OptionError("this run held no classes out; train with --held-out 3, or name other data of the same kind")
    normalisation = Normalisation(l2=config.l2, scale=_scale(backbone, config))
    z = to_float(normalisation.apply(embed_all(backbone, held_out.pixels).cpu().numpy()))
    return measure_background(z, held_out.labels, source="classes held out of training")


def _checked_name(name: str | None, out: Path) -> str:
    """The name in the manifest. Raises OptionError for one that no bundle can have, also for the file."""
    if out.suffix != SUFFIX:
        raise OptionError(f"a bundle's file ends in {SUFFIX}: --out {printable(str(out) + SUFFIX)}")
    chosen = out.stem if name is None else name
    try:
        return Field(chosen, "name").word()
    except BundleDamagedError as error:
        raise OptionError(
            f"a bundle cannot be called '{printable(chosen)}'; give it a --name of 1 to 64 letters, digits, '.', '_' "
            "and '-', the first a letter or a digit"
        ) from error


def golden_inputs(size: int) -> NDArray[np.uint8]:
    """Inputs that need no data set: glyphs nobody trained on, the last two in colour and noise."""
    drawn = Glyphs(seed=987654321, alphabets=1, characters=GOLDEN, drawers=1).load(size, size).pixels
    images = np.repeat(drawn[..., None], 3, axis=3)
    rng = np.random.default_rng(0)
    images[-1] = rng.integers(0, 256, images[-1].shape)
    images[-2] = np.clip(images[-2] * np.array([1.0, 0.6, 0.3]), 0, 255)
    return images


def embedding_id(backbone: nn.Module, contract: InputContract, normalisation: Normalisation) -> bytes:
    """sha256 of the source weights (names sorted), the input contract and the normalisation (SPEC.md)."""
    digest = hashlib.sha256(b"edgemeta embedding 1\n")
    for key, tensor in sorted(backbone.state_dict().items()):
        array = tensor.detach().cpu().numpy()
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    plain = {"power": normalisation.power, "l2": normalisation.l2, "scale": normalisation.scale}
    digest.update(json.dumps([asdict(contract), plain], sort_keys=True).encode())
    if normalisation.centre is not None:
        digest.update(normalisation.centre.astype("<f4").tobytes())
    return digest.digest()


def training_record(folder: Path) -> dict[str, Any]:
    """What the run says of itself: its configuration, environment and last validation. No path of the machine."""
    _, record = checkpoint.read_record(folder)
    _, metadata = checkpoint.read_tensors(folder / "model.safetensors")
    record["config"]["data"] = [_without_path(spec) for spec in record["config"]["data"]]
    return {**record, "finished": metadata}


def _without_path(spec: str) -> str:
    kind, _, rest = spec.partition(":")
    return kind if os.sep in rest or rest.startswith(".") else spec


def _scale(backbone: nn.Module, config: TrainConfig) -> float:
    if config.l2:
        return 1.0
    norms = embed_all(backbone, load_data(config).pixels).norm(dim=1)
    return float(np.float32(LONGEST / norms.max().item()))


def _recipe(head: Head) -> HeadRecipe:
    lambda_ = head.lambda_ if isinstance(head, RidgeHead) else None
    return HeadRecipe(head.name, lambda_, head.temperature)
