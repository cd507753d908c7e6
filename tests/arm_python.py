"""The package on another machine: taught the shipped digits with the shipped bundle, asked, made to forget.

    arm_python.py --out FILE        here: what came out
    arm_python.py --against FILE    there: the same has to come out
        --no-graph                  of own embeddings alone: where there is no ONNX Runtime

Embeddings may differ by what another machine's float32 convolutions round differently; what they lead to may not.
tests/arm.sh runs it under emulation.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SHOTS, ASKED = 2, 2  # examples a digit that are taught, and that are asked for
BUNDLE = "glyphs"


def command(*arguments: str) -> str:
    """`edgemeta ARGUMENTS`: what it prints. It has to succeed."""
    from edgemeta.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main(list(arguments))
    if status != 0:
        raise SystemExit(f"edgemeta {' '.join(arguments)}: status {status}\n{printed.getvalue()}")
    return printed.getvalue()


def draw() -> tuple[Any, Any]:
    """Images and labels: of each digit first those to teach, then those to ask."""
    from edgemeta.data import Digits

    data = Digits().load()
    rows = np.stack([members[: SHOTS + ASKED] for members in data.members()])
    names = np.array(data.classes)[data.labels[rows]]
    return data.pixels[rows], names


def learn_and_predict(folder: Path) -> dict[str, Any]:
    """By the API: what was stored, what is predicted, and that forgetting is exact and the file is what was taught."""
    from edgemeta import Learner

    images, names = draw()
    taught, asked = images[:, :SHOTS], images[:, SHOTS:]
    path = folder / "digits.learned"
    with Learner(BUNDLE, path, prior=False) as learner:
        for digit, label in zip(taught, names[:, 0], strict=True):
            for image in digit:
                learner.learn(image, str(label))
        predicted = learner.predict_many(list(asked.reshape(-1, *asked.shape[2:])))
        stored = stored_in(learner)
    with Learner(BUNDLE, path, prior=False) as again:
        assert (stored_in(again) == stored).all(), "the file does not hold what was taught"
        again.forget("3")
        check_forgotten(again, taught, names)
    return {
        "labels": [each.label for each in predicted],
        "confidences": [each.confidence for each in predicted],
        "right": float(np.mean([p.label == n for p, n in zip(predicted, names[:, SHOTS:].reshape(-1), strict=True)])),
        "stored": stored.tolist(),
    }


def stored_in(learner: Any) -> Any:
    """Q20 (N, D) in the order of teaching."""
    journal = learner._journal
    return journal.embeddings(list(journal.live))


def check_forgotten(learner: Any, taught: Any, names: Any) -> None:
    """Its weights are bit for bit those of a learner that never saw the digit."""
    from edgemeta import Learner

    with Learner(BUNDLE, prior=False) as never:
        for digit, label in zip(taught, names[:, 0], strict=True):
            if label != "3":
                for image in digit:
                    never.learn(image, str(label))
        one, other = learner.solution(), never.solution()
        assert one.labels == other.labels and "3" not in one.labels
        assert (one.weights == other.weights).all() and (one.bias == other.bias).all(), "forgetting is not exact"


def by_embeddings(folder: Path) -> dict[str, Any]:
    """With embeddings that the user brings: the weights of each head, before and after forgetting; a regressor's."""
    from edgemeta import Learner, Regressor

    rng = np.random.default_rng(11)
    centres, y = rng.normal(size=(4, 48)), np.arange(40) % 4
    raw = (centres[y] + rng.normal(size=(40, 48))).astype(np.float32)
    found: dict[str, Any] = {}
    for head in ("euclidean", "centred", "ridge", "lda"):
        with Learner(dim=48, journal=folder / f"{head}.learned", head=head) as learner:
            learner.learn_many(raw[:30], [f"class {c}" for c in y[:30]])
            found[f"{head} taught"] = learner.solution().weights.tolist()
            learner.forget("class 2")
            found[f"{head} left"] = learner.solution().weights.tolist()
            found[f"{head} labels"] = [each.label for each in learner.predict_many(raw[30:])]
    with Regressor(dim=48, journal=folder / "numbers.learned", targets=2) as regressor:
        regressor.learn_many(raw[:30], raw[:30, :2].astype(float))
        found["numbers"] = [each.mean.tolist() for each in regressor.predict_many(raw[30:])]
    return found


def by_command(folder: Path) -> list[str]:
    """By the command line: learn two digits from files, predict others. The labels."""
    from PIL import Image

    images, _ = draw()
    for digit in (1, 7):
        paths = [str(folder / f"{digit}-{i}.png") for i in range(SHOTS + 1)]
        for path, image in zip(paths, images[digit], strict=False):
            Image.fromarray(image).save(path)
        command("learn", str(folder / "two.learned"), "--bundle", BUNDLE, "--label", f"digit {digit}", *paths[:SHOTS])
    asked = [str(folder / f"{digit}-{SHOTS}.png") for digit in (1, 7)]
    printed = command("predict", str(folder / "two.learned"), "--bundle", BUNDLE, "--json", *asked)
    return [json.loads(line)["label"] for line in printed.splitlines()]


def compare_graph(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises SystemExit where it matters that they differ."""
    z, other = (np.array(each["stored"]) / 2.0**20 for each in (found, expected))
    cosines = (z * other).sum(axis=1) / np.sqrt((z * z).sum(axis=1) * (other * other).sum(axis=1))
    apart = float(np.abs(np.array(found["confidences"]) - expected["confidences"]).max())
    print(f"embeddings: 1 - cosine at most {1 - cosines.min():.2e}; confidences at most {apart:.2e} apart")
    if 1 - cosines.min() > 1e-5:
        raise SystemExit("the embeddings are others")
    if found["labels"] != expected["labels"] or found["command"] != expected["command"]:
        raise SystemExit("the predictions are others")


def compare_embeddings(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Weights to 1e-9 of their norm; labels the same. Raises SystemExit."""
    worst = 0.0
    for what, wanted in expected.items():
        if what.endswith("labels"):
            if found[what] != wanted:
                raise SystemExit(f"own embeddings, {what}: {found[what]}, not {wanted}")
        else:
            apart = np.linalg.norm(np.array(found[what]) - wanted) / np.linalg.norm(wanted)
            worst = max(worst, float(apart))
    print(f"own embeddings: the labels are the same, weights at most {worst:.1e} of their norm apart")
    if worst > 1e-9:
        raise SystemExit("the weights are others")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write what came out")
    parser.add_argument("--against", type=Path, help="compare with what came out elsewhere")
    parser.add_argument("--kernels", help="what has to do the arithmetic here")
    parser.add_argument("--no-graph", action="store_true", help="of own embeddings alone")
    options = parser.parse_args()
    warnings.simplefilter("error", RuntimeWarning)
    from edgemeta import kernels

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["own"] = by_embeddings(Path(folder))
        if not options.no_graph:
            found["graph"] = learn_and_predict(Path(folder))
            found["graph"]["command"] = by_command(Path(folder))
    print(
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, kernels {kernels.name()}"
        + ("" if options.no_graph else describe(found["graph"]))
    )
    if options.kernels is not None and kernels.name() != options.kernels:
        raise SystemExit(f"the kernels are {kernels.name()}, not {options.kernels}")
    if not options.no_graph and found["graph"]["right"] < 0.5:
        raise SystemExit("it learned too little")
    if options.against is not None:
        expected = json.loads(options.against.read_text())
        compare_embeddings(found["own"], expected["own"])
        if not options.no_graph:
            compare_graph(found["graph"], expected["graph"])
    if options.out is not None:
        options.out.write_text(json.dumps(found))
    sys.stdout.flush()


def describe(graph: dict[str, Any]) -> str:
    import onnxruntime

    share = f"{100 * graph['right']:.0f} % of {len(graph['labels'])} digits from {SHOTS} examples each"
    return f", ONNX Runtime {onnxruntime.__version__}: {share}"


if __name__ == "__main__":
    main()
