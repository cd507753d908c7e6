"""What a prediction says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .calibration import confidences


class Prediction:
    """The answer for one input.

    label: the class, or None for what resembles nothing taught (with `unknown=`). nearest: the class that it is most
    like, in any case. novelty: how far it is from what was taught, over the limit: above 1 it is unknown; None without
    `unknown=`, and while there are too few examples to say where the limit is (then nothing is rejected).
    score: the head's score of `nearest`. confidence: its share of softmax(temperature * scores), from
    0 to 1, or None while a single class is taught (there is nothing to compare it with). ranked: all classes,
    best first, as (label, score, confidence).
    """

    __slots__ = ("_confidences", "_labels", "_scores", "confidence", "label", "nearest", "novelty", "score")

    def __init__(
        self,
        labels: tuple[str, ...],
        scores: NDArray[np.float64],
        temperature: float,
        novelty: float | None = None,
    ) -> None:
        best = int(scores.argmax())
        self._labels, self._scores = labels, scores
        self._confidences = confidences(scores, temperature)
        self.nearest: str = labels[best]
        self.novelty = None if novelty is None else float(novelty)
        self.label = self.nearest if self.novelty is None or self.novelty <= 1.0 else None
        self.score = float(scores[best])
        self.confidence = float(self._confidences[best]) if len(labels) > 1 else None

    @property
    def ranked(self) -> tuple[tuple[str, float, float | None], ...]:
        """Every class, best first; equal scores in the order of their labels."""
        order = np.argsort(-self._scores, kind="stable")
        several = len(self._labels) > 1
        return tuple(
            (self._labels[i], float(self._scores[i]), float(self._confidences[i]) if several else None) for i in order
        )

    def __repr__(self) -> str:
        confidence = "None" if self.confidence is None else f"{self.confidence:.3f}"
        unknown = f", nearest={self.nearest!r}, novelty={self.novelty:.2f}" if self.label is None else ""
        return f"Prediction(label={self.label!r}, score={self.score:.4f}, confidence={confidence}{unknown})"
