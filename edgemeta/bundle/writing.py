"""Writing a bundle: the same content gives the same bytes, and the file appears whole or not at all."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..background import Background
from ..errors import BundleDamagedError, BundleError, OptionError
from ..heads import make_head
from ..normalisation import Normalisation
from ..prior import PriorClasses
from ..terminal import printable
from . import archive, graph_checks, headbin
from . import manifest as manifests
from .opening import Bundle
from .reading import member_order
from .records import (
    GOLDEN_INPUTS,
    GOLDEN_OUTPUTS,
    BackgroundRecord,
    Golden,
    HeadRecipe,
    InputContract,
    Licence,
    Manifest,
    Member,
    NormalisationRecord,
    PriorRecord,
    Variant,
)


def write_bundle(
    path: str | os.PathLike[str],
    *,
    name: str,
    embedding_id: bytes,
    input: InputContract,
    normalisation: Normalisation,
    head: HeadRecipe,
    variants: Sequence[tuple[Variant, bytes]],
    golden_inputs: NDArray[np.uint8],
    golden_outputs: NDArray[np.float32],
    licences: Sequence[Licence],
    training: Mapping[str, Any],
    tolerance: float = 1e-3,
    background: Background | None = None,
    prior: PriorClasses | None = None,
) -> None:
    """Write a bundle, replacing a file that is there.

    variants: each with the bytes of its graph, the reference first. golden_inputs: uint8 (N, H, W, 3);
    golden_outputs: float32 (N, D), what the reference returned for them before normalisation; D is the
    bundle's dimension. tolerance: the most that 1 - cosine may be in `verify`. training: a JSON object.
    background: how far inputs lie from class means. prior: what is known of some classes beforehand.

    The finished file is opened as `Bundle.open` does before it takes its name. Raises OptionError for what no
    bundle can hold, BundleDamagedError for a graph that is refused, BundleError when the disk refuses.
    """
    _check_arrays(input, normalisation, embedding_id, golden_inputs, golden_outputs)
    check_optional(background, prior, golden_outputs.shape[1], head.name)
    for variant, graph in variants:
        graph_checks.check_graph(variant.runtime, graph, variant.member)
    n, dim = normalisation, golden_outputs.shape[1]
    record = NormalisationRecord(n.centre is not None, float(n.power), bool(n.l2), float(n.scale))
    try:
        contents = {
            manifests.HEAD: headbin.encode(
                headbin.Head(
                    *(embedding_id, dim, input, record, head, n.centre),
                    background=None if background is None else background.values,
                    prior=prior,
                )
            ),
            GOLDEN_INPUTS: golden_inputs.tobytes(),
            GOLDEN_OUTPUTS: golden_outputs.astype("<f4").tobytes(),
        }
        for variant, graph in variants:
            if contents.setdefault(variant.member, graph) is not graph:
                raise OptionError(f"the bundle cannot be written: two members are called {variant.member}")
        manifest = Manifest(
            name=name,
            embedding_id=embedding_id,
            dim=dim,
            normalisation=record,
            input=input,
            head=head,
            variants=tuple(variant for variant, _ in variants),
            golden=Golden(len(golden_inputs), (input.height, input.width, 3), float(tolerance)),
            licences=tuple(licences),
            training=dict(training),
            members={},
            x={},
            background=None if background is None else BackgroundRecord(background.classes, background.source),
            prior=None if prior is None else PriorRecord(prior.labels, prior.within, prior.between),
        )
        packed = pack(manifest, contents)
    except OptionError:
        raise
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise OptionError(f"the bundle cannot be written: {error}") from error
    replace(Path(path), packed)


def pack(manifest: Manifest, contents: Mapping[str, bytes]) -> io.BytesIO:
    """The archive of a manifest and of the other members; what the manifest says of members is filled in.

    Raises ValueError or TypeError for what no bundle can hold (BundleDamagedError is a ValueError).
    """
    listed = manifest._replace(members={member: _member(data) for member, data in contents.items()})
    contents = {manifests.MANIFEST: manifests.encode(listed), **contents}
    manifests.decode(contents[manifests.MANIFEST])
    buffer = io.BytesIO()
    archive.write_archive(buffer, [(member, contents[member]) for member in member_order(list(contents))])
    return buffer


def check_optional(background: Background | None, prior: PriorClasses | None, dim: int, head: str) -> None:
    """Whether both are what they are said to be, and fit a bundle. Raises OptionError."""
    if background is not None and not isinstance(background, Background):
        raise OptionError(f"background is a Background, not {type(background).__name__}")
    if prior is not None and not isinstance(prior, PriorClasses):
        raise OptionError(f"prior is a PriorClasses, not {type(prior).__name__}")
    if prior is not None and prior.dim != dim:
        raise OptionError(f"the prior's means have {prior.dim} numbers; the bundle's embeddings have {dim}")
    if prior is not None and make_head(head).needs != "sums":
        raise OptionError(f"the bundle's head is {head}, which cannot use prior classes; they go with the means heads")


def _check_arrays(
    contract: InputContract,
    normalisation: Normalisation,
    embedding_id: bytes,
    inputs: NDArray[np.uint8],
    outputs: NDArray[np.float32],
) -> None:
    shape = (contract.height, contract.width, 3)
    if inputs.dtype != np.uint8 or inputs.ndim != 4 or inputs.shape[1:] != shape:
        raise OptionError(f"golden inputs: expected uint8 (N, {shape[0]}, {shape[1]}, 3), not {inputs.shape}")
    if outputs.dtype != np.float32 or outputs.ndim != 2 or len(outputs) != len(inputs):
        raise OptionError(f"golden outputs: expected float32 ({len(inputs)}, D), not {outputs.shape}")
    if not np.isfinite(outputs).all():
        raise OptionError("golden outputs: NaN or infinity")
    if normalisation.centre is not None and normalisation.centre.shape != (outputs.shape[1],):
        raise OptionError(f"the centre has shape {normalisation.centre.shape}, not ({outputs.shape[1]},)")
    if not isinstance(embedding_id, bytes) or len(embedding_id) != 32:
        raise OptionError("embedding_id: expected 32 bytes")


def _member(data: bytes) -> Member:
    import hashlib

    return Member(len(data), hashlib.sha256(data).hexdigest())


def replace(path: Path, content: io.BytesIO) -> None:
    """Write beside `path`, sync, open as a reader would, rename."""
    # It must have a suffix, or the reader would take it for the name of a shipped bundle.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        # "x", so that neither a link laid there nor the file of another writer is ever followed.
        with temporary.open("xb") as file:
            try:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
                Bundle.open(temporary)
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise BundleError(f"{printable(str(path))} cannot be written: {printable(str(error))}") from error
    except BundleDamagedError as error:
        raise BundleError(f"the bundle did not read back as written: {error}") from error
