"""Runners: the inference runtimes that can run a bundle's graph, imported only when used."""

from __future__ import annotations

from collections.abc import Sequence

from ..bundle import Bundle, Variant
from ..errors import NotFoundError, RunnerError
from ..terminal import printable
from .base import Runner

__all__ = ["Runner", "open_runner", "pick_variant"]

RUNTIMES = ("onnx",)


def pick_variant(bundle: Bundle, name: str | None) -> Variant:
    """The named variant, or the first one that a runtime known here can run.

    Raises NotFoundError for a name that is not in the bundle, RunnerError when there is none to run.
    """
    if name is not None:
        for variant in bundle.variants:
            if variant.name == name:
                return variant
        names = ", ".join(printable(v.name) for v in bundle.variants)
        raise NotFoundError(f"the bundle has no variant '{printable(str(name))}'; it has {names}")
    for variant in bundle.variants:
        if variant.runtime in RUNTIMES:
            return variant
    raise RunnerError("the bundle holds no graph that this version can run; export it with --format onnx")


def open_runner(
    bundle: Bundle,
    *,
    variant: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Runner:
    """A runner for one variant of the bundle; see `pick_variant` and `OnnxRunner` for what is raised."""
    chosen = pick_variant(bundle, variant)
    if chosen.runtime not in RUNTIMES:
        raise RunnerError(f"no runner for {printable(chosen.runtime)} in this version; use an ONNX variant")
    from .onnx import OnnxRunner

    return OnnxRunner(chosen, bundle.graph(chosen.name), providers=providers, threads=threads)
