"""Write digits.h: some of the shipped digits as embeddings of 64 numbers, and what NumPy's heads say of them.

python examples/c/cortex_m/make_digits.py          (--check: only compare)
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np

from edgemeta.data import Digits
from edgemeta.heads import Facts, Head, make_head
from edgemeta.normalisation import Normalisation, to_float

TARGET = Path(__file__).with_name("digits.h")
DIGITS, SHOTS, ASKED, LAMBDA = (0, 3, 5, 6, 9), 5, 6, 0.1


def choose() -> np.ndarray:
    """Ink in sixteenths of the first of each digit, (5, 5 + 6, 64)."""
    digits = Digits().load()
    ink = np.rint(16 * (1 - digits.pixels.reshape(-1, 64) / 255.0)).astype(int)
    members = digits.members()
    return np.stack([ink[members[d][: SHOTS + ASKED]] for d in DIGITS])


def answers(ink: np.ndarray, head: Head) -> np.ndarray:
    """What a head, taught the first of each class, says of the others, (5, 6); none of them may be a close call."""
    q20 = Normalisation().apply(ink.reshape(-1, 64) / 16.0).reshape(ink.shape)
    taught = to_float(q20[:, :SHOTS])
    z, y = taught.reshape(-1, 64), np.repeat(np.arange(len(ink)), SHOTS)
    facts = Facts(
        tuple(map(str, range(len(ink)))),
        np.full(len(ink), float(SHOTS)),
        taught.sum(axis=1),
        float((z * z).sum()),
        lambda: z.T @ z,
        lambda: (z, y),
        lambda: np.arange(len(z)),
    )
    scores = np.asarray(head.solve(facts).scores(to_float(q20[:, SHOTS:]).reshape(-1, 64)))
    first, second = np.sort(scores, axis=1)[:, ::-1][:, :2].T
    assert (first - second).min() > 1e-4, "a close call: ask of others"
    return np.asarray(scores.argmax(axis=1).reshape(len(ink), ASKED))


def row(numbers: np.ndarray) -> str:
    texts = ["0" if n == 0 else f"{n / 16:g}".replace("0.", ".", 1) + ("f" if n < 16 else "") for n in numbers]
    lines = [", ".join(texts[i : i + 16]) for i in range(0, 64, 16)]
    return "    {" + ",\n     ".join(lines) + "}"


def table(kind: str, name: str, shape: str, rows: list[str]) -> str:
    return f"IN_DIGITS static const {kind} {name}{shape} = {{\n" + ",\n".join(rows) + "};\n"


def text() -> str:
    """The whole file."""
    ink = choose()
    parts = [
        "/* Made by make_digits.py: handwritten digits (Alpaydin, Kaynak 1998; CC BY 4.0), 8 x 8, ink 0 to 1. */\n",
        "#define DIM 64",
        f"#define CLASSES {len(DIGITS)} /* the digits {', '.join(map(str, DIGITS))} */",
        f"#define SHOTS {SHOTS}\n#define ASKED {ASKED}\n#define LAMBDA {LAMBDA}",
        "#define NAMES {" + ", ".join(f'"{digit}"' for digit in DIGITS) + "}",
        '#define IN_DIGITS __attribute__((section(".digits")))\n',
    ]
    for name, some, count in (("taught", ink[:, :SHOTS], "SHOTS"), ("asked", ink[:, SHOTS:], "ASKED")):
        parts.append(table("float", name, f"[CLASSES * {count}][DIM]", [row(r) for r in some.reshape(-1, 64)]))
    parts.append("/* The classes of `asked`, as NumPy's heads have them when all of `taught` is known. */")
    for name, head in (("means", make_head("euclidean")), ("ridge", make_head("ridge", lambda_=LAMBDA))):
        rows = ["    " + ", ".join(map(str, r)) for r in answers(ink, head)]
        parts.append(table("unsigned char", f"by_{name}", "[CLASSES * ASKED]", rows))
    own = [f"0x{byte:02x}" for byte in hashlib.sha256(b"edgemeta own embeddings 1|64|1.0|True|1.0|").digest()]
    parts.append("/* What journals of such embeddings are bound to (SPEC.md): those of Learner(dim=64). */")
    parts.append(
        f"#define OWN_EMBEDDINGS {{{', '.join(own[:16])}, \\\n                        {', '.join(own[16:])}}}\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text(encoding="ascii") == text() else "digits.h is old: run make_digits.py")
    TARGET.write_text(text(), encoding="ascii")
