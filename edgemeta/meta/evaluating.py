"""A trained checkpoint as something that can be evaluated as a bundle is: torch embeds, the device's learner learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..heads import Head, make_head
from ..learner import Learner
from ..normalisation import Normalisation
from . import checkpoint
from .objectives import Ridge
from .trainer import coloured, embed_all


class CheckpointModel:
    """The backbone and the learned head of a run."""

    def __init__(self, folder: Path) -> None:
        """Raises CheckpointError."""
        self.backbone, self._objective, self.config = checkpoint.load_model(folder)
        self.dim = int(self.backbone.dim)  # type: ignore[arg-type]
        self._longest = 0.0

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """Fitted images, grey or RGB, to raw embeddings (N, D)."""
        z = embed_all(self.backbone, coloured(pixels, self.config.colour)).cpu().numpy()
        self._longest = max(self._longest, float(np.linalg.norm(z, axis=1).max()))
        return z

    def learner(self, head: str = "auto") -> Learner:
        """A fresh learner for these embeddings, to be made after `embed` has seen them; heads as a bundle has them."""
        scale = 1.0 if self.config.l2 else 0.5 / max(self._longest, 1e-9)
        learned = learned_head(self._objective, scale)
        chosen = learned if head in ("auto", learned.name) else make_head(head)
        normalisation = Normalisation(l2=self.config.l2, scale=scale)
        return Learner(dim=self.dim, head=chosen, normalisation=normalisation)


def learned_head(objective: torch.nn.Module, scale: float) -> Head:
    """The head that was trained, for embeddings stored times `scale`: distances and ridge's lambda shrink by
    its square."""
    temperature = float(objective.log_t.detach().exp())  # type: ignore[operator]
    if isinstance(objective, Ridge):
        lambda_ = float(objective.log_lambda.detach().exp()) * scale * scale
        return make_head("ridge", lambda_=lambda_, temperature=temperature)
    return make_head("euclidean", temperature=temperature / (scale * scale))
