"""The bundle, NAME.edgemeta: one file with the frozen graph and all that a device must know about it."""

from .manifest import Golden, HeadRecipe, InputContract, Licence, Manifest, Variant
from .opening import SUFFIX, Bundle, shipped
from .writing import write_bundle

__all__ = [
    "SUFFIX",
    "Bundle",
    "Golden",
    "HeadRecipe",
    "InputContract",
    "Licence",
    "Manifest",
    "Variant",
    "shipped",
    "write_bundle",
]
