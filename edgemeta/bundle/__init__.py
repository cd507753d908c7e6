"""The bundle, NAME.edgemeta: one file with the frozen graph and all that a device must know about it."""

from typing import TYPE_CHECKING, Any

from .opening import SUFFIX, Bundle, shipped
from .records import Golden, HeadRecipe, InputContract, Licence, Manifest, Variant

if TYPE_CHECKING:
    from .rewriting import rewrite_bundle
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
    "rewrite_bundle",
    "shipped",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    """What writes, on first use: a device only reads."""
    if name == "write_bundle":
        from .writing import write_bundle

        return write_bundle
    if name == "rewrite_bundle":
        from .rewriting import rewrite_bundle

        return rewrite_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
