"""What the meta-learners minimise: prototypes, closed-form ridge, cosine classification. Torch, differentiable."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError


class Episodic(nn.Module):
    """What the episodic objectives share: optional L2 and a learned factor of the scores."""

    def __init__(self, *, l2: bool, temperature: float) -> None:
        super().__init__()
        self.l2 = l2
        self.log_t = nn.Parameter(torch.tensor(math.log(temperature)))

    def normalise(self, z: Tensor) -> Tensor:
        """(..., D) to norm 1 where `l2` says so, as the exported bundle does."""
        return F.normalize(z, dim=-1) if self.l2 else z


class Prototypes(Episodic):
    """ProtoNet (Snell et al. 2017, eq. 2): scores = -t ||z_q - mean of the class's z||^2, with a learned t."""

    def __init__(self, *, l2: bool = True, temperature: float = 10.0) -> None:
        super().__init__(l2=l2, temperature=temperature)

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Support (ways, shots, D), query (Q, D) to scores (Q, ways)."""
        prototypes = self.normalise(support).mean(1)
        z = self.normalise(query)
        return -self.log_t.exp() * torch.cdist(z[None], prototypes[None])[0].square()


class Ridge(Episodic):
    """R2-D2 (Bertinetto et al. 2019, eq. 4 to 6), with the very objective of `edgemeta.heads.ridge`.

    min over W, b of sum ||W z_i + b - y_i||^2 + lambda ||W||^2, b unpenalised, y one-hot; lambda and the scale of
    the scores are learned. Solved in the dual when there are fewer examples than dimensions, else in the primal.
    """

    def __init__(self, *, l2: bool = True, lambda_: float = 0.1, temperature: float = 10.0) -> None:
        super().__init__(l2=l2, temperature=temperature)
        self.log_lambda = nn.Parameter(torch.tensor(math.log(lambda_)))

    def forward(self, support: Tensor, query: Tensor) -> Tensor:
        """Support (ways, shots, D), query (Q, D) to scores (Q, ways)."""
        ways, shots, dim = support.shape
        z = self.normalise(support).reshape(ways * shots, dim)
        y = torch.eye(ways, device=z.device, dtype=z.dtype).repeat_interleave(shots, 0)
        mean = z.mean(0)
        centred, targets = z - mean, y - y.mean(0)
        lambda_ = self.log_lambda.exp()
        if len(z) < dim:
            gram = centred @ centred.T + lambda_ * torch.eye(len(z), device=z.device, dtype=z.dtype)
            weights = centred.T @ torch.linalg.solve(gram, targets)
        else:
            moment = centred.T @ centred + lambda_ * torch.eye(dim, device=z.device, dtype=z.dtype)
            weights = torch.linalg.solve(moment, centred.T @ targets)
        scores: Tensor = self.log_t.exp() * ((self.normalise(query) - mean) @ weights + y.mean(0))
        return scores


class CosineClassifier(nn.Module):
    """One weight vector a class, scores = t cos(z, w) (Gidaris, Komodakis 2018), with label smoothing.

    margin: what is taken from the cosine of the right class before the softmax, so that classes end up further
    apart than it takes to tell them (CosFace, Wang et al. 2018, eq. 4).
    """

    def __init__(
        self, dim: int, classes: int, *, margin: float = 0.0, temperature: float = 16.0, smoothing: float = 0.1
    ) -> None:
        super().__init__()
        self.margin = margin
        self.weight = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))
        self.log_t = nn.Parameter(torch.tensor(math.log(temperature)))
        self.smoothing = smoothing

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Embeddings (N, D) and labels (N,) to the mean loss."""
        cosines = F.normalize(z, dim=-1) @ F.normalize(self.weight, dim=-1).T
        cosines = cosines - self.margin * F.one_hot(labels, len(self.weight))
        return F.cross_entropy(self.log_t.exp() * cosines, labels, label_smoothing=self.smoothing)


def episodic(name: str, *, l2: bool) -> Prototypes | Ridge:
    """The episodic objective of a method: "protonet" (also after pretraining) or "r2d2"."""
    if name in ("protonet", "pretrain"):
        return Prototypes(l2=l2)
    if name == "r2d2":
        return Ridge(l2=l2)
    raise OptionError(f"unknown method {name!r}; known are protonet, r2d2, pretrain")
