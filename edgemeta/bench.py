"""How fast a bundle is on this machine: every variant on every provider, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .bundle import Bundle, Variant
from .energy import find_meter
from .errors import EdgemetaError, OptionError
from .options import as_count, check_positive
from .terminal import printable

if TYPE_CHECKING:
    from .learner import Learner

BATCH = 32
FRAME = (480, 640, 3)
CLASSES, SHOTS = 5, 5
# Calls at least, however long one takes; at most, since their times are kept in memory; before the first that counts.
LEAST, MOST, WARM = 10, 20_000, 3
SECONDS = 2.0


@dataclass(frozen=True)
class Latency:
    """Of `calls` calls one after another, in milliseconds; the last percentile of few calls is their slowest."""

    calls: int
    median_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Timing:
    """What was measured of one variant on one provider.

    load_ms: from the opened bundle to a graph that has run, its runtime's import included. graph: one fitted image
    through the graph. frame: a camera's frame of 640 x 480 through fit, graph and head to a label. images_per_second:
    of the graph in batches of `batch`. memory_bytes: peak of the process until then, without the batches and without
    a GPU's own memory, above that of an empty Python; None where the system does not say. energy_mj: millijoules for
    one image through the graph, as `energy_source` counts them, idle power and all; None where nothing reports it.
    """

    load_ms: float
    graph: Latency
    frame: Latency
    batch: int
    images_per_second: float
    memory_bytes: int | None
    energy_mj: float | None
    energy_source: str | None


@dataclass(frozen=True)
class Record:
    """One variant on one provider: `timing`, or None and the `reason` why it cannot run here.

    provider: "" where no runtime that has any is installed. threads: as asked for, None for the runtime's choice.
    """

    variant: str
    runtime: str
    precision: str
    provider: str
    threads: int | None
    timing: Timing | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def bench(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    variant: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    seconds: float = SECONDS,
) -> list[Record]:
    """Measure every variant on every provider, or those that are named; `records` gives them one by one."""
    return list(records(bundle, variant=variant, provider=provider, threads=threads, seconds=seconds))


def records(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    variant: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    seconds: float = SECONDS,
    about_to: Callable[[int, int, str], None] | None = None,
) -> Iterator[Record]:
    """The records as they are measured.

    variant: a name. provider: as the runtime has it or without "ExecutionProvider", in small letters too. threads: None
    lets the runtime choose. seconds: of each of the measurements. about_to: called with the number of the record that
    comes, of how many, and its name.

    Raises NotFoundError for a variant that the bundle lacks, OptionError for a provider that no runtime here has, what
    `Bundle.open` raises. That one does not run is no error: its record says why.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    chosen = opened.variants if variant is None else (opened.variant(variant),)
    if threads is not None:
        threads = as_count(threads, "threads", most=1024)
    check_positive(seconds, "seconds")
    plan = _plan(chosen, provider)
    empty = _empty_bytes()
    for number, (each, name, reason) in enumerate(plan):
        if about_to is not None:
            about_to(number, len(plan), f"{each.name} {name}")
        timing = None
        if reason is None:
            timing, reason = _apart(opened, each, name, threads, float(seconds), empty)
        yield Record(each.name, each.runtime, each.precision, name, threads, timing, reason)


def _plan(variants: tuple[Variant, ...], wanted: str | None) -> list[tuple[Variant, str, str | None]]:
    """Each variant with each provider, or with the reason why there is none. Raises OptionError."""
    plan: list[tuple[Variant, str, str | None]] = []
    seen: list[str] = []
    for variant in variants:
        try:
            names = _providers(variant)
        except EdgemetaError as error:
            plan.append((variant, "", str(error)))
            continue
        seen += [name for name in names if name not in seen]
        plan += [(variant, name, None) for name in names if wanted is None or _is(name, wanted)]
    if wanted is not None and not any(name for _, name, _ in plan):
        raise OptionError(f"no provider '{printable(wanted)}' for these variants here; there are {', '.join(seen)}")
    return plan


def _is(name: str, wanted: str) -> bool:
    return name.lower().replace("executionprovider", "") == wanted.lower().replace("executionprovider", "")


def _providers(variant: Variant) -> list[str]:
    """What the runtime of a variant could run on here. Raises MissingDependencyError, OptionError."""
    if variant.runtime == "onnx":
        from .runners.onnx import load_runtime
        from .runners.onnx_providers import HALF, TENSORRT

        # Azure's sends the image away to be computed elsewhere, which no one asked for.
        found = [name for name in load_runtime().get_available_providers() if not name.startswith("Azure")]
        return [*found, TENSORRT + HALF] if TENSORRT in found and variant.precision == "fp32" else found
    if variant.runtime == "tflite":
        from .runners import litert

        litert.load_runtime()
        return [litert.XNNPACK, litert.CPU]
    raise OptionError(f"no runner for {printable(variant.runtime)} in this version")


def _empty_bytes() -> int | None:
    """Peak memory of a Python that does nothing."""
    code = "print(open('/proc/self/status').read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return _peak(done.stdout)


def _peak(status: str) -> int | None:
    """In bytes, of this program's memory: getrusage would count that of the process which started it too."""
    sizes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(sizes[0]) if sizes else None


CHILD = "import json, sys; sys.path = {path}; from edgemeta.bench import child; child(**json.loads(sys.argv[1]))"


def _apart(
    bundle: Bundle, variant: Variant, provider: str, threads: int | None, seconds: float, empty: int | None
) -> tuple[Timing | None, str | None]:
    """Measured in a process of its own: the timing, or why there is none."""
    request = {
        "path": os.path.abspath(bundle.path),
        "sha256": bundle.sha256,
        "variant": variant.name,
        "provider": provider,
        "threads": threads,
        "seconds": seconds,
    }
    # Not the current folder, where anything may lie, and the very edgemeta that runs here.
    code = CHILD.format(path=f"[{str(Path(__file__).parents[1])!r}, *filter(None, sys.path)]")
    done = subprocess.run([sys.executable, "-c", code, json.dumps(request)], capture_output=True, text=True)
    if done.returncode < 0:
        return None, f"its process was ended by {signal.Signals(-done.returncode).name}"
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = done.stderr.strip().splitlines()[-1:] or [f"its process ended with status {done.returncode}"]
        return None, printable(last[0])
    if "reason" in found:
        return None, found["reason"]
    peak = found.pop("peak_bytes")
    memory = max(0, peak - empty) if peak is not None and empty is not None else None
    graph, frame = (Latency(**found.pop(name)) for name in ("graph", "frame"))
    return Timing(graph=graph, frame=frame, memory_bytes=memory, **found), None


def child(path: str, sha256: str, variant: str, provider: str, threads: int | None, seconds: float) -> None:
    """What the process of one record does: measure, and print a line of JSON."""
    try:
        found = _measure(Bundle.open(path, sha256=sha256), variant, provider, threads, seconds)
    except EdgemetaError as error:
        found = {"reason": str(error)}
    print(json.dumps(found))


def _measure(bundle: Bundle, variant: str, provider: str, threads: int | None, seconds: float) -> dict[str, Any]:
    from .learner import Learner

    rng = np.random.default_rng(0)
    learner = Learner(bundle, variant=variant, providers=[provider], threads=threads)
    started = time.perf_counter()
    runner = learner._embedder.open()
    load = time.perf_counter() - started
    images = rng.integers(0, 256, (BATCH, bundle.input.height, bundle.input.width, 3), dtype=np.uint8)
    graph = _latency(lambda: runner.run(images[:1]), seconds)
    frame = _latency(_predicting(learner, rng), seconds)
    peak = _peak(Path("/proc/self/status").read_text()) if Path("/proc/self/status").exists() else None
    times = _times(lambda: runner.run(images), seconds, least=2)
    energy, source = _energy(lambda: runner.run(images[:1]), seconds)
    return {
        "load_ms": 1e3 * load,
        "graph": asdict(graph),
        "frame": asdict(frame),
        "batch": BATCH,
        "images_per_second": BATCH * len(times) / float(times.sum()),
        "peak_bytes": peak,
        "energy_mj": energy,
        "energy_source": source,
    }


def _predicting(learner: Learner, rng: np.random.Generator) -> Callable[[], object]:
    """The prediction of a frame, by a learner that is taught something first, frame by frame as a device would be."""
    for number in range(CLASSES * SHOTS):
        label = number % CLASSES
        learner.learn(rng.integers(0, 255 - 40 * label, FRAME, dtype=np.uint8), f"class {label}")
    frame = rng.integers(0, 256, FRAME, dtype=np.uint8)
    return lambda: learner.predict(frame)


def _times(call: Callable[[], object], seconds: float, least: int = LEAST) -> Any:
    """Seconds of each call, float64 (N,), N at least `least`, for so many seconds together."""
    for _ in range(min(WARM, least)):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < MOST):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return np.array(times)


def _latency(call: Callable[[], object], seconds: float) -> Latency:
    times = 1e3 * _times(call, seconds)
    median, p95, p99 = (float(x) for x in np.percentile(times, [50, 95, 99]))
    return Latency(len(times), median, p95, p99)


def _energy(call: Callable[[], object], seconds: float) -> tuple[float | None, str | None]:
    """Millijoules of a call, in a loop of its own: reading the meter takes time too."""
    meter = find_meter()
    if meter is None:
        return None, None
    meter.start()
    count = len(_times(call, seconds)) + WARM
    return 1e3 * meter.stop() / count, meter.source
