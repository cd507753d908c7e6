"""What the NumPy code in `edgemeta/` answers to each kind of case. `answer` is all that others need.

A case of kind `facts` says what is taught; those after it in the file, up to the next, are about it.

    python tests/golden/reference.py     whether the files hold what NumPy answers here; exit status 1 if not
"""

from __future__ import annotations

import itertools
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from vectors import Array, Arrays, Case, read, text, to_text

from edgemeta import imaging, kernels
from edgemeta.bundle import headbin
from edgemeta.errors import (
    BundleDamagedError,
    BundleVersionError,
    EmbeddingError,
    JournalDamagedError,
    JournalMismatchError,
    JournalVersionError,
    RecoveredWarning,
)
from edgemeta.heads import Facts, make_head
from edgemeta.heads.base import Head
from edgemeta.heads.lda import LDA
from edgemeta.heads.ridge import Ridge
from edgemeta.journal import Journal, NewExample, compaction, opening
from edgemeta.journal import journal as journal_module
from edgemeta.journal.store import MemoryStore
from edgemeta.normalisation import Normalisation, to_float
from edgemeta.regression.facts import NumberFacts
from edgemeta.regression.ridge import RidgeRegression
from edgemeta.regression.sums import TargetSums
from edgemeta.statistics import Statistics

MEANS = {1: "euclidean", 2: "cosine", 3: "centred"}  # em_means_kind
RGB, BGR, RGBA, GREY, NV12, YUYV = range(1, 7)  # em_pixels
DEPTH = {RGB: 3, BGR: 3, RGBA: 4, GREY: 1, NV12: 1, YUYV: 2}  # bytes a pixel, of the first plane
APPEND, FORGET, FORGET_LABEL, UNDO, COMPACT, RELABEL, SEAL = range(1, 8)  # steps of a journal
STATUS = {
    EmbeddingError: -3,
    BundleDamagedError: -10,
    JournalDamagedError: -10,
    BundleVersionError: -11,
    JournalVersionError: -11,
    JournalMismatchError: -12,
}


def answer(case: Case, taught: Arrays | None = None) -> Arrays:
    """What must come out of a case. taught: what the last case of kind `facts` gave."""
    call = ANSWERS[case.kind]
    with by_numpy():
        return call(case.given, facts_of(taught)) if case.kind in ABOUT_FACTS else call(case.given)


def by_numpy() -> Any:
    """A context in which the package does not use the C core."""
    return patch.object(kernels, "_core", lambda: None)


def facts_of(taught: Arrays | None) -> Facts:
    """A taught set: q20 (N, D), y (N,), groups (N,); with single = 0 the examples themselves are gone."""
    assert taught is not None
    z, y, groups = to_float(taught["q20"]), taught["y"].astype(np.int64), taught["groups"].astype(np.int64)
    counts, sums = np.bincount(y.astype(np.intp)).astype(float), np.zeros((int(y.max()) + 1, z.shape[1]))
    np.add.at(sums, y, z)
    return Facts(
        tuple(f"{c:03d}" for c in range(len(counts))),
        *(counts, sums, float((z * z).sum())),
        *(lambda: z.T @ z, lambda: (z, y), lambda: groups),
        single=bool(taught["single"]),
    )


def _status(error: Exception) -> Arrays:
    return {"status": np.int32(STATUS[type(error)])}


# ---- numbers ------------------------------------------------------------------------------------------------------


def _crc32(given: Arrays) -> Arrays:
    return {"crc": np.array(zlib.crc32(given["data"].tobytes())).astype(np.uint32).view(np.int32)}


def _normalise(given: Arrays) -> Arrays:
    """raw float32 (D,), centre float32 (D,) or (0,)."""
    centre = given["centre"] if len(given["centre"]) else None
    normalisation = Normalisation(centre, float(given["power"]), bool(given["l2"]), float(given["scale"]))
    try:
        return {"status": np.int32(0), "q20": normalisation.apply(given["raw"][None])[0]}
    except EmbeddingError as error:
        return _status(error)


def _statistics(given: Arrays) -> Arrays:
    """steps (S, 4): 1 to add or -1 to remove, the class, the first row of q20 and how many. A class whose examples
    are all gone counts 0 and sums to zeros."""
    q20, classes = given["q20"], int(given["classes"])
    found = Statistics(q20.shape[1])
    found.start_moment()
    for sign, of_class, first, count in given["steps"].tolist():
        (found.add if sign > 0 else found.remove)(f"{of_class}", q20[first : first + count])
    assert found.moment is not None
    return {
        "counts": np.array([found.counts.get(f"{c}", 0) for c in range(classes)], np.int32),
        "sums": np.stack([found.sums.get(f"{c}", np.zeros(q20.shape[1])) for c in range(classes)]),
        "squares": np.float64(found.squares),
        "moment": found.moment,
    }


def _scores(given: Arrays) -> Arrays:
    """In float64, so that a float32 answer has something to be measured against. halves: binary16 as integers."""
    weights, bias, z = given["weights"], given["bias"], given["z"].astype(np.float64)
    halves = weights.astype(np.float16)
    largest = np.abs(weights).max(axis=1, keepdims=True)
    scaled = weights / np.where(largest > 0, largest, np.float32(1)) * np.float32(127)
    small = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int32)
    factors = largest[:, 0] / np.float32(127)
    scores = z @ weights.T.astype(np.float64) + bias
    return {
        "scores": scores,
        "best": scores.argmax(axis=1).astype(np.int32),
        "halves": halves.view(np.uint16).astype(np.int32),
        "scores_f16": z @ halves.T.astype(np.float64) + bias,
        "bytes": small,
        "factors": factors,
        "scores_i8": z @ (small * factors[:, None].astype(np.float64)).T + bias,
    }


# ---- heads --------------------------------------------------------------------------------------------------------


def _nothing(given: Arrays) -> Arrays:
    facts = facts_of(given)
    return {"independent": np.int32(facts.independent())}


def _linear(head: Head, facts: Facts) -> Arrays:
    found: Any = head.solve(facts)
    return {"weights": found.weights, "bias": found.bias}


def _ridge_of(given: Arrays) -> Ridge:
    return Ridge(lambda_=float(given["lambda"]), balance=bool(given["balance"]))


def _lda_of(given: Arrays) -> LDA:
    """A negative shrinkage is OAS."""
    rho = float(given["shrinkage"])
    return LDA(shrinkage=None if rho < 0.0 else rho)


def _means(given: Arrays, facts: Facts) -> Arrays:
    return _linear(make_head(MEANS[int(given["means"])]), facts)


def _ridge(given: Arrays, facts: Facts) -> Arrays:
    return _linear(_ridge_of(given), facts)


def _lda(given: Arrays, facts: Facts) -> Arrays:
    return _linear(_lda_of(given), facts)


def _means_left_out(given: Arrays, facts: Facts) -> Arrays:
    return {"scores": make_head(MEANS[int(given["means"])]).leave_out(facts)}


def _ridge_left_out(given: Arrays, facts: Facts) -> Arrays:
    return {"scores": _ridge_of(given).leave_out(facts)}


def _lda_left_out(given: Arrays, facts: Facts) -> Arrays:
    return {"scores": _lda_of(given).leave_out(facts)}


def _ridge_lambda(given: Arrays, facts: Facts) -> Arrays:
    return {"lambda": np.float64(Ridge(lambda_=None, balance=bool(given["balance"])).pinned(facts).lambda_)}


def _state(given: Arrays) -> Arrays:
    """steps (S, 3): 1 to add or -1 to remove, the class, the row of q20. After each step whose number is in `looks` the
    weights and bias (K, C, D) and (K, C) of a fit from nothing; of a class without examples zeros, and -inf.
    kind: em_state_kind (1 means, 2 dual, 3 primal). scores: of the rows `probes`, after the last step."""
    classes, looks = int(given["classes"]), given["looks"].tolist()
    held: list[tuple[int, int]] = []
    weights, bias = [], []
    for number, (sign, of_class, row) in enumerate(given["steps"].tolist()):
        held.append((of_class, row)) if sign > 0 else held.remove((of_class, row))
        if number in looks:
            one = _refit(given, held)
            weights.append(one[0])
            bias.append(one[1])
    counts = np.bincount(np.array([c for c, _ in held], np.intp), minlength=classes)
    with np.errstate(invalid="ignore"):
        scores = to_float(given["probes"]) @ weights[-1].T + bias[-1]
    return {
        "counts": counts.astype(np.int32),
        "weights": np.stack(weights),
        "bias": np.stack(bias),
        "scores": scores,
    }


def _refit(given: Arrays, held: list[tuple[int, int]]) -> tuple[Array, Array]:
    y, rows = np.array(held, np.int32).T
    here, places = np.unique(y, return_inverse=True)
    taught = {"q20": given["q20"][rows], "y": places, "groups": np.arange(len(rows)), "single": np.int32(1)}
    head = make_head(MEANS[int(given["means"])]) if int(given["kind"]) == 1 else _ridge_of(given)
    found = _linear(head, facts_of(taught))
    weights = np.zeros((int(given["classes"]), given["q20"].shape[1]))
    bias = np.full(len(weights), -np.inf)
    weights[here], bias[here] = found["weights"], found["bias"]
    return weights, bias


def _regression(given: Arrays) -> Arrays:
    """q20 (N, D), targets (N, k) in multiples of 2^-20; lambda negative: of each output by the evidence. sigma and std
    are nan where there are too few examples to say."""
    z, targets, dim = to_float(given["q20"]), given["targets"], given["q20"].shape[1]
    kept = TargetSums(dim, targets.shape[1])
    kept.change(z, targets, 1)
    kept.start()
    kept.add_to_sums(z, targets)
    unit = np.ldexp(1.0, kept.scale.astype(np.intc))
    facts = NumberFacts(
        *(len(z), len(z), z.sum(axis=0), float((z * z).sum()), unit),
        *(lambda: z.T @ z, lambda: kept, lambda: (z, targets / unit), lambda: np.arange(len(z))),
    )
    lambda_ = float(given["lambda"])
    fit = RidgeRegression(lambda_=None if lambda_ < 0 else lambda_).solve(facts)
    std = fit.stds(to_float(given["at"]))
    return {
        "weights": fit.weights,
        "bias": fit.bias,
        "lambdas": fit.lambda_,
        "sigma": np.full(len(unit), np.nan) if fit.sigma is None else fit.sigma,
        "std": np.full((len(given["at"]), len(unit)), np.nan) if std is None else std,
    }


# ---- images -------------------------------------------------------------------------------------------------------


def _image(given: Arrays) -> Arrays:
    """pixels: all memory from the first row on. stride 0: rows close together. chroma: where that plane begins, -1:
    behind the first plane; with chroma_stride 0 its rows are as far apart as those of the first, or close together
    where chroma is given. floats: where there are mean and std, float32 (3,)."""
    out = imaging.fit(_rgb(given), int(given["to_height"]), int(given["to_width"]), channels=_order(given))
    if "mean" not in given:
        return {"rgb": out}
    return {"rgb": out, "floats": (out.astype(np.float32) / np.float32(255) - given["mean"]) / given["std"]}


def _order(given: Arrays) -> str:
    return "bgr" if int(given["format"]) == BGR else "rgb"


def _rgb(given: Arrays) -> Array:
    """The image as `imaging.fit` takes it."""
    format_, width, height = (int(given[name]) for name in ("format", "width", "height"))
    stride = int(given["stride"]) or width * DEPTH[format_]
    rows = _plane(given["pixels"], 0, height, stride, width * DEPTH[format_]).reshape(height, width, -1)
    if format_ == GREY:
        return rows[..., 0]
    if format_ not in (NV12, YUYV):
        return rows
    if format_ == YUYV:
        u, v = (np.repeat(rows[:, at::2, 1], 2, axis=1) for at in (0, 1))
    else:
        apart = int(given["chroma_stride"]) or (stride if given["chroma"] < 0 else width)
        at = int(given["chroma"]) if given["chroma"] >= 0 else stride * height
        chroma = _plane(given["pixels"], at, height // 2, apart, width)
        u, v = (np.repeat(np.repeat(chroma[:, c::2], 2, axis=0), 2, axis=1) for c in (0, 1))
    return _bt601(rows[..., 0], u, v)


def _plane(pixels: Array, at: int, rows: int, stride: int, size: int) -> Array:
    """`rows` rows of `size` bytes that begin `stride` apart; the last may end where the memory ends."""
    return np.stack([pixels[at + row * stride : at + row * stride + size] for row in range(rows)])


def _bt601(y: Array, u: Array, v: Array) -> Array:
    """The formula of edgemeta.h."""
    c, d, e = 298 * (y.astype(np.int32) - 16), u.astype(np.int32) - 128, v.astype(np.int32) - 128
    sums = (c + 409 * e + 128, c - 100 * d - 208 * e + 128, c + 516 * d + 128)
    return np.clip(np.stack(sums, axis=-1) // 256, 0, 255).astype(np.uint8)


# ---- files --------------------------------------------------------------------------------------------------------


def _headbin(given: Arrays) -> Arrays:
    """What is not there is an array without numbers. labels: each followed by a zero."""
    try:
        head = headbin.decode(given["file"].tobytes())
    except (BundleDamagedError, BundleVersionError) as error:
        return _status(error)
    none, prior, normalisation, recipe = np.zeros(0, np.float32), head.prior, head.normalisation, head.head
    return {
        "status": np.int32(0),
        "embedding_id": np.frombuffer(head.embedding_id, np.uint8),
        "size": np.array([head.dim, head.input.height, head.input.width], np.int32),
        "flags": np.array([normalisation.l2, recipe.balance, recipe.lambda_ is not None], np.int32),
        "numbers": np.array([normalisation.power, normalisation.scale, recipe.lambda_ or 0.0, recipe.temperature]),
        "head": text(recipe.name),
        "centre": none if head.centre is None else head.centre,
        "background": none if head.background is None else head.background.reshape(-1),
        "prior_means": none if prior is None else prior.means.reshape(-1),
        "prior_labels": text("" if prior is None else "".join(f"{label}\0" for label in prior.labels)),
        "prior_spread": np.array([0.0, 0.0] if prior is None else [prior.within, prior.between]),
    }


def _lines(texts: list[str]) -> Array:
    """Texts, each ended by a line feed."""
    return text("".join(f"{each}\n" for each in texts))


def split(lines: Array) -> list[str]:
    """And back."""
    return to_text(lines).split("\n")[:-1]


def _journal_read(given: Arrays) -> Arrays:
    """Live examples in the order of the file; an empty group is none. targets (N, k). seal_moments: the upper triangles
    of the seals that have one."""
    data = given["file"].tobytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecoveredWarning)
            # The C core does not correct flipped bits.
            with patch.object(journal_module, "mend_transaction", lambda *_: None):
                journal = Journal.over(
                    MemoryStore(data), embedding_id=bytes(range(32)), dim=int(given["dim"]), readonly=True
                )
    except (JournalDamagedError, JournalMismatchError, JournalVersionError) as error:
        return _status(error)
    whole = [journal.example(each) for each in journal.live]
    seals = list(journal.seals.values())
    counts = journal.counts()
    return {
        "status": np.int32(0),
        "torn": np.int32(journal.recovered.size if journal.recovered else 0),
        "labels": _lines([each.label for each in whole]),
        "groups": _lines([each.group or "" for each in whole]),
        "counters": np.array([each.id.counter for each in whole], np.int32),
        "q20": np.stack([each.embedding for each in whole]),
        "targets": np.array([[] if each.target is None else each.target for each in whole], np.float64),
        "class_labels": _lines(sorted(counts)),
        "class_counts": np.array([counts[label] for label in sorted(counts)], np.int32),
        "seal_labels": _lines([each.label for each in seals]),
        "seal_counts": np.array([each.count for each in seals], np.int32),
        "seal_sums": np.array([each.total for each in seals], np.float64).reshape(len(seals), int(given["dim"])),
        "seal_moments": np.concatenate([np.zeros(0), *(each.moment for each in seals if each.moment is not None)]),
    }


def _journal_write(given: Arrays) -> Arrays:
    """A new journal. random: what is random comes from here, byte after byte. steps (S, 3): 1 append, from which
    example and how many; 2 forget, which live one and how many; 3 forget the label of that number; 4 undo; 5 compact; 6
    relabel, which live one and with which label; 7 seal the label of that number, and with the moment or not.
    Examples: q20, label and group (numbers of lines; -1: no group)."""
    labels, groups = split(given["labels"]), split(given["groups"])
    examples = [
        NewExample(labels[label], row, group=None if group < 0 else groups[group])
        for row, label, group in zip(given["q20"], given["label"].tolist(), given["group"].tolist(), strict=True)
    ]
    with same_random(given["random"].tobytes()):
        journal = Journal.memory(embedding_id=bytes(range(32)), dim=given["q20"].shape[1])
        for what, a, b in given["steps"].tolist():
            if what == APPEND:
                journal.append(examples[a : a + b])
            elif what == FORGET:
                journal.forget(list(itertools.islice(journal.live, a, a + b)))
            elif what == FORGET_LABEL:
                journal.forget_label(labels[a])
            elif what == RELABEL:
                journal.relabel(next(itertools.islice(journal.live, a, None)), labels[b])
            elif what == SEAL:
                mine = [each for each, entry in journal.live.items() if entry.label == labels[a]]
                journal.seal({labels[a]: mine}, moment=bool(b))
            else:
                {UNDO: journal.undo, COMPACT: journal.compact}[what]()
    store: Any = journal._store
    return {"file": np.frombuffer(bytes(store.data), np.uint8)}


@contextmanager
def same_random(source: bytes) -> Iterator[None]:
    """Python's journals take what is random from `source`."""
    left = iter(source)

    def numbers(size: int = 16) -> bytes:
        return bytes(itertools.islice(left, size))

    fake = SimpleNamespace(PathLike=os.PathLike, urandom=numbers)
    with (
        patch.object(opening, "os", fake),
        patch.object(compaction, "os", fake),
        patch.object(opening, "new_uuid", numbers),
        patch.object(journal_module, "new_uuid", numbers),
    ):
        yield


ANSWERS: dict[str, Callable[..., Arrays]] = {
    "crc32": _crc32,
    "normalise": _normalise,
    "statistics": _statistics,
    "scores": _scores,
    "facts": _nothing,
    "means": _means,
    "ridge": _ridge,
    "lda": _lda,
    "means-left-out": _means_left_out,
    "ridge-left-out": _ridge_left_out,
    "lda-left-out": _lda_left_out,
    "ridge-lambda": _ridge_lambda,
    "state": _state,
    "regression": _regression,
    "image": _image,
    "headbin": _headbin,
    "journal-read": _journal_read,
    "journal-write": _journal_write,
}
# Answers that any machine gives bit for bit; others hang on the order of additions in a BLAS.
EXACT = {"crc32", "normalise", "statistics", "image", "headbin", "journal-read", "journal-write"}
ABOUT_FACTS = {"means", "ridge", "lda", "means-left-out", "ridge-left-out", "lda-left-out", "ridge-lambda"}


def same(kind: str, found: Array, expected: Array) -> bool:
    """Bit for bit, or 1e-12 of the norm."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if kind in EXACT or expected.dtype.kind != "f":
        return found.tobytes() == expected.tobytes()
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return False
    apart = np.linalg.norm(found[finite].astype(float) - expected[finite])
    return bool(apart <= 1e-12 * np.linalg.norm(expected[finite].astype(float)))


def differences(path: Path) -> tuple[int, list[str]]:
    """How many answers a file has, and which of them NumPy does not give here."""
    count, wrong, taught = 0, [], None
    for case in read(path):
        taught = case.given if case.kind == "facts" else taught
        found = answer(case, taught)
        count += len(case.answer)
        if found.keys() != case.answer.keys():
            wrong.append(f"{path.name}, {case.kind} {case.title}: {', '.join(found.keys() ^ case.answer.keys())}")
            continue
        for what, expected in case.answer.items():
            if not same(case.kind, np.asarray(found[what]), expected):
                wrong.append(f"{path.name}, {case.kind} {case.title}: {what}")
    return count, wrong


def main() -> None:
    total, wrong = 0, list[str]()
    for path in sorted(Path(__file__).parent.glob("*.txt")):
        count, found = differences(path)
        total += count
        wrong += found
    print(f"NumPy {np.__version__}: {total} answers, {len(wrong)} of them others than on file")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
