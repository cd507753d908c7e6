"""What ONNX Runtime can run on: which providers are worth trying here, and how each is set up."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import Any

from ..bundle import Variant
from ..errors import OptionError
from ..terminal import printable

TENSORRT = "TensorrtExecutionProvider"
CUDA = "CUDAExecutionProvider"
XNNPACK = "XnnpackExecutionProvider"
CPU = "CPUExecutionProvider"
# After the name of TensorRT: compute in half precision, though the variant does not say so.
HALF = ":fp16"

Choice = list[tuple[str, dict[str, Any]]]


def choices(
    runtime: Any, variant: Variant, graph: bytes, named: Sequence[str] | None, threads: int | None
) -> list[Choice]:
    """What to open a session with, the best first; each a list of providers with their options.

    What the caller named is the only choice. Raises OptionError for a provider that this ONNX Runtime lacks.
    """
    available = runtime.get_available_providers()
    if named is None:
        orders = _by_preference(available, variant)
    else:
        orders = [list(named)]
        if missing := [name for name in named if _bare(name) not in available]:
            raise OptionError(
                f"ONNX Runtime here has no provider {', '.join(map(printable, missing))}; it has {', '.join(available)}"
            )
    return [[(_bare(name), _options(name, variant, graph, threads)) for name in order] for order in orders]


def _bare(name: str) -> str:
    return TENSORRT if name == TENSORRT + HALF else name


def _by_preference(available: Sequence[str], variant: Variant) -> list[list[str]]:
    """TensorRT, then CUDA, then XNNPACK where it pays, then the CPU; each with those below it for what it cannot do."""
    gpu = [name for name in (TENSORRT, CUDA) if name in available]
    if TENSORRT in gpu and not _has_tensorrt():
        gpu.remove(TENSORRT)
    orders = [[*gpu[i:], CPU] for i in range(len(gpu))]
    if XNNPACK in available and _xnnpack_pays(variant):
        orders.append([XNNPACK, CPU])
    return [*orders, [CPU]]


def _has_tensorrt() -> bool:
    """Whether its library is there: onnxruntime-gpu lists the provider wherever it was compiled in."""
    from ctypes.util import find_library

    return find_library("nvinfer") is not None


def _xnnpack_pays(variant: Variant) -> bool:
    """Its documentation promises float convolutions on ARM; on x86 the runtime's own kernels are the better ones.

    Of int8 it takes what is quantised per tensor only; the rest would hop between two thread pools.
    """
    return variant.precision == "fp32" and platform.machine().lower().startswith(("aarch64", "arm"))


def _options(name: str, variant: Variant, graph: bytes, threads: int | None) -> dict[str, Any]:
    if _bare(name) == TENSORRT:
        return _tensorrt_options(graph, half=name.endswith(HALF) or variant.precision == "fp16")
    if name == CUDA:
        # The default search times every algorithm again for every new size of batch, and rounds the factors of fp32
        # convolutions to 10 bits where the GPU has TF32.
        return {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": 0}
    if name == XNNPACK:
        return {"intra_op_num_threads": threads or len(os.sched_getaffinity(0))}
    return {}


def _tensorrt_options(graph: bytes, *, half: bool) -> dict[str, Any]:
    """An engine takes minutes to build, so it is kept.

    No option keeps TensorRT from rounding the factors of fp32 convolutions to TF32 where the GPU has it; the
    environment variable NVIDIA_TF32_OVERRIDE=0 does, for the whole process, so its owner is the one to set it.
    """
    options: dict[str, Any] = {"trt_fp16_enable": half}
    folder = engine_folder(graph)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError:  # no home, or none that can be written: it is built anew each time
        return options
    return {**options, "trt_engine_cache_enable": True, "trt_engine_cache_path": folder}


def engine_folder(graph: bytes) -> str:
    """Where TensorRT keeps what it built of one graph.

    It tells graphs apart by the names in them and not by the weights: two exports of one architecture must not share.
    """
    import hashlib

    from ..data.cache import cache_folder

    return str(cache_folder() / "tensorrt" / hashlib.sha256(graph).hexdigest()[:32])


def set_threads(options: Any, choice: Choice, threads: int | None) -> None:
    """The runtime's own threads, or one that sleeps when XNNPACK brings its own (its documentation asks for that)."""
    if choice[0][0] == XNNPACK:
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    elif threads is not None:
        options.intra_op_num_threads = threads


def remedy(provider: str, graph: bytes) -> str:
    """What to do when a provider cannot run a graph."""
    if provider == TENSORRT:
        return (
            f"remove what it built ({printable(engine_folder(graph))}), or use providers=['{CUDA}'] or another variant"
        )
    if provider == CPU:
        return "update onnxruntime, use another variant, or export it again"
    return f"use providers=['{CPU}'] or another variant"
