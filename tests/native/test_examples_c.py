"""examples/c: the program for a device and Python's Learner on the same files; the one for a Cortex-M under QEMU."""

from __future__ import annotations

import fcntl
import os
import runpy
import select
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgemeta import Bundle, Learner, make_head
from edgemeta.data import Digits
from edgemeta.journal import Journal

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "c"
GLYPHS = ROOT / "edgemeta" / "models" / "glyphs.edgemeta"
NAMES = ["one", "two", "three"]


COMPILER = "gcc" if shutil.which("gcc") else "cc"


@cache
def build(compiler: str = COMPILER, home: Path | None = None) -> Path:
    """learn_camera by that compiler; without ONNX Runtime unless `home` is where it is."""
    for tool in (compiler, "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    folder = ROOT / "build" / f"examples-c-{compiler}"
    program = folder / ("learn_camera" if home is None else "learn_camera_onnx")
    given = [
        f"BUILD={folder}",
        f"CC={compiler}",
        f"PROGRAM={program}",
        "ORT=no" if home is None else f"ORT_HOME={home}",
    ]
    subprocess.run(["make", "-s", "-C", str(EXAMPLES), *given], check=True)
    return program


def start(program: Path, *arguments: object, given: bytes = b"", **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(program), *map(str, arguments)],
        input=given,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@contextmanager
def running(*arguments: object, **options: Any) -> Iterator[subprocess.Popen]:
    """The program while a test talks with it; ended in any case."""
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
    with subprocess.Popen([str(build()), *map(str, arguments)], bufsize=0, **given) as process:
        try:
            yield process
        finally:
            process.kill()


def say(*arguments: object, given: bytes = b"", program: Path | None = None, **environment: str) -> list[str]:
    """The lines about frames and keys, without the two of the greeting."""
    done = start(program or build(), *arguments, given=given, **environment)
    assert (done.returncode, done.stderr) == (0, b""), (done.stderr, done.stdout)
    return done.stdout.decode().splitlines()[2:]


@cache
def shown() -> np.ndarray:
    """Digits 1, 2, 3, 1, 2, 3, ...: 21 images."""
    digits = Digits().load()
    members = digits.members()
    return digits.pixels[[members[d][i] for i in (*range(3), *range(20, 24)) for d in (1, 2, 3)]]


@cache
def raw() -> np.ndarray:
    """Their embeddings, as a program of one's own would bring them."""
    with Learner("glyphs") as learner:
        return learner.embed(shown()).astype(np.float32)


def floats(rows: slice = slice(None)) -> bytes:
    return raw()[rows].astype("<f4").tobytes()


def named(lines: list[str]) -> list[str]:
    """The labels of lines such as "frame 7: two 0.98"."""
    return [line.split(": ")[1].split()[0] for line in lines]


def everything(path: Path) -> list[tuple]:
    """Ids, labels, groups and embeddings in the order of the file."""
    bundle = Bundle.open(GLYPHS)
    journal = Journal.open(path, embedding_id=bundle.embedding_id, dim=bundle.dim, readonly=True)
    try:
        ids = list(journal.live)
        entries = [journal.live[each] for each in ids]
        rows = journal.embeddings(ids).tolist()
        return [(str(i), e.label, e.group, tuple(row)) for i, e, row in zip(ids, entries, rows, strict=True)]
    finally:
        journal.close()


# Building


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_it_builds_without_a_warning_and_answers(compiler, tmp_path):
    lines = say(
        GLYPHS, tmp_path / "j", "--floats", "-", "--keys", "12..", given=floats(slice(4)), program=build(compiler)
    )
    assert lines[:2] == ["frame 1: learned 1, example 1", "frame 2: learned 2, example 1"] and len(lines) == 4


# Learning, and the same files in Python


def test_it_learns_from_text_and_python_goes_on(tmp_path):
    path, text = tmp_path / "j", "\n".join(" ".join(f"{x:.9g}" for x in row) for row in raw()) + "\n"
    labels = ["--labels", ",".join(NAMES)]
    lines = say(GLYPHS, path, "--text", "-", *labels, "--keys", "123123123", given=text.encode())
    assert lines[8] == "frame 9: learned three, example 3" and len(lines) == 21
    with Learner("glyphs", path, head="euclidean") as learner:
        assert learner.counts == {"one": 3, "three": 3, "two": 3}
        assert list(learner.examples.values()) == NAMES * 3
        found = learner.predict_many(raw()[9:])
        assert named(lines[9:]) == [p.label for p in found]
        # The bundle's own temperature, to the two digits that are printed.
        factor = learner.bundle.head.temperature
        for line, prediction in zip(lines[9:], found, strict=True):
            scores = np.array([score for _, score, _ in prediction.ranked])
            confidence = 1 / np.exp(factor * (scores - scores[0])).sum()
            assert abs(float(line.split()[-1]) - confidence) <= 0.00501
        assert (learner.journal.embeddings(list(learner.examples)) == learner._embed(list(raw()[:9]))[0]).all()


def test_what_python_taught_is_known_and_learning_goes_on(tmp_path):
    path = tmp_path / "j"
    with Learner("glyphs", path, head="euclidean") as learner:
        learner.learn_many(raw()[0:9:3], "one", group="burst")
        learner.learn_many(raw()[1:9:3], "two")
        learner.learn_many(raw()[2:9:3], "3")
        learner.forget("two")
        learner.undo()
        expected = [p.label for p in learner.predict_many(raw()[9:])]
        before = everything(path)
    # "3" has its own key, the others the free ones: those of Python's labels in the order of the journal.
    lines = say(
        GLYPHS, path, "--floats", "-", "--keys", "." * 12 + "3", given=floats(slice(9, None)) + floats(slice(2, 3))
    )
    assert named(lines[:12]) == expected and lines[12] == "frame 13: learned 3, example 4"
    *kept, new = everything(path)
    three = [row for _, label, _, row in before if label == "3"]
    assert kept == before and new[1:] == ("3", None, three[0])


def test_undo_forget_and_compact_are_pythons(tmp_path):
    path, other = tmp_path / "c", tmp_path / "python"
    labels = ["--labels", ",".join(NAMES)]
    lines = say(GLYPHS, path, "--floats", "-", *labels, "--keys", "1231 u f. u 2 f c s q", given=floats(slice(6)))
    assert [line for line in lines if not line.startswith("frame")] == [
        "undone; 3 examples",
        "forgot one, 1 examples",
        "undone; 3 examples",
        "forgot two, 2 examples",
        f"compacted: 2 examples, {path.stat().st_size} bytes",
        f"saved: 2 examples, {path.stat().st_size} bytes",
    ]
    with Learner("glyphs", other, head="euclidean") as learner:
        for row, label in zip(raw(), ["one", "two", "three", "one"], strict=False):
            learner.learn(row, label)
        learner.undo()
        learner.forget("one")
        learner.undo()
        learner.learn(raw()[5], "two")
        learner.forget("two")
        learner.compact()
    found, expected = everything(path), everything(other)
    assert [(i.split(":")[1], *rest) for i, *rest in found] == [(i.split(":")[1], *rest) for i, *rest in expected]
    assert path.stat().st_size == other.stat().st_size


def test_nothing_to_undo_or_to_forget_is_no_error(tmp_path):
    assert say(GLYPHS, tmp_path / "j", "--floats", "-", "--keys", "uf.", given=floats(slice(1))) == [
        "nothing to undo",
        "nothing learned here to forget",
        "frame 1: nothing learned yet",
    ]


@pytest.mark.parametrize("room", [[], ["--examples", "12"]], ids=["from sums", "from examples"])
def test_ridge_is_pythons(room, tmp_path):
    path, ridge = tmp_path / "j", ["--head", "ridge", "--lambda", "0.2", *room]
    lines = say(GLYPHS, path, "--floats", "-", *ridge, "--keys", "123123123", given=floats())
    with Learner("glyphs", path, head=make_head("ridge", lambda_=0.2)) as learner:
        assert named(lines[9:]) == [p.label for p in learner.predict_many(raw()[9:])]


def test_what_there_is_no_room_for_is_not_learned(tmp_path):
    path, ridge = tmp_path / "j", ["--head", "ridge", "--lambda", "0.2", "--examples", "3"]
    done = start(build(), GLYPHS, path, "--floats", "-", *ridge, "--keys", "1111", given=floats())
    assert done.returncode == 2 and b"--examples" in done.stderr
    assert done.stdout.splitlines()[-1] == b"frame 3: learned 1, example 3"
    assert len(everything(path)) == 3


def test_sealed_examples_are_known_and_forgotten(tmp_path):
    path = tmp_path / "j"
    with Learner("glyphs", path, head="euclidean", budget=4) as learner:
        for i, row in enumerate(raw()[:12]):
            learner.learn(row, NAMES[i % 3])
        assert learner.journal.seals
        expected = [p.label for p in learner.predict_many(raw()[12:])]
    assert named(say(GLYPHS, path, "--floats", "-", given=floats(slice(12, None)))) == expected
    labels = ["--labels", ",".join(NAMES)]
    lines = say(GLYPHS, path, "--floats", "-", *labels, "--keys", "1f...", given=floats(slice(12, 16)))
    assert lines[1] == "forgot one, 5 examples" and "one" not in named(lines[2:])
    with Learner("glyphs", path, head="euclidean") as learner:
        assert learner.counts == {"three": 4, "two": 4}
        assert named(lines[2:]) == [p.label for p in learner.predict_many(raw()[13:16])]


def test_an_interrupt_loses_nothing_that_was_acknowledged(tmp_path):
    path = tmp_path / "j"
    with running(GLYPHS, path, "--floats", "-", "--keys", "1" * 100) as process:
        process.stdin.write(floats(slice(5)) + floats(slice(6, 7))[:100])
        said = b""
        while b"example 5\n" not in said:
            said += process.stdout.read(4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert [label for _, label, _, _ in everything(path)] == ["1"] * 5


def test_a_reader_that_goes_away_ends_it(tmp_path):
    with running(GLYPHS, tmp_path / "j", "--floats", "-", "--keys", "1" * 100) as process:
        process.stdout.close()
        process.stdin.write(floats(slice(3)))
        assert process.wait(timeout=60) == 0
    assert len(everything(tmp_path / "j")) <= 1


def test_keys_of_a_terminal(tmp_path):
    os.mkfifo(tmp_path / "frames")
    frames = os.open(tmp_path / "frames", os.O_RDWR)  # so that neither side waits for the other
    ours, theirs = os.openpty()
    before, said = termios.tcgetattr(theirs), b""
    command = [GLYPHS, tmp_path / "j", "--floats", tmp_path / "frames", "--labels", ",".join(NAMES)]
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    steps = {b"1": b"learned one, example 1", b"2": b"learned two, example 1", b"u": b"undone; 1 examples"}

    def take_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with running(*command, preexec_fn=take_terminal, **ends) as process:
        for i, (key, answer) in enumerate([(b"", b"q quit"), *steps.items()]):
            os.write(ours, key)
            # The program may be waiting for a frame already, and look at the key after it.
            os.write(frames, floats(slice(i, i + 1)) * 2 if key else b"")
            while answer not in said:
                assert select.select([ours], [], [], 60)[0], said
                said += os.read(ours, 4096)
        assert termios.tcgetattr(theirs)[3] & termios.ICANON == 0
        os.write(ours, b"\x03")
        assert process.wait(timeout=60) == 0
    assert termios.tcgetattr(theirs) == before
    for end in (frames, ours, theirs):
        os.close(end)
    assert [label for _, label, _, _ in everything(tmp_path / "j")] == ["one"]


# What is wrong


def damaged(path: Path) -> Path:
    data = bytearray(GLYPHS.read_bytes())
    data[data.index(b"EDGEHEAD") + 50] ^= 1
    path.write_bytes(data)
    return path


WRONG = {
    "no bundle": (["{no}", "{j}"], b"", b"No such file"),
    "a damaged bundle": (["{damaged}", "{j}"], b"", b"damaged"),
    "no folder": (["{glyphs}", "{no}/j"], b"", b"no such file or folder"),
    "no journal": (["{glyphs}", "{damaged}"], b"", b"edgemeta repair"),
    "of another bundle": (["{glyphs}", "{other}"], b"", b"another bundle"),
    "few numbers": (
        ["{glyphs}", "{j}", "--text", "-"],
        b"1 2 3\n",
        b"line 1: 3 numbers; the bundle's embeddings have 432",
    ),
    "no number": (["{glyphs}", "{j}", "--text", "-"], b"\n1 2 three\n", b"line 2: there is something"),
    "many numbers": (["{glyphs}", "{j}", "--text", "-"], b"1 " * 433, b"more numbers than"),
    "a cut embedding": (["{glyphs}", "{j}", "--floats", "-"], b"1234", b"ends within an embedding"),
    "images without a graph": (["{glyphs}", "{j}", "--ppm", "-"], b"", b"ONNX Runtime"),
    "a head of Python's": (["{glyphs}", "{j}", "--head", "lda"], b"", b"say --head euclidean"),
    "ridge without lambda": (["{glyphs}", "{j}", "--head", "ridge"], b"", b"--lambda"),
    "lambda": (["{glyphs}", "{j}", "--head", "ridge", "--lambda", "0,1"], b"", b"a number above 0"),
    "a size": (["{glyphs}", "{j}", "--size", "640"], b"", b"are numbers above 0"),
    "no words": ([], b"", b"name a bundle and a journal"),
    "two sources": (["{glyphs}", "{j}", "--text", "-", "--floats", "-"], b"", b"one too many: --floats"),
    "a key": (["{glyphs}", "{j}", "--floats", "-", "--keys", "1z"], b"", b"does nothing: z"),
    "labels": (["{glyphs}", "{j}", "--floats", "-", "--labels", "a,,b"], b"", b"1 to 9 names"),
    "an option": (["{glyphs}", "{j}", "--fast", "1"], b"", b"no option --fast"),
    "a label": (["{glyphs}", "{j}", "--floats", "-", "--labels", " ", "--keys", "1"], b"floats", b"was not learned"),
    "room": (["{glyphs}", "{taught}", "--floats", "-", "--examples", "2"], b"", b"--examples"),
    "kernels": (["{glyphs}", "{j}", "--floats", "-"], b"", b"EDGEMETA_KERNELS"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_status_2(name, tmp_path):
    arguments, given, words = WRONG[name]
    with Learner(dim=432, journal=tmp_path / "other.learned") as learner:
        learner.learn(raw()[0], "x")
    with Learner("glyphs", tmp_path / "taught.learned") as learner:
        learner.learn_many(raw()[:3], "x")
    paths = {"glyphs": GLYPHS, "no": tmp_path / "no", "damaged": damaged(tmp_path / "damaged"), "j": tmp_path / "j"}
    paths |= {"other": tmp_path / "other.learned", "taught": tmp_path / "taught.learned"}
    given = floats(slice(1)) if given == b"floats" else given
    environment = {"EDGEMETA_KERNELS": "mmx"} if name == "kernels" else {}
    done = start(build(), *(a.format(**paths) for a in arguments), given=given, **environment)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert done.stderr.startswith(b"learn_camera: ")


def test_an_embedding_that_cannot_be_is_passed_over(tmp_path):
    rows = np.concatenate([raw()[:1], np.full((1, 432), np.nan, dtype=np.float32), raw()[1:2]])
    done = start(build(), GLYPHS, tmp_path / "j", "--floats", "-", "--keys", "112", given=rows.astype("<f4").tobytes())
    assert done.returncode == 0 and b"frame 2 is passed over" in done.stderr
    assert done.stdout.decode().splitlines()[2:] == ["frame 1: learned 1, example 1", "frame 3: learned 2, example 1"]


def test_another_writer_is_not_disturbed(tmp_path):
    with Learner("glyphs", tmp_path / "j") as learner:
        done = start(build(), GLYPHS, tmp_path / "j", "--floats", "-")
        assert done.returncode == 2 and b"another program writes it" in done.stderr
        learner.learn(raw()[0], "x")


# Images: the graph in ONNX Runtime's C library


@cache
def with_graph() -> Path:
    """learn_camera with the library that ONNX Runtime's wheel brings."""
    runtime = pytest.importorskip("onnxruntime")
    found = sorted(Path(runtime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this wheel of ONNX Runtime brings no shared library")
    home = ROOT / "build" / "onnxruntime"
    for folder in ("include", "lib"):
        shutil.rmtree(home / folder, ignore_errors=True)
        (home / folder).mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "onnxruntime" / "onnxruntime_c_api.h", home / "include")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (home / "lib" / name).symlink_to(found[0])
    return build(COMPILER, home)


def ppm(images: np.ndarray) -> bytes:
    """P6 for every second, P5 for the others, with a comment."""
    parts = []
    for i, image in enumerate(images):
        head = f"P{6 if i % 2 else 5}\n# a digit\n{image.shape[1]} {image.shape[0]}\n255\n".encode()
        parts.append(head + (np.repeat(image[..., None], 3, axis=2) if i % 2 else image).tobytes())
    return b"".join(parts)


def test_images_through_the_graph_are_pythons(tmp_path):
    path = tmp_path / "j"
    lines = say(GLYPHS, path, "--ppm", "-", "--keys", "123123123", given=ppm(shown()), program=with_graph())
    with Learner("glyphs", path, head="euclidean") as learner:
        assert named(lines[9:]) == [p.label for p in learner.predict_many(shown()[9:])]
        mine = learner.journal.embeddings(list(learner.examples))
        expected = learner._embed(list(shown()[:9]))[0]
        # One graph, one library: what differs is how many threads added the numbers up.
        assert np.abs(mine.astype(np.int64) - expected).max() <= 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b"P6\n8 8\n65535\n", b"255 levels"),
        (b"P4\n8 8\n", b"no binary PPM"),
        (b"P6\n8 8\n255\n123", b"ends within an image"),
        (b"P6\n9000 8\n255\n", b"the most is 8192"),
        (b"P6\n8 -8\n255\n", b"no binary PPM"),
    ],
)
def test_images_that_cannot_be_read(given, words, tmp_path):
    done = start(with_graph(), GLYPHS, tmp_path / "j", "--ppm", "-", given=given)
    assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_damaged_graph_never_reaches_the_runtime(tmp_path):
    data = bytearray(GLYPHS.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bundle").write_bytes(data)
    done = start(with_graph(), tmp_path / "bundle", tmp_path / "j", "--ppm", "-", given=ppm(shown()))
    assert done.returncode == 2 and b"its graph is damaged" in done.stderr


# A camera that is not there


def camera_frames(images: np.ndarray, form: str, stride: int) -> bytes:
    """Grey images (N, H, W) as a camera gives them: limited range, no colour, rows `stride` bytes apart."""
    luma = np.rint(16 + images / 255.0 * 219).astype(np.uint8)
    count, height, width = luma.shape
    if form == "YUYV":
        out = np.zeros((count, height, stride), dtype=np.uint8)
        out[:, :, 0 : 2 * width : 2], out[:, :, 1 : 2 * width : 2] = luma, 128
    else:
        out = np.full((count, height * 3 // 2, stride), 128, dtype=np.uint8)
        out[:, :height, :width] = luma
    return out.tobytes()


@pytest.mark.parametrize(("form", "stride"), [("YUYV", 32), ("NV12", 8)])
def test_frames_of_a_camera(form, stride, tmp_path):
    fake = tmp_path / "fake.so"
    if sys.platform != "linux":
        pytest.skip("V4L2 is of Linux")
    program = with_graph()
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(Path(__file__).parent / "fake_camera.c"), "-o", str(fake), "-ldl"], check=True)
    # Every third frame is broken, so these are passed over: put something in their places.
    images = [image for i, image in enumerate(shown()) for image in ([image, image] if i % 2 else [image])]
    (tmp_path / "frames").write_bytes(camera_frames(np.stack(images), form, stride))
    settings = {"LD_PRELOAD": str(fake), "FAKE_CAMERA": f"{form}:8x8:{stride}"}
    keys = ["--keys", "123123123" + "." * 12 + "q"]
    lines = say(GLYPHS, tmp_path / "j", "--camera", tmp_path / "frames", *keys, program=program, **settings)
    with Learner("glyphs", tmp_path / "j", head="euclidean") as learner:
        assert learner.counts == {"1": 3, "2": 3, "3": 3}
        assert named(lines[9:]) == [p.label for p in learner.predict_many(shown()[9:])]
        mine = learner.journal.embeddings(list(learner.examples)) / 2.0**20
        expected = learner._embed(list(shown()[:9]))[0] / 2.0**20
        # 219 levels instead of 255.
        assert (mine * expected).sum(axis=1).min() > 0.999


# Cortex-M


MACHINES = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}


@cache
def firmware(cpu: str) -> Path:
    """The folder with both programs."""
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
    folder = ROOT / "build" / cpu
    subprocess.run(["make", "-s", "-C", str(EXAMPLES / "cortex_m"), f"CPU={cpu}", f"BUILD={folder}"], check=True)
    return folder


def emulate(cpu: str, name: str, folder: Path) -> list[str]:
    """What a program says, which finds its files in `folder`; it must end with status 0."""
    machine = ["-M", MACHINES[cpu], "-display", "none", "-monitor", "none", "-serial", "none"]
    host = ["-chardev", "stdio,id=host", "-semihosting-config", "enable=on,target=native,chardev=host"]
    command = ["qemu-system-arm", *machine, *host, "-kernel", str(firmware(cpu) / name)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("cpu", MACHINES)
def test_a_cortex_m_learns_and_forgets(cpu, tmp_path):
    lines = emulate(cpu, "learn_digits.elf", tmp_path)
    assert lines[-1] == "all is well" and not any("WRONG" in line for line in lines)
    assert sum(line.startswith("  ok") for line in lines) == 16
    assert int(next(line for line in lines if line.startswith("stack: ")).split()[1]) < 4096


def digits_of_the_board() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """What it is taught (5, 5, 64) and asked (5, 6, 64), and the names."""
    chosen = runpy.run_path(str(EXAMPLES / "cortex_m" / "make_digits.py"))
    ink = chosen["choose"]() / 16.0
    return ink[:, : chosen["SHOTS"]], ink[:, chosen["SHOTS"] :], [str(digit) for digit in chosen["DIGITS"]]


def asked_lines(learner: Learner, asked: np.ndarray, names: list[str]) -> list[str]:
    return [
        f"asked {n}: {' '.join(p.label for p in learner.predict_many(rows))}"
        for n, rows in zip(names, asked, strict=True)
    ]


@pytest.mark.parametrize("cpu", MACHINES)
def test_what_a_cortex_m_was_taught_outlives_the_power(cpu, tmp_path):
    taught, asked, names = digits_of_the_board()
    path = tmp_path / "digits.learned"
    for life, name in enumerate(names[:3]):
        lines = emulate(cpu, "keep_digits.elf", tmp_path)
        assert lines[:2] == [" ".join([f"known: {5 * life} examples of", *names[:life]]), f"learned {name}"]
    # Python reads it, sees what the board saw, and teaches it what the board would learn next, and more.
    with Learner(dim=64, journal=path, head="euclidean") as learner:
        assert learner.counts == dict.fromkeys(names[:3], 5)
        assert asked_lines(learner, asked, names) == lines[2:7]
        assert (
            learner.journal.embeddings(list(learner.examples)) == learner._embed(list(taught[:3].reshape(-1, 64)))[0]
        ).all()
        learner.learn_many(taught[3], names[3])
        learner.learn(asked[3][0], "six or so")
    lines = emulate(cpu, "keep_digits.elf", tmp_path)
    assert lines[:2] == ["known: 21 examples of 0 3 5 6 six or so", f"learned {names[4]}"]
    with Learner(dim=64, journal=path, head="euclidean") as learner:
        assert asked_lines(learner, asked, names) == lines[2:7]
    # The power goes while the last digit is written.
    path.write_bytes(path.read_bytes()[:-20])
    lines = emulate(cpu, "keep_digits.elf", tmp_path)
    assert lines[0].startswith("the power went") and lines[1:3] == [
        "known: 21 examples of 0 3 5 6 six or so",
        "learned 9",
    ]
    for _ in range(3):
        lines = emulate(cpu, "keep_digits.elf", tmp_path)
        assert lines[1] == "forgot 9 and took it back"
        if "compacted" in lines:
            break
    assert "compacted" in lines
    with Learner(dim=64, journal=path, head="euclidean") as learner:
        assert learner.counts == {**dict.fromkeys(names, 5), "six or so": 1}
        assert asked_lines(learner, asked, names) == lines[3:8]


def test_the_digits_of_the_cortex_m_are_those_shipped():
    script = EXAMPLES / "cortex_m" / "make_digits.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
