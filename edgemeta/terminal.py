"""What a person sees in a terminal: escaped text, tables, a progress line, an image."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray


def printable(text: str) -> str:
    """Escape whatever could move a cursor, change a colour or reverse the writing direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def table(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Columns of `rows` (the first is the heading), left one flush left and the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(indent + "  ".join(cells).rstrip())
    return "\n".join(lines)


def draw(image: NDArray[np.uint8], *, columns: int = 32) -> str:
    """A grey image of shape (H, W) as text, two pixel rows a line, dark ink drawn as blocks."""
    height, width = image.shape
    columns = min(columns, width) if width >= columns else width
    rows = max(2, round(height * columns / width / 2) * 2)
    y = (np.arange(rows) * height // rows).astype(np.intp)
    x = (np.arange(columns) * width // columns).astype(np.intp)
    ink = image[np.ix_(y, x)] < 128
    glyphs = np.array([[" ", "▄"], ["▀", "█"]])
    picked = glyphs[ink[0::2].astype(np.intp), ink[1::2].astype(np.intp)]
    return "\n".join("".join(line) for line in picked)


class Progress:
    """A line that says how far long work has come; on a pipe it writes a line now and then instead.

    Times are in seconds. `total=None` when the end is not known.
    """

    def __init__(self, title: str, total: int | None, *, stream: TextIO | None = None, every: float = 0.2):
        self.title, self.total, self.every = title, total, every
        self.stream = stream if stream is not None else sys.stderr
        self.live = self.stream.isatty()
        if not self.live:
            self.every = 15.0
        self.started = self.shown = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """Show `done` steps and a note, at most once every `every` seconds."""
        now = time.monotonic()
        if now - self.shown < self.every:
            return
        self.shown = now
        self._write(done, note, now - self.started)

    def _write(self, done: int, note: str, seconds: float) -> None:
        if self.total:
            filled = round(24 * min(1.0, done / self.total))
            bar = "█" * filled + "·" * (24 - filled)
            head = f"{self.title} {bar} {done}/{self.total}"
        else:
            head = f"{self.title} {done}"
        line = f"{head}  {seconds:.0f} s  {note}".rstrip()
        self.stream.write(f"\r\x1b[K{line}" if self.live else line + "\n")
        self.stream.flush()

    def close(self, note: str = "") -> None:
        """End the line."""
        if self.live:
            self.stream.write(f"\r\x1b[K{note}" + ("\n" if note else ""))
            self.stream.flush()
        elif note:
            self.stream.write(note + "\n")
