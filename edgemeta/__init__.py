"""edgemeta: edge devices learn new things from a few examples, without gradients and without the cloud."""

__version__ = "0.1.0"

from .bundle import Bundle
from .errors import EdgemetaError
from .heads import make_head
from .journal import ExampleId
from .learner import Learner
from .normalisation import Normalisation
from .prediction import Prediction

__all__ = [
    "Bundle",
    "EdgemetaError",
    "ExampleId",
    "Learner",
    "Normalisation",
    "Prediction",
    "__version__",
    "make_head",
]
