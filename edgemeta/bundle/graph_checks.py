"""What a graph must not hold, found before a runtime parses it: outside files, custom operators, functions.

An ONNX graph is a protobuf message. This file walks its wire format without the onnx package, visits every
place where a tensor, a node or a subgraph can be, and steps over the rest: in linear time, without recursion
or a copy of any tensor. It does not show that a graph is sound or harmless: the parser is the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import BundleDamagedError
from ..terminal import printable

DOMAINS = (b"", b"ai.onnx")
# Protobuf's own parsers stop at 100.
MAX_DEPTH = 96
# A Conv-4 has a few hundred fields, a large transformer some hundred thousand.
MAX_FIELDS = 4_000_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


_NONE: Mapping[int, str] = {}


class _Message(NamedTuple):
    """What to do with the fields of one kind of message, by field number. Other fields are stepped over."""

    children: Mapping[int, str] = _NONE  # messages to walk, and their kind
    domains: tuple[int, ...] = ()  # strings that must be in DOMAINS
    zeros: Mapping[int, str] = _NONE  # integers that must be 0, and what it means when they are not
    refused: Mapping[int, str] = _NONE  # fields that must not be there, and what they are
    allowed: frozenset[int] | None = None  # if given, no field may have another number


# Field numbers of onnx.proto; a test compares them with the onnx package.
MESSAGES = {
    "ModelProto": _Message(
        children={7: "GraphProto", 8: "OperatorSetIdProto"},
        refused={20: "training information", 25: "functions of its own"},
        allowed=frozenset((1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25)),
    ),
    "OperatorSetIdProto": _Message(domains=(1,)),
    "GraphProto": _Message(children={1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"}),
    "NodeProto": _Message(children={5: "AttributeProto"}, domains=(7,)),
    "AttributeProto": _Message(
        children={
            5: "TensorProto",
            6: "GraphProto",
            10: "TensorProto",
            11: "GraphProto",
            22: "SparseTensorProto",
            23: "SparseTensorProto",
        },
        refused={21: "an attribute that refers to a function's"},
    ),
    "SparseTensorProto": _Message(children={1: "TensorProto", 2: "TensorProto"}),
    "TensorProto": _Message(
        zeros={14: "a tensor whose data is in another file"},
        refused={13: "a tensor whose data is in another file"},
    ),
}


def check_graph(runtime: str, data: bytes, member: str) -> None:
    """Refuse graph bytes that a runtime ("onnx" or "tflite") must not get. `member` names them in errors.

    ONNX: external data, functions, training information, operators outside the standard domain; in subgraphs,
    attributes and sparse tensors too. TFLite: only the file identifier is looked at, as its interpreter
    opens no files and refuses operators that it does not know. Raises BundleDamagedError.
    """
    if runtime == "onnx":
        _check_onnx(memoryview(data), member)
    elif data[4:8] != b"TFL3":
        raise BundleDamagedError(f"{member} is not a TFLite graph")


def _check_onnx(data: memoryview, member: str) -> None:
    pending = [("ModelProto", 0, len(data), 0)]
    graphs = fields = 0
    while pending:
        kind, at, end, depth = pending.pop()
        rules = MESSAGES[kind]
        while at < end:
            tag, at = _varint(data, at, end, member)
            number, wire = tag >> 3, tag & 7
            value, start, at = _value(data, at, end, wire, member)
            fields += 1
            _check_field(rules, number, wire, value, data[start:at], member)
            if number in rules.children:
                graphs += rules.children[number] == "GraphProto" and depth == 0
                pending.append((rules.children[number], start, at, depth + 1))
        if depth > MAX_DEPTH or fields > MAX_FIELDS:
            raise _damaged(member, "nested too deeply, or too many fields")
    if graphs != 1:
        raise _damaged(member, f"{graphs} graphs in the model")


def _check_field(rules: _Message, number: int, wire: int, value: int, content: memoryview, member: str) -> None:
    if number == 0 or number >= 1 << 29:
        raise _damaged(member, "an impossible field number")
    if number in rules.refused:
        raise _refused(member, rules.refused[number])
    if rules.allowed is not None and number not in rules.allowed:
        raise _refused(member, f"a part that this edgemeta does not know (field {number})")
    expected = _BYTES if number in rules.children or number in rules.domains else None
    expected = _VARINT if number in rules.zeros else expected
    if expected is not None and wire != expected:
        raise _damaged(member, f"field {number} has the wrong type")
    if number in rules.zeros and value != 0:
        raise _refused(member, rules.zeros[number])
    if number in rules.domains and content not in DOMAINS:
        name = printable(bytes(content[:64]).decode("utf-8", "replace"))
        raise _refused(member, f"operators of the domain {name!r}, which are not standard")


def _varint(data: memoryview, at: int, end: int, member: str) -> tuple[int, int]:
    """A varint at `at`: its value and where it ends. At most ten bytes."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _damaged(member, "a number that does not end")


def _value(data: memoryview, at: int, end: int, wire: int, member: str) -> tuple[int, int, int]:
    """The value of a field at `at`: (the number, if it is one, where its content begins, where it ends)."""
    if wire == _VARINT:
        value, stop = _varint(data, at, end, member)
        return value, at, stop
    if wire == _BYTES:
        size, at = _varint(data, at, end, member)
    elif wire in (_FIXED32, _FIXED64):
        size = 4 if wire == _FIXED32 else 8
    else:
        raise _damaged(member, f"wire type {wire}")
    if size > end - at:
        raise _damaged(member, "a field that is longer than what holds it")
    return 0, at, at + size


def _damaged(member: str, complaint: str) -> BundleDamagedError:
    return BundleDamagedError(f"{member} is not a sound ONNX graph: {complaint}")


def _refused(member: str, what: str) -> BundleDamagedError:
    return BundleDamagedError(f"{member} was refused: it holds {what}")
