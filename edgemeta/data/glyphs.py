"""An endless source of stroke characters: many alphabets, drawers with styles of their own, no download.

A character is one to four pen strokes, each a chain of quadratic curves through random points; an alphabet has
habits (how many strokes, how curved, where strokes begin). A drawer bends every character by an affine map, moves
its points a little and has a pen of some width. Everything follows from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..imaging import resize
from .labelled import LabelledImages

SIDE = 96
POINTS = 40  # samples of the pen along one curve
SHORTEST = 0.4  # between the ends of a curve, in half canvases: shorter ones are mere dots


@dataclass(frozen=True)
class Glyphs:
    """`alphabets` alphabets of `characters` characters, each by `drawers` drawers. A domain is an alphabet.

    Two different seeds give different characters. `load` draws them on a canvas of 96 x 96 first.
    """

    seed: int = 0
    alphabets: int = 20
    characters: int = 30
    drawers: int = 20

    def load(self, height: int, width: int) -> LabelledImages:
        """All images fitted to (height, width), grey, black ink (0) on white (255)."""
        pixels = []
        for alphabet in range(self.alphabets):
            for drawn in self._alphabet(alphabet):
                pixels.append(resize(drawn, height, width, batch=True))
        count = self.alphabets * self.characters
        names = tuple(f"{a}/{c}" for a in range(self.alphabets) for c in range(self.characters))
        return LabelledImages(
            np.concatenate(pixels),
            np.repeat(np.arange(count), self.drawers).astype(np.int64),
            names,
            np.repeat(np.arange(self.alphabets), self.characters).astype(np.int64),
        )

    def _alphabet(self, alphabet: int) -> list[NDArray[np.uint8]]:
        """For each character its drawings, uint8 (drawers, SIDE, SIDE)."""
        rng = np.random.default_rng([self.seed, alphabet])
        strokes, bend, grid = rng.uniform(1.2, 3.2), rng.uniform(0.05, 0.5), rng.integers(3, 6)
        pens = rng.uniform(0.8, 2.6, self.drawers)
        wobble = rng.uniform(0.01, 0.035, self.drawers)
        maps = np.eye(2) + rng.normal(0.0, 0.10, (self.drawers, 2, 2))
        drawings = []
        for _ in range(self.characters):
            curves = _character(rng, strokes, bend, int(grid))
            drawings.append(_draw(rng, curves, pens, wobble, maps))
        return drawings


def _character(rng: np.random.Generator, strokes: float, bend: float, grid: int) -> NDArray[np.float64]:
    """Quadratic curves (n, 3 control points, 2) in [-1, 1]; a stroke's curves share their ends."""
    curves: list[NDArray[np.float64]] = []
    for _ in range(int(np.clip(rng.poisson(strokes - 1) + 1, 1, 4))):
        if curves and rng.random() < 0.5:  # half the strokes start on what is already drawn
            start = curves[rng.integers(len(curves))][rng.choice([0, 2])]
        else:
            start = _anchor(rng, grid)
        for _ in range(int(rng.integers(1, 4))):
            end = _anchor(rng, grid)
            while np.linalg.norm(end - start) < SHORTEST:
                end = _anchor(rng, grid)
            middle = (start + end) / 2 + rng.normal(0.0, bend, 2) * np.linalg.norm(end - start)
            curves.append(np.stack([start, middle, end]))
            start = end
    return np.stack(curves)


def _anchor(rng: np.random.Generator, grid: int) -> NDArray[np.float64]:
    """A point near a coarse grid, as the ends of real strokes line up with each other."""
    return rng.integers(0, grid, 2) / (grid - 1) * 1.6 - 0.8 + rng.normal(0.0, 0.06, 2)


def _draw(
    rng: np.random.Generator,
    curves: NDArray[np.float64],
    pens: NDArray[np.float64],
    wobble: NDArray[np.float64],
    maps: NDArray[np.float64],
) -> NDArray[np.uint8]:
    """One character by every drawer: uint8 (drawers, SIDE, SIDE)."""
    drawers = len(pens)
    moved = curves[None] + rng.normal(0.0, 1.0, (drawers, *curves.shape)) * wobble[:, None, None, None]
    moved = np.einsum("dij,dnkj->dnki", maps + rng.normal(0.0, 0.04, maps.shape), moved)
    moved += rng.normal(0.0, 0.04, (drawers, 1, 1, 2))
    t = np.linspace(0.0, 1.0, POINTS)
    weights = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2])
    pen = np.einsum("kt,dnki->dnti", weights, moved).reshape(drawers, -1, 2)
    where = np.rint((pen + 1.1) / 2.2 * (SIDE - 1)).astype(np.intp).clip(3, SIDE - 4)
    ink = np.zeros((drawers, SIDE, SIDE), dtype=bool)
    ink[np.arange(drawers)[:, None], where[..., 1], where[..., 0]] = True
    for drawer in range(drawers):
        ink[drawer] = _thicken(ink[drawer], float(pens[drawer]))
    return np.asarray(255 * (1 - ink.astype(np.uint8)), dtype=np.uint8)


def _thicken(ink: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Dilate by a disc of `radius` pixels (at most 3)."""
    reach = int(radius)
    out: NDArray[np.bool_] = ink.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if 0 < dy * dy + dx * dx <= radius * radius:
                out |= np.roll(ink, (dy, dx), (0, 1))
    return out
