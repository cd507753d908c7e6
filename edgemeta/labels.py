"""Labels: non-empty strings, NFC, at most 255 bytes of UTF-8, without control characters."""

from __future__ import annotations

from .errors import LabelError
from .terminal import printable

LONGEST_BYTES = 255
INVISIBLE = "\u115f\u1160\u3164\uffa0"  # fillers that count as letters


def check_label(label: object, what: str = "label") -> str:
    """The label in NFC, so that two ways to write the same letters are one class. Raises LabelError."""
    import unicodedata

    if not isinstance(label, str):
        hint = f"; write str({label!r})" if isinstance(label, int) else ""
        raise LabelError(f"a {what} is a string, not {type(label).__name__} {label!r}{hint}")
    text = unicodedata.normalize("NFC", label)
    if all(c in INVISIBLE or unicodedata.category(c)[0] in "CZM" for c in text):
        raise LabelError(f"a {what} needs at least one visible character: '{printable(text)}'")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise LabelError(f"the {what} '{printable(text)}' holds a control character or half a surrogate pair")
    if len(text.encode("utf-8")) > LONGEST_BYTES:
        raise LabelError(f"the {what} '{printable(text[:40])}'... is longer than {LONGEST_BYTES} bytes of UTF-8")
    return text
