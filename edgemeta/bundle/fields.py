"""A value of the manifest with the path that leads to it, so that every complaint names its field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import BundleDamagedError

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number with a point",
}
_KINDS |= {bool: "true or false", type(None): "null"}
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


class Field:
    """One value and its path. Every method returns the checked value or raises BundleDamagedError."""

    def __init__(self, value: Any, path: str):
        self.value, self.path = value, path

    def refuse(self, complaint: str) -> BundleDamagedError:
        """The error that says what is wrong with this field."""
        return BundleDamagedError(f"manifest.json: {self.path or 'the whole'}: {complaint}")

    def _typed(self, kind: type) -> Any:
        # `type() is`, because True is an int to isinstance.
        if type(self.value) is not kind:
            raise self.refuse(f"expected {_KINDS[kind]}, found {_KINDS[type(self.value)]}")
        return self.value

    def object(self, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Field]:
        """The members of an object that has all of `keys`, perhaps some of `optional`, and no others."""
        found = self._typed(dict)
        missing = [key for key in keys if key not in found]
        if missing:
            raise self.refuse(f"{missing[0]!r} is missing")
        extra = [key for key in found if key not in keys and key not in optional]
        if extra:
            raise self.refuse(f"unknown key {extra[0][:40]!a}")
        return {key: Field(item, f"{self.path}.{key}".lstrip(".")) for key, item in found.items()}

    def mapping(self, most: int) -> dict[str, Field]:
        """An object with keys of any text, at most `most` of them."""
        found = self._typed(dict)
        if len(found) > most:
            raise self.refuse(f"{len(found)} entries; the most is {most}")
        return {key: Field(item, f"{self.path}[{key[:40]!a}]") for key, item in found.items()}

    def items(self, least: int, most: int) -> list[Field]:
        """The elements of a list of `least` to `most`."""
        found = self._typed(list)
        if not least <= len(found) <= most:
            raise self.refuse(f"{len(found)} elements; {least} to {most} are allowed")
        return [Field(item, f"{self.path}[{i}]") for i, item in enumerate(found)]

    def free(self) -> dict[str, Any]:
        """An object whose content is nobody's business here."""
        return dict(self._typed(dict))

    def text(self, most: int = 4096, *, least: int = 0) -> str:
        """Text of `least` to `most` characters, any at all: show it only through `printable`."""
        found = self._typed(str)
        if not least <= len(found) <= most:
            raise self.refuse(f"{len(found)} characters; {least} to {most} are allowed")
        return str(found)

    def word(self, most: int = 64) -> str:
        """ASCII letters, digits, '.', '_' and '-', 1 to `most` of them, the first a letter or a digit."""
        found = self.text(most)
        if not found or not _WORD.issuperset(found) or found[0] in "._-":
            raise self.refuse(f"{found!a} is not a name of letters, digits, '.', '_' and '-'")
        return found

    def choice(self, *allowed: str) -> str:
        """One of `allowed`."""
        found = self.text()
        if found not in allowed:
            raise self.refuse(f"{found[:40]!a} is none of {', '.join(allowed)}")
        return found

    def integer(self, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        found = self._typed(int)
        if not least <= found <= most:
            raise self.refuse(f"{found} is not in {least} to {most}")
        return int(found)

    def number(self, *, above: float = -1e300, most: float = 1e300) -> float:
        """A number greater than `above` and at most `most`."""
        found = self._typed(float)
        if not above < found <= most:
            raise self.refuse(f"{found} must be above {above:g} and at most {most:g}")
        return float(found)

    def flag(self) -> bool:
        """True or false."""
        return bool(self._typed(bool))

    def digest(self) -> str:
        """A SHA-256 in 64 lower-case hexadecimal digits."""
        found = self.text()
        if len(found) != 64 or not set(found) <= set("0123456789abcdef"):
            raise self.refuse("expected 64 lower-case hexadecimal digits")
        return found
