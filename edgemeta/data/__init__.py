"""Data sources, named by a short spec: `omniglot:DIR`, `folder:DIR`, `glyphs[:SEED]`, `digits`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..errors import DataError
from ..terminal import printable
from .digits import Digits
from .folder import Folder
from .glyphs import Glyphs
from .labelled import LabelledImages
from .omniglot import Omniglot, Part

__all__ = ["Digits", "Folder", "Glyphs", "LabelledImages", "Omniglot", "Source", "open_source"]

SPECS = "omniglot:DIR, folder:DIR, glyphs, glyphs:SEED, digits"


class Source(Protocol):
    """Anything that can load labelled images of a given size."""

    def load(self, height: int, width: int) -> LabelledImages:
        """All images fitted to (height, width)."""
        ...


def open_source(spec: str, *, part: Part = "background") -> Source:
    """The source that `spec` names. `part` says which part of Omniglot (and which glyph seeds) is meant.

    Training takes "background", measuring takes "evaluation", so that the two never meet. Only Omniglot and glyphs
    have two parts: a folder and the digits are the same images whatever `part` says, and what was trained on them
    must be measured on another folder.
    Raises DataError for an unknown spec.
    """
    kind, _, rest = spec.partition(":")
    if kind == "omniglot" and rest:
        return Omniglot(Path(rest), part)
    if kind == "folder" and rest:
        return Folder(Path(rest))
    if kind == "glyphs" and (not rest or (rest.isascii() and rest.isdecimal())):
        return Glyphs(2 * int(rest or 0) + (part == "evaluation"))
    if kind == "digits" and not rest:
        return Digits()
    raise DataError(f"unknown data {printable(spec)!r}; known are {SPECS}")
