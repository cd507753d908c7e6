"""The first inputs of the fuzz targets, to tests/native/fuzz/corpus/TARGET: `python tests/native/fuzz/make_corpus.py`.

What a target makes of the bytes before the file is said at its head. What fuzzing finds beside them (`make fuzz`) stays
in build/; an input that once showed an error is added to the corpus by hand, with a name that says which.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
TESTS = HERE.parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "native"), str(TESTS / "journal")]

from bundle.making import make, members_of  # noqa: E402
from bundle.test_optional_parts import background, prior  # noqa: E402
from journal_help import BACKBONE, DIM, new  # noqa: E402

from edgemeta.bundle import HeadRecipe  # noqa: E402
from edgemeta.journal import Journal  # noqa: E402

RESEAL, REBUILD, TIGHT, PLAIN = 1, 2, 4, 8


def bundles() -> list[tuple[bytes, bytes]]:
    """Whole bundles and their head.bin: bare, with a background, with everything."""
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for parts in ({}, {"background": background()}, {"background": background(), "prior": prior()}):
            head = HeadRecipe("centred", temperature=2.0) if parts else HeadRecipe("ridge", 0.25, 2.0, True)
            path = make(Path(folder) / "a.edgemeta", head=head, **parts)
            out.append((path.read_bytes(), members_of(path)["head.bin"]))
    return out


def journals() -> dict[str, bytes]:
    """Journals that hold every type of record."""
    plain, sealed, numbers = (Journal.memory(embedding_id=BACKBONE, dim=DIM) for _ in range(3))
    other = Journal.memory(embedding_id=BACKBONE, dim=DIM)
    image = np.arange(30, dtype=np.uint8).reshape(2, 5, 3)
    plain.append([new("cup", 1, group="g", variant="v", input=image), new("mug", 2)])
    plain.append([new("猫", 3)])
    plain.forget(list(plain.live)[:1])
    plain.undo()
    for i in range(6):
        sealed.append([new(f"label{i % 2}", i)])
    other.append([new("label0", i) for i in range(9, 12)])
    other.forget(list(other.live)[1:2])
    sealed.merge(other)
    for label, moment in (("label0", True), ("label1", False)):
        ids = [each for each, entry in sealed.live.items() if entry.label == label]
        sealed.seal({label: ids[:2]}, moment=moment)
        sealed.seal({label: ids[2:]}, moment=moment)
    sealed.append([new("after", 20)])
    sealed.forget_label("label1")
    numbers.append([new("y", i, target=np.array([0.5 * i])) for i in range(3)])
    return {
        name: bytes(each._store.data) for name, each in (("plain", plain), ("sealed", sealed), ("numbers", numbers))
    }


def write(name: str, data: bytes) -> None:
    path = HERE / "corpus" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    os.urandom = random.Random(7).randbytes  # so that the same files come again
    for number, (bundle, head) in enumerate(bundles()):
        write(f"bundle/{number}", bytes([RESEAL * (number % 2)]) + bundle)
        write(f"head/{number}", bytes([RESEAL * (number % 2)]) + head)
    for name, data in journals().items():
        write(f"journal/{name}", bytes([RESEAL | REBUILD, 0]) + data)
        write(f"journal/{name}-tight", bytes([RESEAL | REBUILD | TIGHT | PLAIN, 0]) + data)
        write(f"journal/{name}-blocks", bytes([RESEAL | REBUILD | 5 << 4, 0]) + data)
        write(f"journal/{name}-failing", bytes([0, 9]) + data)
        write(f"journal/{name}-torn", bytes([0, 0]) + data[:-13])
        for part in (16, len(data) // 16, len(data) // 8):
            write(f"reload/{name}-{part}", bytes([RESEAL | REBUILD]) + part.to_bytes(2, "little") + data)


if __name__ == "__main__":
    main()
