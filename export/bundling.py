"""From a source to a bundle, in every variant that was asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgemeta.background import Background, measure_background
from edgemeta.bundle import Bundle, Licence, Variant, write_bundle
from edgemeta.errors import OptionError
from edgemeta.meta import checkpoint
from edgemeta.meta.trainer import embed_all, load_data, split
from edgemeta.normalisation import Normalisation, to_float

from .naming import checked_name
from .onnx import to_onnx
from .simulating import simulate, worst_cosine
from .sources import Source, _scale, embedding_id, from_checkpoint
from .variants import Wanted, make_variants

__all__ = ["embedding_id", "export_checkpoint", "export_source", "held_out_background"]

# What rounding to 8 bits does differs a little from machine to machine; what is broken is further off.
SLACK = 2.0
FLOOR = 1e-3


def export_checkpoint(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    licences: Sequence[Licence] = (),
    wanted: Wanted | None = None,
) -> Bundle:
    """Export the run in `folder` as the bundle `out`: `export_source` of `from_checkpoint`."""
    checked_name(name, Path(out))
    return export_source(from_checkpoint(folder), out, name=name, licences=licences, wanted=wanted)


def export_source(
    source: Source,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    licences: Sequence[Licence] = (),
    wanted: Wanted | None = None,
) -> Bundle:
    """Export a source as the bundle `out`, a file NAME.edgemeta; returns it opened.

    name: that in the manifest, NAME when not given. wanted: the variants, float32 ONNX when not given. Nothing is left
    behind on an error. Raises OptionError, BundleError, MissingDependencyError.
    """
    name = checked_name(name, Path(out))
    graph = to_onnx(source.module, source.input.height, source.input.width)
    inputs, outputs = source.golden()
    variants = [
        (variant._replace(tolerance=_tolerance(variant, made, inputs, outputs)), made)
        for variant, made in make_variants(graph, wanted or Wanted())
    ]
    write_bundle(
        out,
        name=name,
        embedding_id=source.embedding_id,
        input=source.input,
        normalisation=source.normalisation,
        head=source.head,
        variants=variants,
        golden_inputs=inputs,
        golden_outputs=outputs,
        licences=licences,
        training=source.training,
    )
    return Bundle.open(os.path.abspath(out))


def _tolerance(variant: Variant, graph: bytes, inputs: NDArray[np.uint8], outputs: NDArray[np.float32]) -> float | None:
    """Of int8, from what the rounding itself costs here; None for what has no reason to differ."""
    if variant.precision != "int8":
        return None
    return min(2.0, FLOOR + SLACK * (1.0 - worst_cosine(simulate(variant, graph, inputs), outputs)))


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
