"""The command that measures how fast a bundle is on this machine: bench."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..bundle import Bundle
from ..terminal import Progress, printable, table

if TYPE_CHECKING:
    from ..bench import Record, Timing


def add_commands(commands: Any) -> None:
    """Add this file's commands to the parser."""
    text = "measure every variant of a bundle on every provider of this machine"
    bench = commands.add_parser("bench", help=text, description=text)
    bench.add_argument("bundle", metavar="BUNDLE", help="a bundle's path or name")
    bench.add_argument("--variant", metavar="NAME", help="only this one")
    bench.add_argument("--provider", metavar="NAME", help="only this one: cpu, xnnpack, cuda, tensorrt, tensorrt:fp16")
    bench.add_argument("--threads", type=int, metavar="N", help="default: as the runtime chooses")
    bench.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each measurement (default 2)")
    bench.add_argument("--json", action="store_true")
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from ..bench import records

    bundle = Bundle.open(options.bundle)
    progress = Progress("bench", None)
    found: list[Record] = []
    interrupted = False
    try:
        for record in records(
            bundle,
            variant=options.variant,
            provider=options.provider,
            threads=options.threads,
            seconds=options.seconds,
            about_to=lambda number, total, name: progress.update(number, f"of {total}: {printable(name)}"),
        ):
            found.append(record)
    except KeyboardInterrupt:
        interrupted = True  # what there is took time to measure
    progress.close()
    if options.json:
        print(
            json.dumps(
                {**_machine(bundle), "interrupted": interrupted, "records": [record.to_json() for record in found]}
            )
        )
    else:
        _show(bundle, found)
    if interrupted:
        print("edgemeta: interrupted", file=sys.stderr)
        return 130
    return 0 if any(record.timing for record in found) else 1


def _machine(bundle: Bundle) -> dict[str, Any]:
    """What the figures depend on besides the graph."""
    import os
    import platform

    from .. import __version__, kernels

    return {
        "bundle": bundle.name,
        "sha256": bundle.sha256,
        "edgemeta": __version__,
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernels": kernels.name(),
    }


HEADING = ("variant", "provider", "load", "median", "95 %", "99 %", "frame", "99 %", "images/s", "memory", "energy")
LEGEND = """\
median, 95 %, 99 %: one image through the graph. frame: 640 x 480 through fit, graph and head to a label.
images/s: the graph, {batch} at a time. memory: peak above an empty Python. energy: {energy}."""


def _show(bundle: Bundle, found: Sequence[Record]) -> None:
    ran = [(record, record.timing) for record in found if record.timing is not None]
    if ran:
        facts = _machine(bundle)
        print(f"{printable(bundle.name)} on {facts['machine']}, {facts['cores']} cores, kernels {facts['kernels']}")
        print(table([HEADING, *(_row(record, timing) for record, timing in ran)]))
        sources = {timing.energy_source for _, timing in ran if timing.energy_source is not None}
        energy = f"one image by {printable(', '.join(sorted(sources)))}, idle power and all"
        print(LEGEND.format(batch=ran[0][1].batch, energy=energy if sources else "not reported by this machine"))
    for record in found:
        if record.timing is None:
            where = f" on {_short(record.provider)}" if record.provider else ""
            print(f"{printable(record.variant)}{where} cannot run here: {printable(record.reason or '')}")


def _row(record: Record, timing: Timing) -> tuple[str, ...]:
    memory = "?" if timing.memory_bytes is None else f"{timing.memory_bytes / 2**20:.0f} MiB"
    energy = "" if timing.energy_mj is None else f"{timing.energy_mj:.3g} mJ"
    return (
        printable(record.variant),
        _short(record.provider),
        f"{timing.load_ms:.0f} ms",
        *(_ms(x) for x in (timing.graph.median_ms, timing.graph.p95_ms, timing.graph.p99_ms)),
        *(_ms(x) for x in (timing.frame.median_ms, timing.frame.p99_ms)),
        f"{timing.images_per_second:.0f}",
        memory,
        energy,
    )


def _short(provider: str) -> str:
    return provider.replace("ExecutionProvider", "")


def _ms(value: float) -> str:
    return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"
