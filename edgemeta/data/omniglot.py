"""Omniglot (Lake, Salakhutdinov, Tenenbaum 2015): 1,623 characters of 50 alphabets, each by 20 drawers.

Reads the official layout, `PART/ALPHABET/characterNN/IIII_DD.png`, from the zips or from extracted folders, and
the 20 official within-alphabet one-shot runs. Images are 105 x 105, black ink (0) on white (255).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, DataMissingError
from ..imaging import resize
from ..terminal import printable
from .cache import Arrays, cached
from .labelled import LabelledImages
from .reading import decode

Part = Literal["background", "evaluation"]
SIDE = 105
LISTING = "/class_labels.txt"  # of each official run


def _members(root: Path, name: str) -> tuple[Path, Iterator[tuple[str, bytes]]]:
    """The zip or folder `name` under `root`, and its files as (relative path, bytes), sorted."""
    packed, folder = root / f"{name}.zip", root / name
    if folder.is_dir():
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        return folder, ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in paths)
    if packed.is_file():
        return packed, _zip_members(packed, name)
    raise DataMissingError(
        f"Omniglot: neither {printable(str(packed))} nor the folder {printable(str(folder))} is there. "
        "Fetch the official zips of github.com/brendenlake/omniglot (folder python) and name their folder"
    )


def _zip_members(packed: Path, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(packed) as archive:
            for member in sorted(archive.namelist()):
                if not member.endswith("/"):
                    yield member.removeprefix(f"{name}/"), archive.read(member)
    except Exception as error:
        # zipfile lets the errors of decompressors and of locked members through; they have no base in common.
        raise DataError(
            f"Omniglot: {printable(str(packed))} is damaged or locked ({printable(str(error))}); fetch it again, "
            "or extract it beside itself"
        ) from error


def _drawing(content: bytes, path: str) -> NDArray[np.uint8]:
    """The image of a file, uint8 (SIDE, SIDE). Raises DataError."""
    image = decode(content, f"Omniglot: {path}")
    if image.shape != (SIDE, SIDE):
        raise DataError(
            f"Omniglot: {printable(path)} is {image.shape[0]} x {image.shape[1]}, not {SIDE} x {SIDE}; "
            "fetch the official zips again"
        )
    return image


def _decode_part(files: Iterator[tuple[str, bytes]]) -> Arrays:
    pixels, characters, alphabets = [], [], []
    for path, content in files:
        parts = path.split("/")
        if len(parts) != 3 or not path.endswith(".png"):
            continue
        pixels.append(np.packbits(_drawing(content, path) > 127))
        alphabets.append(parts[0])
        characters.append(f"{parts[0]}/{parts[1]}")
    if not pixels:
        raise DataError("Omniglot: no ALPHABET/characterNN/*.png inside; is it the official layout?")
    return {"bits": np.stack(pixels), "characters": np.array(characters), "alphabets": np.array(alphabets)}


@dataclass(frozen=True)
class Omniglot:
    """One part of Omniglot under `root`; a domain is an alphabet."""

    root: Path
    part: Part = "background"

    def load(self, height: int, width: int) -> LabelledImages:
        """All images fitted to (height, width), grey. Raises DataMissingError, DataError."""
        source, files = _members(Path(self.root), f"images_{self.part}")
        arrays = cached(f"omniglot-{self.part}", source, lambda: _decode_part(files))
        classes, labels = np.unique(arrays["characters"], return_inverse=True)
        alphabets = np.array([str(name).split("/")[0] for name in classes])
        domains = np.unique(alphabets, return_inverse=True)[1]
        bits = np.unpackbits(arrays["bits"].astype(np.uint8), axis=1, count=SIDE * SIDE)
        pixels = (bits * np.uint8(255)).reshape(-1, SIDE, SIDE)
        return LabelledImages(
            resize(pixels, height, width, batch=True),
            labels.astype(np.int64),
            tuple(str(name) for name in classes),
            domains.astype(np.int64),
        )


@dataclass(frozen=True)
class Run:
    """One official run: 20 training images (one a class), 20 test images, `truth[i]` the class of test i."""

    name: str
    training: NDArray[np.uint8]
    test: NDArray[np.uint8]
    truth: NDArray[np.int64]


def load_runs(root: Path, height: int, width: int) -> list[Run]:
    """The official within-alphabet one-shot runs of `all_runs.zip`, images fitted and grey.

    Raises DataMissingError, DataError.
    """
    source, found = _members(Path(root), "all_runs")
    files = dict(found)
    names = sorted(path.removesuffix(LISTING) for path in files if path.endswith(LISTING) and path.count("/") == 1)
    if not names:
        raise DataError(f"Omniglot: {printable(str(source))} holds no runNN{LISTING}; is it the official all_runs.zip?")
    return [_load_run(files, name, height, width) for name in names]


def _load_run(files: dict[str, bytes], name: str, height: int, width: int) -> Run:
    pairs = _pairs(files[name + LISTING], name + LISTING)
    training_names = sorted({training for _, training in pairs})
    for path in (*training_names, *(test for test, _ in pairs)):
        if path not in files:
            raise DataError(
                f"Omniglot: {printable(name + LISTING)} names {printable(path)}, which is not there; "
                "fetch all_runs.zip again"
            )
    training = [_drawing(files[path], path) for path in training_names]
    test = [_drawing(files[path], path) for path, _ in pairs]
    truth = np.array([training_names.index(t) for _, t in pairs], dtype=np.int64)
    return Run(
        name,
        resize(np.stack(training), height, width, batch=True),
        resize(np.stack(test), height, width, batch=True),
        truth,
    )


def _pairs(content: bytes, path: str) -> list[tuple[str, str]]:
    """The lines of a run's list: a test image, and the training image of its class. Raises DataError."""
    try:
        lines = [line.split() for line in content.decode().splitlines() if line.strip()]
        pairs = [(test, training) for test, training in lines]
    except ValueError as error:  # not UTF-8, or not two names in a line
        raise DataError(f"Omniglot: {printable(path)} is damaged ({error}); fetch all_runs.zip again") from error
    if not pairs:
        raise DataError(f"Omniglot: {printable(path)} is empty; fetch all_runs.zip again")
    return pairs
