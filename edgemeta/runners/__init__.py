"""Runners: the inference runtimes that can run a bundle's graph, imported only when used."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from ..bundle import Bundle, Variant
from ..errors import NotFoundError, RunnerError
from ..terminal import printable
from .base import Runner

__all__ = ["Runner", "open_runner", "pick_variant"]

# By what a bundle calls them: the packages that can run them.
RUNTIMES = {"onnx": ("onnxruntime",), "tflite": ("ai_edge_litert", "tflite_runtime")}


def pick_variant(bundle: Bundle, name: str | None) -> Variant:
    """The named variant, or the first one that a runtime installed here can run, or else the first of any.

    Raises NotFoundError for a name that is not in the bundle, RunnerError when there is none to run.
    """
    if name is not None:
        for variant in bundle.variants:
            if variant.name == name:
                return variant
        names = ", ".join(printable(v.name) for v in bundle.variants)
        raise NotFoundError(f"the bundle has no variant '{printable(str(name))}'; it has {names}")
    known = [variant for variant in bundle.variants if variant.runtime in RUNTIMES]
    if not known:
        raise RunnerError("the bundle holds no graph that this version can run; export it with --format onnx")
    return next((variant for variant in known if _is_installed(variant.runtime)), known[0])


def _is_installed(runtime: str) -> bool:
    return any(find_spec(package) is not None for package in RUNTIMES[runtime])


def open_runner(
    bundle: Bundle,
    *,
    variant: str | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Runner:
    """A runner for one variant of the bundle; what is raised is in `pick_variant`, `OnnxRunner` and `LiteRTRunner`."""
    chosen = pick_variant(bundle, variant)
    if chosen.runtime not in RUNTIMES:
        raise RunnerError(f"no runner for {printable(chosen.runtime)} in this version; use another variant")
    graph = bundle.graph(chosen.name)
    if chosen.runtime == "tflite":
        from .litert import LiteRTRunner

        return LiteRTRunner(chosen, graph, providers=providers, threads=threads)
    from .onnx import OnnxRunner

    return OnnxRunner(chosen, graph, providers=providers, threads=threads)
