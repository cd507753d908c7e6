"""What the metadata of a TFLite file say of its pixels: (pixel - mean) / std.

They are a flatbuffer of their own in one of the model's buffers, by TensorFlow Lite's metadata_schema.fbs, of which
this walks down to the one table that counts.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from .wrap_scaling import Scaling

NAME, IDENTIFIER = b"TFLITE_METADATA", b"M001"
# Fields by their number in the schema's tables, from the root down to NormalizationOptions.
SUBGRAPHS, INPUTS, UNITS, OPTIONS_TYPE, OPTIONS, MEAN, STD = 3, 2, 4, 0, 1, 0, 1
NORMALIZATION = 1


def normalisation(model: Any) -> Scaling | None:
    """Of the first input, or None where the file does not say it. model: the schema's ModelT."""
    for entry in model.metadata or ():
        if entry.name in (NAME, NAME.decode()):
            data = model.buffers[entry.buffer].data
            content = b"" if data is None else bytes(data)
            return _read(content) if content[4:8] == IDENTIFIER else None
    return None


def _read(content: bytes) -> Scaling | None:
    try:
        root = _Table(content, struct.unpack_from("<I", content)[0])
        for subgraph in root.tables(SUBGRAPHS)[:1]:
            for given in subgraph.tables(INPUTS)[:1]:
                for unit in given.tables(UNITS):
                    if unit.byte(OPTIONS_TYPE) == NORMALIZATION and (options := unit.table(OPTIONS)):
                        return _scaling(options.floats(MEAN), options.floats(STD))
    except struct.error:  # damaged: as if nothing were said
        return None
    return None


def _scaling(mean: tuple[float, ...], std: tuple[float, ...]) -> Scaling | None:
    if len(mean) != len(std) or len(mean) not in (1, 3) or not np.isfinite((*mean, *std)).all():
        return None
    if min(std) <= 0.0 or max(std) < 1.0:  # for pixels of 0 to 1, which the metadata do not mean
        return None
    return Scaling(mean, std)


class _Table:
    """One table of a flatbuffer. Raises struct.error where it reaches beyond the bytes."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def _number(self, kind: str, at: int) -> int:
        if at < 0:
            raise struct.error("before the first byte")
        return int(struct.unpack_from(kind, self.content, at)[0])

    def _field(self, number: int) -> int:
        """Where a field is, or 0."""
        layout = self.at - self._number("<i", self.at)
        place = 4 + 2 * number
        found = self._number("<H", layout + place) if place < self._number("<H", layout) else 0
        return self.at + found if found else 0

    def byte(self, number: int) -> int:
        at = self._field(number)
        return self._number("<B", at) if at else 0

    def table(self, number: int) -> _Table | None:
        at = self._field(number)
        return _Table(self.content, at + self._number("<I", at)) if at else None

    def _vector(self, number: int) -> list[int]:
        """Where its elements, of four bytes each, are."""
        at = self._field(number)
        if not at:
            return []
        start = at + self._number("<I", at)
        count = self._number("<I", start)
        if start + 4 + 4 * count > len(self.content):
            raise struct.error("a vector beyond the end")
        return [start + 4 + 4 * place for place in range(count)]

    def tables(self, number: int) -> list[_Table]:
        return [_Table(self.content, at + self._number("<I", at)) for at in self._vector(number)]

    def floats(self, number: int) -> tuple[float, ...]:
        return tuple(float(struct.unpack_from("<f", self.content, at)[0]) for at in self._vector(number))
