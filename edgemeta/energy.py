"""Energy as the board itself reports it: a Jetson's INA3221 power monitor, or RAPL of an x86 processor.

Both count everything that they feed, idle or not, and not this process alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

# The rail that feeds all others, by the generation of the Jetson; where there is none, all rails are added up.
INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VDD_MUX")
# The monitor renews its values some ten times a second, and each reading takes it a millisecond.
EVERY = 0.02


class Meter(Protocol):
    """source: what is read. `start`, then `stop` for the joules since."""

    source: str

    def start(self) -> None: ...

    def stop(self) -> float: ...


def find_meter(sys_root: Path = Path("/sys")) -> Meter | None:
    """The meter of this machine, or None when it has none or keeps it for root."""
    rails = list(_hwmon_rails(sys_root)) + list(_iio_rails(sys_root))
    if rails:
        return Monitor([rail for rail in rails if rail.name in INPUT_RAILS][:1] or rails)
    counters = [folder for folder in sorted(sys_root.glob("class/powercap/intel-rapl:*")) if _is_package(folder)]
    return Counter(counters) if counters else None


def _read(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Rail:
    """One channel; `watts` is what flows now."""

    def __init__(self, name: str, *factors: Path):
        """factors: files in mW, or in mV and mA."""
        self.name, self._factors = name, factors

    def watts(self) -> float | None:
        values = [_read(path) for path in self._factors]
        if None in values:
            return None
        return (values[0] if len(values) == 1 else values[0] * values[1] / 1e3) / 1e3  # type: ignore[operator]


def _hwmon_rails(sys_root: Path) -> Iterable[Rail]:
    """As of JetPack 5 (in7 is a sum, which has no voltage of its own)."""
    for label in sorted(sys_root.glob("bus/i2c/drivers/ina3221*/*/hwmon/hwmon*/in[123]_label")):
        channel = label.name[2]
        rail = Rail(_text(label), label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input"))
        if rail.watts() is not None:
            yield rail


def _iio_rails(sys_root: Path) -> Iterable[Rail]:
    """Up to JetPack 4."""
    for label in sorted(sys_root.glob("bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[012]")):
        rail = Rail(_text(label), label.with_name(f"in_power{label.name[-1]}_input"))
        if rail.watts() is not None:
            yield rail


class Monitor:
    """Watts, sampled by a thread and integrated."""

    def __init__(self, rails: list[Rail]):
        self._rails = rails
        self.source = f"INA3221 {', '.join(rail.name for rail in rails)}"

    def start(self) -> None:
        """Begin to sample."""
        self._samples: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._started = time.perf_counter()
        self._thread.start()

    def _sample(self) -> None:
        while True:
            found = [rail.watts() for rail in self._rails]
            if None not in found:
                self._samples.append(sum(found))  # type: ignore[arg-type]
            if self._done.wait(EVERY):
                return

    def stop(self) -> float:
        """Joules since `start`."""
        seconds = time.perf_counter() - self._started
        self._done.set()
        self._thread.join()
        return seconds * sum(self._samples) / max(1, len(self._samples))


def _is_package(folder: Path) -> bool:
    """Of a processor and readable, which since 2020 it is for root alone; its parts have their own folders."""
    return _text(folder / "name").startswith("package") and _read(folder / "energy_uj") is not None


class Counter:
    """Microjoules, counted by each processor, back to zero after the last one it can hold."""

    def __init__(self, folders: list[Path]):
        self._folders = folders
        self.source = "RAPL package"

    def start(self) -> None:
        """Remember where the counters are."""
        self._before = [_read(folder / "energy_uj") or 0 for folder in self._folders]

    def stop(self) -> float:
        """Joules since `start`."""
        joules = 0.0
        for folder, before in zip(self._folders, self._before, strict=True):
            used = (_read(folder / "energy_uj") or 0) - before
            joules += (used if used >= 0 else used + (_read(folder / "max_energy_range_uj") or 0) + 1) / 1e6
        return joules
