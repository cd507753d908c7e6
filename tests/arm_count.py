"""Instructions of the core's operations on emulated ARM, against those that are on file.

    arm_count.py --run aarch64 "qemu-aarch64 -plugin P -cpu C" PROGRAM COMPILER [--run ...] [--update]

Counts are exact and the same on any machine, but hang on the compiler: where that is another one than the file's they
are shown and not compared. Fails where one is more than 10 % above the file's.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

FILE = Path(__file__).parent / "golden" / "arm_instructions.json"
KERNELS = ("portable", "neon", "neon-dotprod")
ALLOWED = 1.1
TIMES = (2, 5)  # an operation as often: the difference is that of 3


def executed(command: list[str]) -> int | None:
    """Instructions of a command under the counting emulator; None where the machine has not what it asks for."""
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^instructions (\d+)$", done.stderr, re.MULTILINE)
    if done.returncode == 2 and "no kernels" in done.stderr:
        return None
    if done.returncode != 0 or found is None:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return int(found[1])


def count(emulator: list[str], program: str) -> dict[str, dict[str, int]]:
    """Of each operation, by kernels."""
    names = subprocess.run([*emulator, program], capture_output=True, text=True, check=True).stdout.split()
    counts: dict[str, dict[str, int]] = {}
    for name in names:
        for kernels in KERNELS:
            few, more = (executed([*emulator, program, name, kernels, str(times)]) for times in TIMES)
            if few is not None and more is not None:
                counts.setdefault(name, {})[kernels] = round((more - few) / (TIMES[1] - TIMES[0]))
    return counts


def show(machine: str, counts: dict[str, dict[str, int]]) -> None:
    print(f"{machine}: instructions of one operation, and how many times fewer than portable")
    for name, by_kernels in counts.items():
        cells = [f"{k} {n} ({by_kernels['portable'] / n:.1f})" for k, n in by_kernels.items()]
        print(f"  {name:20} {'   '.join(cells)}")


def worse(machine: str, counts: dict[str, dict[str, int]], kept: dict[str, dict[str, int]]) -> list[str]:
    """What is above the bar, or is on file and was not counted."""
    found = []
    for name, by_kernels in kept.items():
        for kernels, bar in by_kernels.items():
            now = counts.get(name, {}).get(kernels)
            if now is None:
                found.append(f"{machine} {name} {kernels}: on file, and not counted")
            elif now > ALLOWED * bar:
                found.append(f"{machine} {name} {kernels}: {now} instructions, {now / bar:.2f} times the {bar} on file")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", nargs=4, action="append", required=True, metavar=("NAME", "QEMU", "PROGRAM", "CC"))
    parser.add_argument("--update", action="store_true", help="write the file anew")
    options = parser.parse_args()
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    above = []
    for machine, emulator, program, compiler in options.run:
        counts = count(emulator.split(), program)
        show(machine, counts)
        on_file = kept.get(machine, {})
        if options.update:
            kept[machine] = {"compiler": compiler, "counts": counts}
        elif on_file.get("compiler") != compiler:
            print(f"{machine}: not compared, the file's counts are of {on_file.get('compiler')}, these of {compiler}")
        else:
            above += worse(machine, counts, on_file["counts"])
    if options.update:
        FILE.write_text(json.dumps(kept, indent=1) + "\n")
    if above:
        raise SystemExit("\n".join(["more instructions than before:", *above]))


if __name__ == "__main__":
    main()
