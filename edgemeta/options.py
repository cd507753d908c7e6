"""What callers pass as options, checked: a wrong type is an error of the library's own tree, as a wrong value is."""

from __future__ import annotations

import math
import operator
import os
from typing import Any

from .errors import OptionError


def as_path(value: Any, what: str) -> str:
    """Text or a path to text. Raises OptionError (for a file descriptor too: nobody means one)."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise OptionError(f"{what} is a path, not {type(value).__name__} {value!r}")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise OptionError(f"{what} is a path, and {text!r} is none")
    return text


def as_count(value: Any, what: str, *, least: int = 1, most: int | None = None) -> int:
    """A whole number, NumPy's too, but no bool. Raises OptionError."""
    limits = f"at least {least}" if most is None else f"{least} to {most}"
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least or (most is not None and number > most):
        raise OptionError(f"{what} is a whole number, {limits}, not {value!r}")
    return number


def as_names(value: Any, what: str) -> list[str]:
    """A list of at least one name. Raises OptionError."""
    if isinstance(value, str):
        raise OptionError(f"{what} is a list of names; write [{value!r}]")
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(name, str) for name in value):
        raise OptionError(f"{what} is a list of names, not {value!r}")
    return list(value)


def check_positive(value: Any, what: str, *, zero: bool = False) -> None:
    """A finite number above zero, or zero too. Raises OptionError."""
    try:
        ok = not isinstance(value, bool) and math.isfinite(value) and (value > 0 or (zero and value == 0))
    except (TypeError, OverflowError):
        ok = False
    if not ok:
        raise OptionError(f"{what} must be finite and {'not negative' if zero else 'positive'}, not {value!r}")
