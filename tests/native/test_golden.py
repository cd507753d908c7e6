"""The golden vectors: NumPy reproduces them, the script that made them makes them again, and the C core agrees."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

from make_golden import FILES, make
from reference import ANSWERS, differences, same
from vectors import Array, Case, read, write

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"


def cases_of(name: str, folder: Path = GOLDEN) -> list[Case]:
    return read(folder / name)


@pytest.mark.parametrize("name", FILES)
def test_numpy_reproduces_them(name):
    count, wrong = differences(GOLDEN / name)
    assert count > 0 and not wrong


def test_a_wrong_answer_is_seen(tmp_path):
    cases = cases_of("heads.txt")
    cases[1].answer["weights"] = cases[1].answer["weights"] * (1 + 1e-10)
    write(tmp_path / "heads.txt", "spoiled", cases)
    assert len(differences(tmp_path / "heads.txt")[1]) == 1


def test_the_script_makes_the_same_files(tmp_path):
    make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in GOLDEN.glob("*.txt"))
    for name in FILES:
        made, kept = cases_of(name, tmp_path), cases_of(name)
        assert [(c.kind, c.title) for c in made] == [(c.kind, c.title) for c in kept]
        for one, other in zip(made, kept, strict=True):
            assert list(one.given) == list(other.given) and list(one.answer) == list(other.answer)
            for what, expected in (*other.given.items(), *other.answer.items()):
                exact = what in other.given and "float" not in expected.dtype.name
                found = one.given[what] if what in other.given else one.answer[what]
                assert same("crc32" if exact else other.kind, found, expected), (other.title, what)


def test_they_are_small_and_of_every_kind():
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.txt")) < 500_000
    assert {case.kind for name in FILES for case in cases_of(name)} == set(ANSWERS)
    titles = [(case.kind, case.title) for name in FILES for case in cases_of(name)]
    assert len(titles) == len(set(titles))


def test_the_format_keeps_every_number(tmp_path):
    values = np.array([0.0, -0.0, 1.0, -1.5, 1 / 3, 5e-324, 1.7976931348623157e308, np.inf, -np.inf, np.nan, 2.0**40])
    given = {
        "doubles": values.reshape(1, 11),
        "floats": np.array([1 / 3, 1e-45, -3.4e38], np.float32),
        "integers": np.array([-(2**31), 2**31 - 1, 0], np.int32),
        "bytes": np.arange(256, dtype=np.uint8),
        "nothing": np.zeros((0, 3)),
        "no-bytes": np.zeros(0, np.uint8),
        "one": np.array(-2.5),
    }
    write(tmp_path / "a.txt", "a test", [Case("kind", "title", given, {"same": values}), Case("kind", "other", {})])
    found = read(tmp_path / "a.txt")
    assert [(c.kind, c.title) for c in found] == [("kind", "title"), ("kind", "other")]
    for name, expected in given.items():
        array = found[0].given[name]
        assert array.dtype == expected.dtype and array.shape == expected.shape
        assert array.tobytes() == np.ascontiguousarray(expected).tobytes(), name


@pytest.fixture(scope="module")
def program() -> Path:
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.skip("there is no C compiler (cc) or no make")
    subprocess.run(["make", "-s", "-C", str(HERE)], check=True)
    return HERE.parents[1] / "build" / "native" / "golden"


def run(program: Path, folder: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, folder, scratch], capture_output=True, text=True, timeout=300)


def test_the_c_core_reproduces_them(program, tmp_path):
    done = run(program, GOLDEN, tmp_path / "a.learned")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "portable: " in done.stdout and not (tmp_path / "a.learned").exists()
    counts = {line.split()[1] for line in done.stdout.splitlines() if "checks" in line}
    assert len(counts) == 1 and int(counts.pop()) > 1000  # each instruction set is asked the same


@pytest.mark.parametrize("name", FILES)
def test_the_c_program_sees_a_wrong_answer(program, tmp_path, name):
    """Of each kind one answer is spoiled a little: as little as shall be noticed."""
    for path in GOLDEN.glob("*.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    cases = cases_of(name)
    spoiled = {}
    for case in cases:
        full = [what for what, array in case.answer.items() if finite(array).any()]
        if case.kind not in spoiled and case.kind != "facts" and full:
            spoiled[case.kind] = case
            case.answer[full[-1]] = spoil(case.answer[full[-1]])
    assert spoiled
    write(tmp_path / name, "spoiled", cases)
    done = run(program, tmp_path, tmp_path / "a.learned")
    assert done.returncode == 1, done.stdout
    for kind, case in spoiled.items():
        assert f"{kind} {case.title}: " in done.stdout


def finite(array: Array) -> Array:
    """Its sizes, of what is not finite 0."""
    return np.abs(np.nan_to_num(array.astype(float), posinf=0.0, neginf=0.0))


def spoil(array: Array) -> Array:
    wrong = np.array(array)
    at = np.unravel_index(finite(array).argmax(), wrong.shape)
    wrong[at] = wrong[at] ^ 1 if wrong.dtype.kind in "iu" else wrong[at] * (1 + 1e-5)
    return wrong


def test_the_c_program_refuses_a_file_that_is_cut_off(program, tmp_path):
    for path in GOLDEN.glob("*.txt"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (GOLDEN / "heads.txt").read_bytes()
    (tmp_path / "heads.txt").write_bytes(whole[: len(whole) // 2])
    assert run(program, tmp_path, tmp_path / "a.learned").returncode == 2
    (tmp_path / "heads.txt").unlink()
    assert run(program, tmp_path, tmp_path / "a.learned").returncode == 2
