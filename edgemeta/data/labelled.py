"""A labelled set of images of one size, the common form of every data source."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError


@dataclass(frozen=True)
class LabelledImages:
    """`pixels` uint8 (N, H, W) grey or (N, H, W, 3) RGB; `labels` int64 (N,) index `classes`.

    `domains` (one int a class) groups the classes that belong together, an alphabet for instance; episodes can
    be drawn within one domain. `names` names the images, for error messages and lists.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    domains: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def sha256(self) -> str:
        """A hash, hexadecimal, of the images, their labels and domains, in their order; names do not enter."""
        import hashlib

        digest = hashlib.sha256()
        for array in (self.pixels, self.labels, self.domains):
            digest.update(f"{array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def members(self) -> list[NDArray[np.int64]]:
        """For each class the indices of its images, ascending."""
        order = np.argsort(self.labels, kind="stable")
        edges = np.searchsorted(self.labels[order], np.arange(len(self.classes) + 1))
        return [order[a:b] for a, b in pairwise(edges)]

    def only(self, classes: NDArray[np.int64]) -> LabelledImages:
        """The images of some classes, the classes numbered anew in the order given."""
        new = np.full(len(self.classes), -1)
        new[classes] = np.arange(len(classes))
        keep = new[self.labels] >= 0
        return LabelledImages(
            self.pixels[keep],
            new[self.labels[keep]].astype(np.int64),
            tuple(self.classes[i] for i in classes),
            self.domains[classes],
        )

    def split_domains(self, held_out: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
        """Two sets without a common domain; the second has `held_out` domains drawn from `seed`."""
        kinds = np.unique(self.domains)
        if not 0 < held_out < len(kinds):
            raise DataError(f"cannot hold out {held_out} of {len(kinds)} domains (alphabets); give fewer")
        chosen = np.random.default_rng(seed).permutation(kinds)[:held_out]
        away = np.isin(self.domains, chosen)
        return self.only(np.flatnonzero(~away)), self.only(np.flatnonzero(away))
