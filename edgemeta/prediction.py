"""What a prediction says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .calibration import confidences


class Prediction:
    """The answer for one input.

    label: the class. score: the head's score of it. confidence: its share of softmax(temperature * scores), from
    0 to 1, or None while a single class is taught (there is nothing to compare it with). ranked: all classes,
    best first, as (label, score, confidence).
    """

    __slots__ = ("_confidences", "_labels", "_scores", "confidence", "label", "score")

    def __init__(self, labels: tuple[str, ...], scores: NDArray[np.float64], temperature: float) -> None:
        best = int(scores.argmax())
        self._labels, self._scores = labels, scores
        self._confidences = confidences(scores, temperature)
        self.label: str = labels[best]
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
        return f"Prediction(label={self.label!r}, score={self.score:.4f}, confidence={confidence})"
