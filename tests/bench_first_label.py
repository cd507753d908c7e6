"""From a saved file to the first label in C: the whole program of examples/c, started anew, against an empty one.

5 classes x 5 examples x 640 dimensions; the embedding to name is given. Time: from starting the program to its end, the
median of alternating runs. Memory: the most that was resident. `first_label()` is what `make bench` calls.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import small_bundle

from edgemeta import Learner

ROOT = Path(__file__).parents[1]
CLASSES, SHOTS, DIM, RUNS = 5, 5, 640, 101
EMPTY = "#include <stdio.h>\nint main(void) { while (getchar() != EOF) {} return 0; }\n"


def build(folder: Path) -> tuple[Path, Path]:
    """learn_camera, without ONNX Runtime, and a program that only reads its input to the end."""
    made = subprocess.run(["make", "-s", "-C", str(ROOT / "examples" / "c"), f"BUILD={folder}", "ORT=no"])
    made.check_returncode()
    subprocess.run(["cc", "-O2", "-x", "c", "-", "-o", str(folder / "empty")], input=EMPTY, text=True, check=True)
    return folder / "learn_camera", folder / "empty"


def teach(folder: Path) -> tuple[list[str], bytes]:
    """A bundle of 640 dimensions and a journal; how to start the program with them, and an embedding to name."""
    small_bundle.DIM = DIM
    bundle, journal = folder / "wide.edgemeta", folder / "taught.learned"
    small_bundle.small_bundle(bundle)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLASSES, DIM))
    with Learner(bundle, journal) as learner:
        for i in range(CLASSES):
            learner.learn_many(centres[i] + rng.normal(size=(SHOTS, DIM)), f"class {i}")
    return [str(bundle), str(journal), "--floats", "-"], (centres[3] + rng.normal(size=DIM)).astype("<f4").tobytes()


def run(command: list[str], given: bytes) -> tuple[float, str]:
    """Milliseconds from its start to its end, and what it said."""
    start = time.perf_counter()
    done = subprocess.run(command, input=given, capture_output=True, check=True)
    return 1e3 * (time.perf_counter() - start), done.stdout.decode()


def peak(command: list[str], given: bytes) -> float:
    """MB that were resident at most, looked up while it waits for the next input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(given)
        if command[1:]:
            said = b""
            while b"frame 1: " not in said or not said.endswith(b"\n"):
                said += process.stdout.read(4096)
        else:
            time.sleep(0.05)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        process.stdin.close()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def first_label() -> dict[str, float]:
    """Milliseconds and MB above the empty program, and those of both."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, empty = build(folder)
        arguments, given = teach(folder)
        ours, nothing = [str(program), *arguments], [str(empty)]
        times: dict[str, list[float]] = {"ours": [], "empty": []}
        for _ in range(RUNS):
            taken, said = run(ours, given)
            assert "frame 1: class 3 " in said, said
            times["ours"].append(taken)
            times["empty"].append(run(nothing, given)[0])
        memory = [statistics.median(peak(command, given) for _ in range(5)) for command in (ours, nothing)]
    ms, ms_empty = (statistics.median(times[key]) for key in ("ours", "empty"))
    return {
        "ms": ms - ms_empty,
        "MB": memory[0] - memory[1],
        "program ms": ms,
        "empty ms": ms_empty,
        "program MB": memory[0],
        "empty MB": memory[1],
    }


if __name__ == "__main__":
    found = first_label()
    for what, value in found.items():
        print(f"{what:12} {value:.2f}")
    sys.exit(0 if found["ms"] <= 5 and found["MB"] <= 2 else "above 5 ms or 2 MB")
