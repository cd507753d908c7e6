"""Heads: each file here is one, found by its `HEADS`; a head is a pure function of the taught set."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..errors import HeadError
from ..terminal import printable
from .base import Facts, Head, Linear, Prior, Solution

__all__ = ["Facts", "Head", "Linear", "Prior", "Solution", "head_names", "make_head"]


@cache
def _registry() -> dict[str, Callable[..., Head]]:
    import importlib
    import pkgutil

    found: dict[str, Callable[..., Head]] = {}
    for module in pkgutil.iter_modules(__path__):
        found.update(getattr(importlib.import_module(f"{__name__}.{module.name}"), "HEADS", {}))
    return found


def head_names() -> tuple[str, ...]:
    """The names of all heads."""
    return tuple(sorted(_registry()))


def make_head(name: str, **options: object) -> Head:
    """A head by name. Raises HeadError for a name or an option that does not exist."""
    if not isinstance(name, str) or name not in _registry():
        raise HeadError(f"unknown head '{printable(str(name))}'; known are {', '.join(head_names())}")
    try:
        return _registry()[name](**options)
    except TypeError as error:
        raise HeadError(f"head {name}: {error}") from error
