"""Make the golden vectors: what the NumPy code in `edgemeta/` answers to small inputs, for every language to reproduce.

    python tests/golden/make_golden.py [--out FOLDER]

The inputs come from seeds, and none of them lies on an edge where another machine's rounding could decide.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from reference import (
    APPEND,
    BGR,
    COMPACT,
    DEPTH,
    FORGET,
    FORGET_LABEL,
    GREY,
    NV12,
    RELABEL,
    RGB,
    RGBA,
    SEAL,
    UNDO,
    YUYV,
    answer,
    by_numpy,
    same_random,
)
from vectors import Array, Case, text, write

from edgemeta.background import SHAPE
from edgemeta.bundle import HeadRecipe, InputContract, headbin
from edgemeta.bundle.records import NormalisationRecord
from edgemeta.journal import Journal, NewExample
from edgemeta.normalisation import Q20, Normalisation
from edgemeta.prior import PriorClasses

HERE = Path(__file__).parent
BACKBONE = bytes(range(32))


def integer(value: int) -> Array:
    return np.array(value, np.int32)


def seeded(title: str) -> np.random.Generator:
    """Each case has a seed of its own, so that one more changes no other."""
    return np.random.default_rng(zlib.crc32(title.encode()))


def embeddings(rng: np.random.Generator, y: Array, dim: int) -> Array:
    """Q20 (N, D): classes that overlap a little."""
    centres = rng.normal(size=(int(y.max()) + 1, dim))
    return Normalisation().apply(centres[y] + rng.normal(size=(len(y), dim)))


# ---- numbers ------------------------------------------------------------------------------------------------------


def crc32s() -> Iterator[Case]:
    for size in (0, 1, 3, 8, 9, 31, 64, 200):
        data = seeded(f"crc-{size}").integers(0, 256, size, dtype=np.uint8)
        yield Case("crc32", f"random-{size}", {"data": data})
    yield Case("crc32", "zeros", {"data": np.zeros(40, np.uint8)})
    yield Case("crc32", "check", {"data": text("123456789")})


def normalisations() -> Iterator[Case]:
    for centred, power, l2, scale in product((False, True), (1.0, 0.5, 0.3), (True, False), (1.0, 0.37)):
        title = f"centre-{centred:d}-power-{power}-l2-{l2:d}-scale-{scale}"
        rng = seeded(title)
        raw = rng.normal(size=20).astype(np.float32) * np.float32(1.0 if l2 else 0.02)
        centre = (0.01 * rng.normal(size=20 if centred else 0)).astype(np.float32)
        yield _normalisation(title, raw, centre, power, l2, scale)
    ramp = np.arange(1.0, 6.0, dtype=np.float32)
    none = np.zeros(0, np.float32)
    for title, raw, l2, scale in (
        ("large", ramp * np.float32(1e36), True, 1.0),
        ("small", ramp * np.float32(1e-37), True, 1.0),
        ("ties-to-even", np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3.0], np.float32) / Q20, False, 1.0),
        ("nan", np.array([1.0, np.nan], np.float32), True, 1.0),
        ("infinity", np.array([1.0, -np.inf], np.float32), True, 1.0),
        ("no-direction", np.zeros(4, np.float32), True, 1.0),
        ("zeros-without-l2", np.zeros(4, np.float32), False, 1.0),
        ("too-long", ramp, False, 1.0),
        ("lost", ramp * np.float32(1e-9), False, 1.0),
    ):
        yield _normalisation(title, raw, none, 1.0, l2, scale)


def _normalisation(title: str, raw: Array, centre: Array, power: float, l2: bool, scale: float) -> Case:
    numbers = {"power": np.float64(power), "l2": integer(l2), "scale": np.float64(scale)}
    case = Case("normalise", title, {"raw": raw, "centre": centre, **numbers})
    if title != "ties-to-even":
        _far_from_ties(case)
    return case


def _far_from_ties(case: Case) -> None:
    """pow() may be a unit apart from machine to machine: no number may lie where that decides."""
    found = answer(case)
    for nudge in (-1e-12, 1e-12) if "q20" in found else ():
        raw = case.given["raw"].astype(np.float64) * (1.0 + nudge)
        again = answer(Case(case.kind, case.title, {**case.given, "raw": raw}))
        assert (again["q20"] == found["q20"]).all(), case.title


def statistics() -> Iterator[Case]:
    for dim, classes in ((1, 1), (7, 3), (8, 2), (13, 4), (24, 3)):
        title = f"dim-{dim}-classes-{classes}"
        rng = seeded(title)
        y = np.sort(np.arange(10 * classes) % classes)
        q20 = embeddings(rng, y, dim)
        steps = [(1, c, 10 * c, 10) for c in range(classes)]
        steps += [(-1, 0, 2, 5), (1, 0, 3, 1), (-1, 0, 0, 2), (1, 0, 0, 1), (-1, classes - 1, 10 * classes - 3, 2)]
        if classes > 2:
            steps += [(-1, 1, 10, 4), (-1, 1, 14, 6)]  # a class that is gone
        given = {"classes": integer(classes), "q20": q20, "steps": np.array(steps, np.int32)}
        yield Case("statistics", title, given)
    edge = np.array([[Q20, 0, 0], [-Q20, 0, 0], [1, -1, Q20 - 1]], np.int32)
    steps = np.array([(1, 0, 0, 2), (1, 0, 2, 1), (-1, 0, 0, 1)], np.int32)
    yield Case("statistics", "ends-of-the-grid", {"classes": integer(1), "q20": edge, "steps": steps})


def scores() -> Iterator[Case]:
    for classes, dim in ((1, 1), (2, 3), (5, 64), (7, 33), (9, 15), (4, 31)):
        title = f"classes-{classes}-dim-{dim}"
        rng = seeded(title)
        weights = rng.normal(size=(classes, dim)).astype(np.float32)
        bias = rng.normal(size=classes).astype(np.float32)
        z = (rng.normal(size=(3, dim)) / dim**0.5).astype(np.float32)
        yield Case("scores", title, {"weights": weights, "bias": bias, "z": z})
    small = np.array([[0.0, -0.0, 6e-8, 3e-8, 6.1e-5, 6.0975e-5, 65504.0, -2.5], [0.0] * 8], np.float32)
    z = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e-3, 7.0]], np.float32)
    yield Case("scores", "every-kind-of-half", {"weights": small, "bias": np.zeros(2, np.float32), "z": z})


# ---- heads --------------------------------------------------------------------------------------------------------


def taught(title: str, y: Array, dim: int, groups: Array | None = None, *, single: bool = True) -> Case:
    given = {
        "q20": embeddings(seeded(title), y, dim),
        "y": y.astype(np.int32),
        "groups": np.arange(len(y), dtype=np.int32) if groups is None else groups.astype(np.int32),
        "single": integer(single),
    }
    return Case("facts", title, given)


def _about(facts: Case, kind: str, title: str, **numbers: float) -> Case:
    given = {name.rstrip("_"): _number(name, value) for name, value in numbers.items()}
    if kind.startswith("lda"):
        given["independent"] = answer(facts)["independent"]
    return Case(kind, f"{facts.title}-{title}", given)


def _number(name: str, value: float) -> Array:
    return integer(int(value)) if name in ("means", "balance") else np.array(value)


def heads() -> Iterator[Case]:
    dim, classes = 12, 3
    for total, single in (
        (7, True),
        (dim - 1, True),
        (dim, True),
        (dim + 1, True),
        (30, True),
        (9, False),
        (30, False),
    ):
        rows = np.arange(total) % classes
        rows[: total // 4] = 0  # classes of unequal size
        facts = taught(f"{total}-in-{dim}{'' if single else '-sealed'}", rows, dim, single=single)
        yield facts
        for kind in (1, 2, 3):
            yield _about(facts, "means", f"means-{kind}", means=kind)
        for lambda_, balance in ((0.1, 0), (0.1, 1), (1e-3, 0), (5.0, 1)):
            yield _about(facts, "ridge", f"ridge-{lambda_}-{balance}", lambda_=lambda_, balance=balance)
        if single and total in (7, 30):  # elsewhere the system at the floor is as good as singular
            yield _about(facts, "ridge", "ridge-floor", lambda_=0.0, balance=0)
        for rho in (-1.0, 0.3, 1.0, *((0.0,) if total == 30 else ())):
            yield _about(facts, "lda", f"lda-{rho}", shrinkage=rho)
    yield from _unusual_heads()


def _unusual_heads() -> Iterator[Case]:
    one = taught("a-single-class", np.zeros(5, int), 6)
    alone = taught("one-example-each", np.arange(3), 7)
    bursts = taught("bursts", np.repeat([0, 1, 2], 4), 9, groups=np.repeat(np.arange(6), 2))
    alike = taught("identical-examples", np.repeat([0, 1], 3), 5)
    alike.given["q20"] = alike.given["q20"][[0, 0, 0, 3, 3, 3]]
    alike.given["q20"][3:] //= 2  # means of one length have a centred bias of 0, of which only rounding is left
    opposite = taught("a-mean-of-zero", np.array([0, 0, 1, 2]), 5)
    opposite.given["q20"][1] = -opposite.given["q20"][0]
    for facts in (one, alone, bursts, alike, opposite):
        yield facts
        for kind in (1, 2, 3):
            yield _about(facts, "means", f"means-{kind}", means=kind)
        yield _about(facts, "ridge", "ridge", lambda_=0.2, balance=1)
        yield _about(facts, "lda", "lda-oas", shrinkage=-1.0)


def left_out() -> Iterator[Case]:
    y, alone = np.repeat([0, 1, 2], [4, 5, 3]), np.repeat([0, 1, 2], [5, 1, 6])
    pairs = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 5, 5])
    mixed = np.array([0, 1, 2, 3, 0, 1, 4, 5, 6, 0, 7, 8])  # groups across classes
    whole = np.array([0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 6])  # a class that is one group
    for dim in (7, 14):
        for title, rows, groups in (
            ("singly", y, None),
            ("an-only-example", alone, None),
            ("pairs", y, pairs),
            ("mixed-groups", y, mixed),
            ("a-class-in-one-group", y, whole),
        ):
            facts = taught(f"{title}-{dim}", rows, dim, groups)
            yield facts
            for kind in (1, 2, 3):
                yield _about(facts, "means-left-out", f"means-{kind}", means=kind)
            for lambda_, balance in ((0.1, 0), (1e-3, 1)):
                yield _about(facts, "ridge-left-out", f"ridge-{lambda_}", lambda_=lambda_, balance=balance)
            for rho in (-1.0, 0.4):
                yield _about(facts, "lda-left-out", f"lda-{rho}", shrinkage=rho)
            for balance in (0, 1):
                yield _about(facts, "ridge-lambda", f"lambda-{balance}", balance=balance)
    facts = taught("two-examples", np.arange(2), 4)  # too few to choose from
    yield facts
    yield _about(facts, "ridge-lambda", "lambda", balance=0)


def states() -> Iterator[Case]:
    for title, kind, means, dim, room in (
        *((f"means-{m}", 1, m, 9, 0) for m in (1, 2, 3)),
        ("dual", 2, 0, 15, 12),
        ("dual-as-many-as-dimensions", 2, 0, 9, 12),
        ("primal", 3, 0, 9, 0),
        ("primal-few-examples", 3, 0, 15, 0),
    ):
        for lambda_, balance in ((0.1, 0), (1e-3, 1)) if kind > 1 else ((0.0, 0),):
            numbers = {"kind": kind, "means": means, "balance": balance, "room": room, "classes": 4}
            case = _state(f"{title}-{lambda_}-{balance}" if kind > 1 else title, dim)
            case.given |= {name: integer(value) for name, value in numbers.items()} | {"lambda": np.array(lambda_)}
            yield case


def _state(title: str, dim: int) -> Case:
    """Adds and removes in a random order, no more than 12 held; a class goes and returns, the last is never taught."""
    rng = seeded(title)
    y = np.arange(24) % 3
    steps: list[tuple[int, int, int]] = []
    held: list[int] = []
    for row in rng.permutation(24).tolist():
        while len(held) > 11 or (len(held) > 4 and rng.random() < 0.4):
            gone = held.pop(int(rng.integers(len(held))))
            steps.append((-1, int(y[gone]), gone))
        held.append(row)
        steps.append((1, int(y[row]), row))
    zeros = [row for row in held if y[row] == 0]
    steps += [(-1, 0, row) for row in zeros] + [(1, 0, zeros[0]), (1, 0, zeros[0]), (-1, 0, zeros[0])]
    looks = [0, len(steps) // 2, len(steps) - 4, len(steps) - 1]
    return Case(
        "state",
        title,
        {
            "q20": embeddings(rng, y, dim),
            "steps": np.array(steps, np.int32),
            "looks": np.array(looks, np.int32),
            "probes": embeddings(rng, np.arange(4) % 3, dim),
        },
    )


def regressions() -> Iterator[Case]:
    for total, dim, outputs in ((3, 4, 1), (7, 12, 2), (11, 12, 1), (12, 12, 1), (13, 12, 2), (40, 5, 3)):
        rng = seeded(f"regression-{total}-{dim}")
        q20 = embeddings(rng, np.zeros(total, int), dim)
        law = rng.normal(size=(dim, outputs))
        targets = q20 / Q20 @ law + 0.1 * rng.normal(size=(total, outputs)) + 1.5
        # What a target keeps of its bits (edgemeta/regression/targets.py) shall not matter.
        targets = np.rint(targets * [1.0, 37.0, 0.01][:outputs] * Q20) / Q20
        at = embeddings(rng, np.zeros(3, int), dim)
        for lambda_ in (-1.0, 0.05):
            given = {"q20": q20, "targets": targets, "lambda": np.array(lambda_), "at": at}
            yield Case("regression", f"{total}-in-{dim}-{outputs}-lambda-{lambda_}", given)


# ---- images -------------------------------------------------------------------------------------------------------


def images() -> Iterator[Case]:
    sizes = ((1, 1, 3, 2), (6, 5, 5, 6), (8, 12, 5, 5), (12, 8, 3, 7), (4, 20, 4, 4), (14, 18, 15, 21))
    for format_, (height, width, to_height, to_width) in product((RGB, BGR, RGBA, GREY), sizes):
        yield _image(format_, (height, width), (to_height, to_width))
    for format_, size in product((NV12, YUYV), (((2, 2), (3, 3)), ((8, 12), (5, 5)), ((6, 10), (6, 9)))):
        yield _image(format_, *size)
    for format_, gap in ((RGB, 5), (RGBA, 1), (GREY, 3), (NV12, 6), (YUYV, 2)):
        yield _image(format_, (6, 8), (4, 5), gap=gap)
    yield _image(NV12, (6, 8), (4, 5), gap=4, chroma=True)
    yield _image(NV12, (6, 8), (4, 5), gap=4, chroma=True, chroma_gap=2)


def _image(
    format_: int, size: tuple[int, int], to: tuple[int, int], gap: int = 0, chroma: bool = False, chroma_gap: int = 0
) -> Case:
    """gap: bytes between rows. chroma: its plane is somewhere else, its rows `chroma_gap` apart."""
    height, width = size
    name = ("rgb", "bgr", "rgba", "grey", "nv12", "yuyv")[format_ - 1]
    title = f"{name}-{width}x{height}-{to[1]}x{to[0]}" + f"-gap-{gap}" * (gap > 0) + f"-chroma-{chroma_gap}" * chroma
    rng = seeded(title)
    stride = width * DEPTH[format_] + gap
    memory = stride * height
    if format_ == NV12:
        memory += 3 * chroma + (width + chroma_gap if chroma else stride) * height // 2
    numbers = {
        "format": format_,
        "width": width,
        "height": height,
        "stride": stride if gap else 0,
        "chroma": stride * height + 3 if chroma else -1,
        "chroma_stride": width + chroma_gap if chroma_gap else 0,
        "to_height": to[0],
        "to_width": to[1],
    }
    given = {key: integer(value) for key, value in numbers.items()}
    if gap:
        given |= {
            "mean": np.array([0.485, 0.456, 0.406], np.float32),
            "std": np.array([0.229, -0.224, 0.2], np.float32),
        }
    return Case("image", title, {"pixels": rng.integers(0, 256, memory, dtype=np.uint8), **given})


# ---- files --------------------------------------------------------------------------------------------------------


def headbins() -> Iterator[Case]:
    rng = seeded("head.bin")
    dim, labels = 6, ("cup", "mug", "Ölkanne", "猫")
    means = rng.normal(size=(len(labels), dim))
    prior = PriorClasses(
        labels, (means / (2 * np.linalg.norm(means, axis=1, keepdims=True))).astype(np.float32), 0.75, 0.125
    )
    rates = np.broadcast_to(np.linspace(1.0, 0.25, SHAPE[2], dtype=np.float32), SHAPE)
    background = rates * (1.0 + np.arange(SHAPE[0], dtype=np.float32))[:, None, None]
    for title, recipe, centre, extra in (
        ("plain", HeadRecipe("ridge", 0.25, 2.0, True), None, {}),
        ("centre", HeadRecipe("centred"), rng.normal(size=dim).astype(np.float32), {}),
        ("prior", HeadRecipe("euclidean", None, 0.5), None, {"prior": prior}),
        (
            "everything",
            HeadRecipe("centred"),
            np.arange(dim, dtype=np.float32),
            {"prior": prior, "background": background},
        ),
    ):
        record = NormalisationRecord(centre is not None, 0.5, title != "plain", 0.75)
        head = headbin.Head(BACKBONE, dim, InputContract(4, 5), record, recipe, centre, **extra)
        file = headbin.encode(head)
        yield Case("headbin", title, {"file": np.frombuffer(file, np.uint8)})
    for title, at, new in (("a-flipped-bit", 100, file[100] ^ 4), ("another-magic", 0, 0), ("a-later-version", 8, 2)):
        data = np.frombuffer(file, np.uint8).copy()
        data[at] = new
        yield Case("headbin", title, {"file": data})
    yield Case("headbin", "cut-off", {"file": np.frombuffer(file[:-64], np.uint8)})


def _vector(number: int) -> Array:
    return np.array([number, -number * 7 - 1, 1 << 19], np.int32)


def _rich() -> bytes:
    """Groups, forgetting, undo, a merge, seals with and without moment, a compaction and what came after."""
    with same_random(seeded("journal").bytes(500)):
        journal, other = (Journal.memory(embedding_id=BACKBONE, dim=3) for _ in range(2))
        for i in range(14):
            group = None if i % 3 else f"grüppe{i // 6}"
            journal.append([NewExample(f"label{i % 4}", _vector(i), group=group, variant="v" * (i % 3))])
        other.append([NewExample("猫", _vector(i), group="g") for i in range(100, 108)])
        other.forget(list(other.live)[3:5])
        journal.forget(list(journal.live)[2:9:4])
        journal.relabel(next(iter(journal.live)), "moved")
        journal.undo()
        journal.merge(other)
        for label, kept in (("label1", 0), ("猫", 2)):
            ids = [each for each, entry in journal.live.items() if entry.label == label]
            journal.seal({label: ids[: len(ids) - kept]}, moment=kept == 0)
        journal.append([NewExample("after", _vector(500))])
        journal.forget_label("label2")
        journal.append([NewExample("last", _vector(i), group="x") for i in range(700, 703)])
    return _bytes(journal)


def _with_targets() -> bytes:
    with same_random(seeded("targets").bytes(100)):
        journal = Journal.memory(embedding_id=BACKBONE, dim=3, targets=2)
        journal.append([NewExample("target", _vector(i), target=np.array([i / 3, -1e300])) for i in range(3)])
    return _bytes(journal)


def _bytes(journal: Journal) -> bytes:
    return bytes(journal._store.data)  # type: ignore[attr-defined]


def journals() -> Iterator[Case]:
    rich = _rich()
    middle = bytearray(rich)
    middle[400] ^= 16
    for title, data in (
        ("rich", rich),
        ("targets", _with_targets()),
        ("torn-by-zeros", rich + bytes(40)),
        ("torn-within-a-record", rich + rich[128:190]),
        ("torn-transaction", rich[:-24]),
        ("damaged-in-the-middle", bytes(middle)),
        ("a-later-version", rich[:8] + b"\2" + rich[9:]),
        ("no-journal", b"EDGELRN"),
    ):
        yield Case("journal-read", title, {"file": np.frombuffer(data, np.uint8), "dim": integer(3)})
    yield Case(
        "journal-read", "another-dimension", {"file": np.frombuffer(_with_targets(), np.uint8), "dim": integer(4)}
    )
    steps = [(APPEND, 0, 1), (APPEND, 1, 3), (FORGET, 1, 1), (APPEND, 4, 2), (UNDO, 0, 0), (UNDO, 0, 0)]
    yield _written("a-few-calls", steps)
    steps = [*steps, (FORGET_LABEL, 0, 0), (COMPACT, 0, 0), (APPEND, 6, 2), (FORGET, 0, 2), (UNDO, 0, 0)]
    yield _written("compacted", steps)
    steps = [(APPEND, 0, 8), (RELABEL, 2, 1), (SEAL, 1, 0), (SEAL, 0, 1), (APPEND, 0, 3), (RELABEL, 0, 0), (UNDO, 0, 0)]
    yield _written("sealed", [*steps, (FORGET_LABEL, 1, 0), (UNDO, 0, 0), (COMPACT, 0, 0), (APPEND, 4, 4)])


def _written(title: str, steps: list[tuple[int, int, int]]) -> Case:
    rng = seeded(title)
    return Case(
        "journal-write",
        title,
        {
            "labels": text("mug\nbüchse\n猫\n"),
            "groups": text("burst 1\nb\n"),
            "q20": embeddings(rng, np.arange(8) % 3, 5),
            "label": np.array([0, 1, 0, 2, 1, 1, 2, 0], np.int32),
            "group": np.array([-1, 0, 0, 1, -1, 1, 1, -1], np.int32),
            "random": np.frombuffer(rng.bytes(200), np.uint8),
            "steps": np.array(steps, np.int32),
        },
    )


FILES: dict[str, tuple[str, Callable[[], Iterator[Case]]]] = {
    "crc32.txt": ("CRC-32 as in zlib.", crc32s),
    "normalise.txt": ("Raw embeddings to the grid of 2^-20.", normalisations),
    "statistics.txt": ("n, s, tr G and G after adds and removes: to be had bit for bit.", statistics),
    "scores.txt": ("Scores from float32, float16 and int8 weights.", scores),
    "heads.txt": ("Weights and bias of class means, ridge and LDA.", heads),
    "left_out.txt": ("Scores without each example's group, and the lambda that they choose.", left_out),
    "states.txt": ("Weights and bias after adds and removes, as of a fit from nothing.", states),
    "regression.txt": ("Ridge regression: weights, bias, lambda, noise, standard deviations.", regressions),
    "images.txt": ("Images fitted to size.", images),
    "headbin.txt": ("What a head.bin says.", headbins),
    "journal.txt": ("What a journal says, and the bytes that calls write.", journals),
}


def with_answers(cases: Iterator[Case]) -> list[Case]:
    """Each with what the reference answers."""
    found, facts = list[Case](), dict[str, Array]()
    for case in cases:
        facts = case.given if case.kind == "facts" else facts
        case.answer = answer(case, facts)
        found.append(case)
    return found


def make(folder: Path) -> None:
    """All files."""
    folder.mkdir(parents=True, exist_ok=True)
    with by_numpy():
        for name, (what, cases) in FILES.items():
            write(folder / name, what, with_answers(cases()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="the folder; the one with this script if not given")
    make(parser.parse_args().out)


if __name__ == "__main__":
    main()
