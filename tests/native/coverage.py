"""Lines of the core that were run, from gcov's notes in a build folder: `coverage.py FOLDER [--least PERCENT]`.

A line of a header counts once, however many files include it. What is for other instruction sets than this machine's is
not compiled here, and not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

NATIVE = (Path(__file__).parents[2] / "native").resolve()


def read(folder: Path) -> dict[str, dict[int, int]]:
    """How often each line of each file was run."""
    lines: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for notes in sorted(folder.glob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(notes.resolve())]
        found = subprocess.run(command, cwd=NATIVE, capture_output=True, text=True, check=True)
        for part in found.stdout.splitlines():
            for file in json.loads(part)["files"]:
                path = (NATIVE / file["file"]).resolve()
                if path.parent == NATIVE and path.is_file():  # programs of the tests are compiled elsewhere
                    for line in file["lines"]:
                        lines[path.name][line["line_number"]] += line["count"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--least", type=float, default=0.0)
    asked = parser.parse_args()
    total = run = 0
    for name, lines in sorted(read(asked.folder).items()):
        missed = [str(number) for number, count in sorted(lines.items()) if not count]
        total, run = total + len(lines), run + len(lines) - len(missed)
        share = 100 * (1 - len(missed) / len(lines))
        print(f"{name:26} {len(lines):5} lines {share:6.1f} %  {' '.join(missed[:16])}{' ...' * (len(missed) > 16)}")
    share = 100 * run / max(total, 1)
    print(f"{'all':26} {total:5} lines {share:6.1f} %")
    return int(share <= asked.least)


if __name__ == "__main__":
    sys.exit(main())
