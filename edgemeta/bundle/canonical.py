"""JSON with one form for every value: the manifest's text. Strict where Python's json is generous."""

from __future__ import annotations

from typing import Any

from ..errors import BundleDamagedError
from ..terminal import printable

MAX_DEPTH = 16
# Sizes and step counts need 64 bits; longer digits only cost time, quadratically on older Pythons.
MAX_DIGITS = 20


def dumps(value: Any) -> bytes:
    """UTF-8, sorted keys, no spaces, numbers as Python's json writes them, one newline at the end.

    Raises ValueError (UnicodeError is one) or TypeError for what has no such form: NaN, infinity, a set.
    """
    import json

    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def loads(data: bytes, what: str) -> Any:
    """The value of `data`; `what` names it in errors. The canonical form is not checked here.

    Raises BundleDamagedError for text that is not UTF-8 or JSON, duplicate keys, NaN, infinity, whole numbers
    of more than 20 digits, and nesting deeper than 16.
    """
    import json

    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_short,
        )
    except RecursionError as error:
        raise BundleDamagedError(f"{what}: nested deeper than {MAX_DEPTH}") from error
    except ValueError as error:
        raise BundleDamagedError(f"{what}: not the JSON it should be: {printable(str(error))}") from error
    if _deeper_than(value, MAX_DEPTH):
        raise BundleDamagedError(f"{what}: nested deeper than {MAX_DEPTH}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        raise ValueError(f"{text[:24]} is too large a number")
    return number


def _short(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _deeper_than(value: Any, limit: int) -> bool:
    """Level by level, without recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
