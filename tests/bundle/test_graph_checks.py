"""Graphs that must not reach a runtime, made by hand and by the onnx package where it is installed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemeta.bundle.graph_checks import MESSAGES, check_graph
from edgemeta.errors import BundleDamagedError

from .making import field, onnx_graph, varint


def check(data: bytes) -> None:
    check_graph("onnx", data, "g.onnx")


EXTERNAL_TENSOR = field(8, b"w") + field(14, 1)
EXTERNAL_DATA = field(13, field(1, b"location") + field(2, b"/etc/passwd"))
CUSTOM = field(4, b"Run") + field(7, b"evil.domain")


def nested(node: bytes) -> bytes:
    """A node that holds `node` in a subgraph."""
    return field(4, b"If") + field(5, field(1, b"then_branch") + field(6, field(1, node)))


REFUSED = {
    "external tensor": (onnx_graph(graph=field(5, EXTERNAL_TENSOR)), "another file"),
    "external entries alone": (onnx_graph(graph=field(5, EXTERNAL_DATA)), "another file"),
    "in an attribute": (onnx_graph(node=field(5, field(5, EXTERNAL_TENSOR))), "another file"),
    "in a list of tensors": (onnx_graph(node=field(5, field(10, EXTERNAL_TENSOR))), "another file"),
    "in a sparse tensor": (onnx_graph(graph=field(15, field(1, EXTERNAL_TENSOR))), "another file"),
    "in sparse indices": (onnx_graph(graph=field(15, field(2, EXTERNAL_TENSOR))), "another file"),
    "in a sparse attribute": (onnx_graph(node=field(5, field(22, field(1, EXTERNAL_TENSOR)))), "another"),
    "in sparse attributes": (onnx_graph(node=field(5, field(23, field(1, EXTERNAL_TENSOR)))), "another"),
    "custom operator": (onnx_graph(graph=field(1, CUSTOM)), "evil.domain"),
    "custom in a subgraph": (onnx_graph(graph=field(1, nested(CUSTOM))), "evil.domain"),
    "custom three deep": (onnx_graph(graph=field(1, nested(nested(nested(CUSTOM))))), "evil.domain"),
    "custom in a list": (onnx_graph(node=field(5, field(11, field(1, CUSTOM)))), "evil.domain"),
    "contrib operator": (onnx_graph(graph=field(1, field(7, b"com.microsoft"))), "com.microsoft"),
    "custom opset": (onnx_graph(model=field(8, field(1, b"evil.domain"))), "evil.domain"),
    "a domain said twice": (onnx_graph(node=field(7, b"") + field(7, b"evil") + field(7, b"")), "evil"),
    "functions": (onnx_graph(model=field(25, b"")), "functions"),
    "training": (onnx_graph(model=field(20, b"")), "training"),
    "an unknown part": (onnx_graph(model=field(99, b"")), "field 99"),
    "an attribute of a function": (onnx_graph(node=field(5, field(21, b"alpha"))), "refers"),
    "a second graph": (onnx_graph(model=field(7, b"")), "2 graphs"),
    "no graph": (field(1, 8), "0 graphs"),
    "empty": (b"", "0 graphs"),
    "text": (b"not a graph at all", "g.onnx"),
    "a group": (b"\x0b\x0c", "wire type"),
    "field 0": (b"\x00\x00", "field number"),
    "wrong type of graph": (varint(7 << 3) + b"\0", "wrong type"),
    "wrong type of location": (onnx_graph(graph=field(5, field(14, b"\1"))), "wrong type"),
    "cut number": (b"\x08\xff", "does not end"),
    "endless number": (b"\x08" + b"\xff" * 20, "does not end"),
    "long field": (b"\x3a\xff\xff\xff\xff\x07", "longer"),
    "longer than 64 bits": (b"\x3a" + b"\xff" * 9 + b"\x7f", "longer"),
    "escape in a domain": (onnx_graph(node=field(7, b"\x1b[31m")), r"x1b"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_refused(case):
    data, words = REFUSED[case]
    with pytest.raises(BundleDamagedError, match=words) as caught:
        check(data)
    assert "\x1b" not in str(caught.value)


def test_accepted():
    check(onnx_graph())
    check(onnx_graph(node=field(7, b"ai.onnx")))
    check(onnx_graph(graph=field(1, nested(field(4, b"Add"))) + field(5, field(14, 0))))
    check(onnx_graph(graph=field(99, b"x") + field(98, 7)))  # harmless to step over inside a graph


def test_depth_is_bounded():
    node = field(4, b"Add")
    for _ in range(400):
        node = nested(node)
    with pytest.raises(BundleDamagedError, match="deeply"):
        check(onnx_graph(graph=field(1, node)))


def test_large_tensors_cost_nothing():
    data = onnx_graph(graph=field(5, field(9, bytes(50 << 20))))
    start = time.perf_counter()
    check(data)
    assert time.perf_counter() - start < 0.5


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_noise_raises_nothing_else(noise):
    for data in (noise, onnx_graph(node=noise), onnx_graph(graph=noise), onnx_graph(model=noise)):
        try:
            check(data)
        except BundleDamagedError:
            continue


def test_field_numbers_are_those_of_onnx():
    onnx = pytest.importorskip("onnx")
    for kind, rules in MESSAGES.items():
        fields = getattr(onnx, kind).DESCRIPTOR.fields_by_number
        for number, child in rules.children.items():
            assert fields[number].message_type.name == child, (kind, number)
        for number in (*rules.domains, *rules.zeros, *rules.refused):
            assert number in fields
        assert all(fields[number].name == "domain" for number in rules.domains)
        # No path to a tensor, node or graph is left out.
        for number, found in fields.items():
            if found.message_type is not None and found.message_type.name in MESSAGES:
                assert number in rules.children or number in rules.refused, (kind, found.name)
    tensor, model = onnx.TensorProto.DESCRIPTOR, onnx.ModelProto.DESCRIPTOR
    assert tensor.fields_by_name["data_location"].number == 14
    assert tensor.fields_by_name["external_data"].number == 13
    assert tensor.enum_types_by_name["DataLocation"].values_by_name["EXTERNAL"].number != 0
    assert model.fields_by_name["functions"].number == 25
    assert model.fields_by_name["training_info"].number == 20
    assert onnx.AttributeProto.DESCRIPTOR.fields_by_name["ref_attr_name"].number == 21


def test_graphs_of_the_onnx_package():
    pytest.importorskip("onnx")
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from onnx.external_data_helper import set_external_data

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")

    def model(node, *, initializer=weight, **options):
        graph = helper.make_graph([node], "g", [x], [y], [initializer])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **options)

    plain = helper.make_node("MatMul", ["x", "w"], ["y"])
    check(model(plain, producer_name="test").SerializeToString())
    custom = helper.make_node("MatMul", ["x", "w"], ["y"], domain="com.microsoft")
    with pytest.raises(BundleDamagedError, match=r"com\.microsoft"):
        check(model(custom).SerializeToString())
    outside = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    set_external_data(outside, "../../secret")
    outside.ClearField("raw_data")
    with pytest.raises(BundleDamagedError, match="another file"):
        check(model(plain, initializer=outside).SerializeToString())
    function = helper.make_function(
        "mine", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    with pytest.raises(BundleDamagedError, match="functions"):
        check(model(plain, functions=[function]).SerializeToString())
