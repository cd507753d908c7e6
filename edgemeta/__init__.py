"""edgemeta: edge devices learn new things from a few examples, without gradients and without the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .bundle import Bundle
    from .errors import EdgemetaError
    from .estimate import Estimate
    from .heads import make_head
    from .journal import ExampleId
    from .learner import Learner
    from .normalisation import Normalisation
    from .prediction import Prediction
    from .regression.prior import RegressionPrior
    from .regressor import Regressor

# Loaded when first named: importing the package costs next to nothing, a command line only what it uses.
_HOMES = {
    "Bundle": "bundle",
    "EdgemetaError": "errors",
    "Estimate": "estimate",
    "ExampleId": "journal",
    "Learner": "learner",
    "Normalisation": "normalisation",
    "Prediction": "prediction",
    "RegressionPrior": "regression.prior",
    "Regressor": "regressor",
    "make_head": "heads",
}

__all__ = [
    "Bundle",
    "EdgemetaError",
    "Estimate",
    "ExampleId",
    "Learner",
    "Normalisation",
    "Prediction",
    "RegressionPrior",
    "Regressor",
    "__version__",
    "make_head",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
