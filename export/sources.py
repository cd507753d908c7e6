"""What can be exported: a training run, any torch module, a timm model by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgemeta.bundle import HeadRecipe, InputContract
from edgemeta.data import Glyphs
from edgemeta.errors import BundleError, MissingDependencyError, OptionError
from edgemeta.heads import Head
from edgemeta.heads.ridge import Ridge as RidgeHead
from edgemeta.meta import checkpoint
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.evaluating import learned_head
from edgemeta.meta.trainer import embed_all, load_data
from edgemeta.normalisation import Normalisation
from edgemeta.terminal import printable

from .graph import PixelsToEmbedding, ScaledPixels

GOLDEN = 8
# An embedding without L2 is scaled so that the longest one seen in training has this norm; 1 is the limit.
LONGEST = 0.5
TIMM = "timm:"
# Where a timm model's weights can come from, beside a file.
CACHE, RANDOM = "cache", "random"


@dataclass(frozen=True)
class Source:
    """What is exported. module: uint8 (N, H, W, 3) to float32 (N, D). training: what the manifest says of it."""

    module: nn.Module
    input: InputContract
    embedding_id: bytes
    normalisation: Normalisation
    head: HeadRecipe
    training: dict[str, Any]

    def golden(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Inputs that need no data set, and what the module makes of them."""
        inputs = golden_inputs(self.input.height, self.input.width)
        with torch.no_grad():
            outputs = self.module(torch.from_numpy(inputs)).numpy().astype(np.float32)
        return inputs, outputs


def from_checkpoint(folder: str | os.PathLike[str]) -> Source:
    """The run in `folder`. Raises CheckpointError; DataError when an embedding without L2 needs the training data for
    its scale and they are not there."""
    folder = Path(folder)
    backbone, objective, config = checkpoint.load_model(folder)
    contract = InputContract(config.size, config.size)
    normalisation = Normalisation(l2=config.l2, scale=_scale(backbone, config))
    return Source(
        PixelsToEmbedding(backbone, config.channels).eval(),
        contract,
        embedding_id(backbone, contract, normalisation),
        normalisation,
        _recipe(learned_head(objective, normalisation.scale)),
        training_record(folder),
    )


def from_module(
    module: nn.Module,
    example_input: Tensor,
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    head: str = "euclidean",
    training: dict[str, Any] | None = None,
) -> Source:
    """Any module that takes float (N, 3, H, W) and gives (N, D), or (N, D, 1, 1).

    example_input: such a tensor, whose H and W are the input's size. mean, std: what `module` wants pixels in 0 to 1
    normalised by. head: the name of the head that the bundle proposes. Raises OptionError.
    """
    if not isinstance(module, nn.Module):
        raise OptionError(f"what is exported is a torch.nn.Module, not {type(module).__name__}")
    if not isinstance(example_input, Tensor) or example_input.ndim != 4 or example_input.shape[1] != 3:
        raise OptionError("example_input is a float tensor (1, 3, H, W), as the module takes it")
    scaled = ScaledPixels(module, mean, std).eval()
    height, width = (int(side) for side in example_input.shape[2:])
    contract = InputContract(height, width)
    check_embedding(scaled, contract)
    normalisation = Normalisation()
    identity = embedding_id(scaled, contract, normalisation)
    return Source(scaled, contract, identity, normalisation, HeadRecipe(head), training or {})


def from_timm(name: str, weights: str | None) -> Source:
    """A timm model by its name, with its own mean, standard deviation, size and pooled features.

    weights: a file (.safetensors, .pth), "cache" for what timm downloaded before, or "random". Raises OptionError,
    MissingDependencyError, BundleError.
    """
    try:
        import timm  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingDependencyError(f"{TIMM} needs timm, which imports here: pip install timm ({error})") from error
    if weights is None:
        raise OptionError(
            f"say which weights: --weights FILE, --weights {CACHE} (what timm has downloaded) or {RANDOM}"
        )
    if name not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise OptionError(f"timm has no model '{printable(name)}'" + (f"; like it are {near}" if near else ""))
    model = _timm_model(timm, name, weights)
    config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    height, width = config["input_size"][1:]
    record = {"timm": {"name": name, "version": timm.__version__, "weights": Path(weights).name}}
    return from_module(model, torch.zeros(1, 3, height, width), mean=config["mean"], std=config["std"], training=record)


def _timm_model(timm: Any, name: str, weights: str) -> nn.Module:
    if weights == RANDOM:
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, num_classes=0).eval()  # type: ignore[no-any-return]
    if weights == CACHE:
        os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded that was not asked for
    elif not Path(weights).is_file():
        raise OptionError(f"there is no file {printable(weights)}; --weights is a file, {CACHE} or {RANDOM}")
    try:
        if weights == CACHE:
            return timm.create_model(name, pretrained=True, num_classes=0).eval()  # type: ignore[no-any-return]
        model = timm.create_model(name, pretrained=False, num_classes=0)
        model.load_state_dict(_without_classifier(_tensors(weights), model))
        return model.eval()  # type: ignore[no-any-return]
    except Exception as error:
        raise BundleError(f"timm could not load {printable(name)} from {printable(weights)}: {error}") from error


def _tensors(path: str) -> dict[str, Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    return found.get("state_dict", found)  # type: ignore[no-any-return]


def _without_classifier(tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights of the classifier are not the extractor's; anything else that is too much is an error."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = (names,) if isinstance(names, str) else tuple(names)
    return {key: value for key, value in tensors.items() if key.rpartition(".")[0] not in heads}


def check_embedding(module: nn.Module, contract: InputContract) -> None:
    """Raises OptionError unless `module` gives one vector an image."""
    with torch.no_grad():
        try:
            out = module(torch.zeros(2, contract.height, contract.width, 3, dtype=torch.uint8))
        except Exception as error:
            raise OptionError(
                f"the module does not run on {contract.width} x {contract.height} pixels: {error}"
            ) from error
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise OptionError(
            f"the module gives {shape} for two images, not one vector each (2, D); end it with a pooling, for instance "
            "nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten())"
        )


def golden_inputs(height: int, width: int) -> NDArray[np.uint8]:
    """Inputs that need no data set: glyphs nobody trained on, the last two in colour and noise."""
    drawn = Glyphs(seed=987654321, alphabets=1, characters=GOLDEN, drawers=1).load(height, width).pixels
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
