"""The format of the golden vectors: text that any language reads without a library, exact for every number.

A file is words between white space; from a word that begins with `#` on a line is a comment. A case is

    case KIND TITLE
    given NAME DTYPE AXES SIZE ... SIZE VALUE ... VALUE        (any number of such blocks)
    answer NAME DTYPE AXES SIZE ... SIZE VALUE ... VALUE       (any number)
    end

AXES is how many sizes follow, 0 for a single number. float64 and float32 are C99 hex floats (`strtod`,
`float.fromhex`), inf, -inf or nan; int32 is decimal; uint8 is two hex digits a byte, without white space in between
but at the ends of lines. Arrays are row-major; texts are uint8 in UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]

DTYPES = {"float64": np.float64, "float32": np.float32, "int32": np.int32, "uint8": np.uint8}
WIDTH = 118  # of a line


@dataclass
class Case:
    """kind says which computation it is; given: what goes in; answer: what must come out."""

    kind: str
    title: str
    given: Arrays
    answer: Arrays = field(default_factory=dict)


def text(value: str) -> Array:
    """A text as uint8."""
    return np.frombuffer(value.encode(), np.uint8)


def to_text(array: Array) -> str:
    """And back."""
    return bytes(array.tobytes()).decode()


def write(path: Path, what: str, cases: list[Case]) -> None:
    """`cases` to a file that begins with the comment `what`."""
    lines = [f"# {what}", "# Made by make_golden.py; vectors.py says how it is to be read."]
    for case in cases:
        lines += ["", f"case {case.kind} {case.title}"]
        for role, arrays in (("given", case.given), ("answer", case.answer)):
            for name, array in arrays.items():
                lines += _block(role, name, np.asarray(array))
        lines.append("end")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read(path: Path) -> list[Case]:
    """The cases of a file. Raises ValueError for whatever is not in the format."""
    words, cases = iter(_words(path)), list[Case]()
    for word in words:
        if word != "case":
            raise ValueError(f"{path.name}: a case was expected, not {word!r}")
        case = Case(next(words), next(words), {})
        for role in words:
            if role == "end":
                break
            name, array = _read_block(words)
            {"given": case.given, "answer": case.answer}[role][name] = array
        else:
            raise ValueError(f"{path.name}: the case {case.title} does not end")
        cases.append(case)
    return cases


def _words(path: Path) -> list[str]:
    lines = path.read_text(encoding="ascii").splitlines()
    return [word for line in lines for word in line.split("#")[0].split()]


def _block(role: str, name: str, array: Array) -> list[str]:
    """The lines of one array."""
    dtype = array.dtype.name
    if dtype not in DTYPES:
        raise ValueError(f"{name}: {dtype} is none of {', '.join(DTYPES)}")
    head = " ".join([role, name, dtype, str(array.ndim), *map(str, array.shape)])
    if dtype == "uint8":
        digits = array.tobytes().hex()
        return [head, *(digits[at : at + WIDTH] for at in range(0, len(digits), WIDTH))]
    numbers = [_number(value) for value in array.reshape(-1).tolist()]
    if array.ndim == 0:
        return [f"{head} {numbers[0]}"]
    return [head, *_filled(numbers)]


def _number(value: float | int) -> str:
    """An integer, or a hex float without the zeros that say nothing."""
    if isinstance(value, int):
        return str(value)
    mantissa, mark, exponent = value.hex().partition("p")
    return mantissa.rstrip("0").rstrip(".") + mark + exponent if mark else mantissa


def _filled(words: list[str]) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    if line:
        yield line


def _read_block(words: Iterator[str]) -> tuple[str, Array]:
    name, dtype = next(words), next(words)
    shape = tuple(int(next(words)) for _ in range(int(next(words))))
    count = int(np.prod(shape, dtype=np.int64))
    if dtype == "uint8":
        digits = ""
        while len(digits) < 2 * count:
            digits += next(words)
        return name, np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(shape)
    parse = int if dtype == "int32" else float.fromhex
    values = [parse(next(words)) for _ in range(count)]
    return name, np.array(values, dtype=DTYPES[dtype]).reshape(shape)
