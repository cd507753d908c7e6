"""TFLite: every network computes what torch and ONNX Runtime compute, in float32, float16 and int8."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mobilenet import MobileNetV2
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgemeta import Bundle, Learner
from edgemeta.data import Glyphs, open_source
from edgemeta.errors import BundleError, MissingDependencyError, OptionError
from edgemeta.evaluation import as_rgb, evaluate
from edgemeta.export import ranges as ranges_module
from edgemeta.export.graph import PixelsToEmbedding
from edgemeta.export.onnx import to_onnx
from edgemeta.export.ranges import value_ranges
from edgemeta.export.tflite import FP16, FP32, convert, to_tflite, to_tflite_fp16
from edgemeta.export.tflite_file import ALIGNMENT, load_schema
from edgemeta.export.tflite_int8 import INT8, choose_kept, harms, layers, left_in_float, to_tflite_int8
from edgemeta.meta.backbones import build
from edgemeta.runners.litert import LiteRTRunner
from edgemeta.runners.onnx import OnnxRunner

pytest.importorskip("ai_edge_litert", reason='LiteRT is not installed: pip install "edgemeta[tflite]"')

ONNX = FP32._replace(name="onnx-fp32", runtime="onnx")


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 8, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


def block(inputs: int, outputs: int, kernel: int, stride: int, groups: int, act: nn.Module) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), act)


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, wide: int, outputs: int, kernel: int, stride: int, excite: bool, act: nn.Module):
        super().__init__()
        self.body = nn.Sequential(
            block(inputs, wide, 1, 1, 1, act),
            block(wide, wide, kernel, stride, wide, act),
            SqueezeExcite(wide) if excite else nn.Identity(),
            block(wide, outputs, 1, 1, 1, nn.Identity()),
        )
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


class MobileNetV3Like(nn.Module):
    """What MobileNetV3-Small is made of (Howard et al. 2019), with fewer blocks, and a linear layer at the end."""

    def __init__(self) -> None:
        super().__init__()
        relu, hard = nn.ReLU(), nn.Hardswish()
        self.features = nn.Sequential(
            block(3, 16, 3, 2, 1, hard),
            Bottleneck(16, 16, 16, 3, 2, True, relu),
            Bottleneck(16, 72, 24, 3, 2, False, relu),
            Bottleneck(24, 88, 24, 3, 1, False, relu),
            Bottleneck(24, 96, 40, 5, 2, True, hard),
            Bottleneck(40, 240, 40, 5, 1, True, hard),
            block(40, 288, 1, 1, 1, hard),
        )
        self.pool, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(288, 64)

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(self.last(self.pool(self.features(x)).flatten(1)))


class Odd(nn.Module):
    """What the others lack: groups, dilation, padding by hand, a leaky ReLU, a concatenation, a map that is flattened
    before a linear layer, and a length of 1 at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped = nn.Conv2d(3, 16, 7, 2, 3), nn.Conv2d(16, 16, 3, 1, 1, groups=4)
        self.depth, self.dilated = nn.Conv2d(16, 32, 3, 2, 1, groups=16), nn.Conv2d(32, 32, 3, 1, 2, dilation=2)
        self.first, self.second, self.norm = nn.Linear(384, 24), nn.Linear(24, 24, bias=False), nn.BatchNorm1d(24)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.silu(self.stem(x)), 3, 2, 1)
        x = F.avg_pool2d(F.leaky_relu(self.grouped(x), 0.1), 3, 1, 1)
        x = F.pad(self.depth(x), (1, 2, 0, 1))
        x = torch.cat([torch.sigmoid(self.dilated(x)), x.clamp(-1.0, 1.5)], 1)
        x = F.avg_pool2d(x, 2).flatten(1)
        return F.normalize(self.norm(self.second(F.relu6(self.first(x)))))


# What makes the backbone, the colours it sees, the side of its images, how many transposes it needs.
NETWORKS = {
    "conv4": (lambda: build("conv4", channels=1, size=40), 1, 40, 1),
    "conv4-odd-size": (lambda: build("conv4", channels=3, size=25, width=16), 3, 25, 0),
    "resnet": (lambda: build("resnet", channels=1, size=40), 1, 40, 1),
    "mobilenet-v2": (MobileNetV2, 3, 96, 0),
    "mobilenet-v3-like": (MobileNetV3Like, 3, 96, 0),
    "odd": (Odd, 3, 32, 1),
}


def pictures(count: int, side: int, seed: int = 3) -> np.ndarray:
    """Strokes in one colour on another."""
    drawn = Glyphs(seed=seed, alphabets=1, characters=count, drawers=1).load(side, side).pixels[..., None] / 255.0
    paper, ink = np.random.default_rng(seed).integers(0, 256, (2, count, 1, 1, 3))
    return np.rint(paper * drawn + ink * (1.0 - drawn)).astype(np.uint8)


@cache
def network(name: str) -> tuple[nn.Module, bytes]:
    """The module that is exported, what its batch norms divide by as after training, and its ONNX graph."""
    make, channels, side, _ = NETWORKS[name]
    torch.manual_seed(0)
    backbone = make()
    norms = [m for m in backbone.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.7, 1.3)
        nn.init.normal_(norm.bias, 0.0, 0.2)
        norm.momentum = None  # means over all batches
    with torch.no_grad():
        module = PixelsToEmbedding(backbone, channels)
        module.backbone = backbone.train()
        module(torch.from_numpy(pictures(32, side, seed=4)))
        for norm in norms:
            # Without trained weights, taking means off leaves little but how far a chaotic network is off.
            norm.running_mean.zero_()
        module = PixelsToEmbedding(backbone.eval(), channels).eval()
    return module, to_onnx(module, side, side)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_what_torch_and_onnx_runtime_compute(name):
    module, graph = network(name)
    images = pictures(33, NETWORKS[name][2])
    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    assert cosines(expected[:-1], expected[1:]).min() < 0.9999  # images are told apart at all
    runner = LiteRTRunner(FP32, to_tflite(graph))
    for count in (33, 1, 5):
        for other in (expected[:count], OnnxRunner(ONNX, graph).run(images[:count])):
            got = runner.run(images[:count])
            assert cosines(got, other).min() > 0.99999
            assert np.abs(got - other).max() < 1e-4 * np.abs(other).max()
    plain = LiteRTRunner(FP32, to_tflite(graph), providers=["CPU"]).run(images[:2])
    assert np.abs(plain - expected[:2]).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_stay_last_and_activations_are_inside(name):
    program = convert(network(name)[1])
    codes = [operator.code for operator in program.operators]
    assert codes.count("TRANSPOSE") == NETWORKS[name][3]
    assert "RELU6" not in codes and "RELU" not in codes
    assert program.tensors["pixels"].shape[0] == program.tensors["embedding"].shape[0] == -1


@pytest.mark.parametrize("name", NETWORKS)
def test_float16(name):
    _, graph = network(name)
    images = pictures(33, NETWORKS[name][2])
    whole, half = to_tflite(graph), to_tflite_fp16(graph)
    got, expected = (LiteRTRunner(v, g).run(images) for v, g in ((FP16, half), (FP32, whole)))
    assert cosines(got, expected).min() > 0.9999
    assert len(half) < 0.6 * len(whole)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8(name):
    _, graph = network(name)
    images = pictures(33, NETWORKS[name][2])
    small = to_tflite_int8(graph, value_ranges(graph, pictures(32, NETWORKS[name][2], seed=4)))
    expected = LiteRTRunner(FP32, to_tflite(graph)).run(images)
    for providers in (None, ["CPU"]):
        got = LiteRTRunner(INT8, small, providers=providers).run(images)
        assert np.median(cosines(got, expected)) > 0.99
    tensors, operators = parts(small)
    kinds = {tensors[index].type for operator in operators for index in operator.inputs}
    types = load_schema().TensorType
    if name != "odd":  # which ends in operators without a kernel for int8
        assert types.FLOAT32 not in kinds
        assert [code(small, operator) for operator in operators][-1] == "DEQUANTIZE"
    weights = [t for t in tensors if t.type == types.INT8 and t.quantization and len(t.quantization.scale) > 1]
    assert weights and all((np.array(t.quantization.zeroPoint) == 0).all() for t in weights)
    if name in ("conv4", "resnet"):
        assert len(small) < 0.3 * len(to_tflite(graph))


def parts(graph: bytes):
    model = load_schema().ModelT.InitFromPackedBuf(graph, 0)
    return model.subgraphs[0].tensors, model.subgraphs[0].operators


def code(graph: bytes, operator) -> str:
    schema = load_schema()
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    return names[schema.ModelT.InitFromPackedBuf(graph, 0).operatorCodes[operator.opcodeIndex].builtinCode]


@pytest.mark.parametrize(("ways", "shots", "bound"), [(5, 1, 0.5), (5, 5, 0.5), (20, 1, 1.0)])
def test_int8_keeps_few_shot_accuracy(omniglot, embedded, ways, shots, bound):
    bundle, data, raw = embedded
    found = {
        name: evaluate(
            lambda _, z=z: z, lambda: Learner(bundle, prior=False), data, ways=ways, shots=shots, episodes=200
        )
        for name, z in raw.items()
    }
    assert found["int8"].accuracy >= found["fp32"].accuracy - bound


@pytest.fixture(scope="module")
def embedded(omniglot):
    """The bundle glyphs, 100 classes of Omniglot's evaluation set, their embeddings in float32 and int8."""
    bundle = Bundle.open("glyphs")
    graph = bundle.graph("onnx-fp32")
    side = bundle.input.height
    data = open_source(f"omniglot:{omniglot}", part="evaluation").load(side, side)
    data = data.only(np.arange(0, len(data.classes), len(data.classes) // 100)[:100])
    calibration = as_rgb(Glyphs(seed=5, alphabets=4, characters=20, drawers=4).load(side, side).pixels)
    small = to_tflite_int8(graph, value_ranges(graph, calibration))
    images = as_rgb(data.pixels)
    whole = LiteRTRunner(FP32, to_tflite(graph)).run(images)
    np.testing.assert_allclose(whole[:99], OnnxRunner(ONNX, graph).run(images[:99]), rtol=1e-4, atol=1e-5)
    return bundle, data, {"fp32": whole, "int8": LiteRTRunner(INT8, small).run(images)}


# One operator at a time: nodes over a map (N, 6, 9, 7) of floats, and their constants.
rng = np.random.default_rng(1)


def floats(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def conv(*weights: int, **attributes) -> tuple:
    return ("Conv", [floats(*weights), floats(weights[0])], attributes)


SINGLE = {
    "conv": conv(8, 6, 3, 3),
    "conv-pads": conv(8, 6, 3, 3, pads=[1, 1, 1, 1]),
    "conv-same-by-hand": conv(8, 6, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv-uneven": conv(8, 6, 5, 3, pads=[2, 0, 1, 2], strides=[2, 1]),
    "conv-same-upper": conv(8, 6, 4, 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv-same-lower": conv(8, 6, 4, 2, auto_pad="SAME_LOWER"),
    "conv-valid": conv(8, 6, 4, 2, auto_pad="VALID"),
    "conv-dilated": conv(8, 6, 3, 3, pads=[2, 2, 2, 2], dilations=[2, 2]),
    "conv-groups": conv(8, 3, 3, 3, group=2),
    "conv-depthwise": conv(6, 1, 3, 3, group=6, pads=[1, 1, 1, 1]),
    "conv-depthwise-twice": conv(12, 1, 3, 3, group=6, strides=[2, 2]),
    "conv-no-bias": ("Conv", [floats(8, 6, 1, 1)], {}),
    "max-pool": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "max-pool-pads": ("MaxPool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "max-pool-uneven": ("MaxPool", [], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 0, 0]}),
    "max-pool-ceil": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    "average": ("AveragePool", [], {"kernel_shape": [3, 2], "strides": [2, 1]}),
    "average-same": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average-counted": ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "global": ("GlobalAveragePool", [], {}),
    "mean": ("ReduceMean", [np.array([-1, 2])], {"keepdims": 0}),
    "mean-of-channels": ("ReduceMean", [np.array([1])], {"keepdims": 1}),
    "mean-of-rows": ("ReduceMean", [np.array([2])], {"keepdims": 0}),
    "sum": ("ReduceSum", [np.array([1])], {"keepdims": 0}),
    "length": ("ReduceL2", [np.array([1])], {"keepdims": 0}),
    "clip": ("Clip", [np.float32(-0.5), np.float32(1.5)], {}),
    "clip-6": ("Clip", [np.float32(0), np.float32(6)], {}),
    "clip-below": ("Clip", [np.float32(-0.25)], {}),
    "relu": ("Relu", [], {}),
    "leaky": ("LeakyRelu", [], {"alpha": 0.2}),
    "sigmoid": ("Sigmoid", [], {}),
    "tanh": ("Tanh", [], {}),
    "hard-swish": ("HardSwish", [], {}),
    "hard-sigmoid": ("HardSigmoid", [], {}),
    "hard-sigmoid-of-torch": ("HardSigmoid", [], {"alpha": 1 / 6, "beta": 0.5}),
    "square": ("Pow", [np.float32(2)], {}),
    "add-channels": ("Add", [floats(6, 1, 1)], {}),
    "sub-columns": ("Sub", [floats(7)], {}),
    "mul-all": ("Mul", [floats(1, 6, 9, 7)], {}),
    "div": ("Div", [floats(6, 1, 1) + np.float32(4)], {}),
    "pad": ("Pad", [np.array([0, 1, 2, 0, 0, 0, 1, 3])], {}),
    "flatten": ("Flatten", [], {}),
    "reshape": ("Reshape", [np.array([0, 3, -1])], {}),
    "transpose": ("Transpose", [], {"perm": [0, 3, 1, 2]}),
    "batch-norm": ("BatchNormalization", [floats(6), floats(6), floats(6), np.abs(floats(6)) + np.float32(0.5)], {}),
    "matmul-rows": ("MatMul", [floats(7, 4)], {}),
}


def single(kind: str, constants: list[np.ndarray], attributes: dict) -> bytes:
    """uint8 pixels (N, 9, 7, 6), scaled to about -2 to 2 (0 is a pixel's), (N, 6, 9, 7), one operator, flattened."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "two"], ["map"]),
        helper.make_node("Transpose", ["map"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node(kind, ["x", *(f"c{i}" for i in range(len(constants)))], ["y"], name="the_one", **attributes),
        helper.make_node("Flatten", ["y"], ["embedding"]),
    ]
    given = {
        "scale": np.float32(4 / 255),
        "two": np.float32(512 / 255),
        **{f"c{i}": c for i, c in enumerate(constants)},
    }
    body = helper.make_graph(
        nodes,
        "single",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 9, 7, 6])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def run_onnx(graph: bytes, images: np.ndarray) -> np.ndarray:
    """Without a runner, which wants three colours."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": images})[0]


def run_tflite(graph: bytes, images: np.ndarray, resolver: str) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = getattr(OpResolverType, resolver)
    interpreter = Interpreter(model_content=graph, experimental_op_resolver_type=kind)
    given, made = (d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details()))
    interpreter.resize_tensor_input(given, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, images)
    interpreter.invoke()
    return interpreter.get_tensor(made)


@pytest.mark.parametrize("name", SINGLE)
def test_every_operator(name):
    graph = single(*SINGLE[name])
    images = np.random.default_rng(2).integers(0, 256, (4, 9, 7, 6)).astype(np.uint8)
    expected = run_onnx(graph, images)
    whole, small = to_tflite(graph), to_tflite_int8(graph, value_ranges(graph, images))
    for resolver in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES"):
        np.testing.assert_allclose(run_tflite(whole, images, resolver), expected, rtol=1e-5, atol=2e-5)
        got = run_tflite(small, images, resolver)
        steps = (expected.max() - min(expected.min(), 0.0)) / 255.0
        assert np.abs(got - expected).mean() < 2 * steps  # within two of the 256 steps on average
        assert cosines(got, expected).min() > 0.999


def test_a_constant_by_another_name():
    """As torch's old exporter writes the same bias of two layers."""
    import onnx

    model = onnx.load_from_string(single("Add", [floats(6, 1, 1)], {}))
    (add,) = (node for node in model.graph.node if node.name == "the_one")
    model.graph.node.insert(0, helper.make_node("Identity", [add.input[1]], ["renamed"]))
    add.input[1] = "renamed"
    graph, images = model.SerializeToString(), np.random.default_rng(2).integers(0, 256, (2, 9, 7, 6)).astype(np.uint8)
    np.testing.assert_allclose(run_tflite(to_tflite(graph), images, "AUTO"), run_onnx(graph, images), atol=2e-5)


def test_an_unknown_operator_is_named_with_its_place():
    nodes_after = single("Conv", [floats(8, 6, 3, 3)], {})
    import onnx

    model = onnx.load_from_string(nodes_after)
    model.graph.node[-1].input[0] = "z"
    model.graph.node.insert(5, helper.make_node("Erf", ["y"], ["z"], name="node_gelu"))
    with pytest.raises(BundleError, match=r"Erf 'node_gelu', at or after the layer of 'c0': an operator that"):
        to_tflite(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("Pad", [np.array([0, 1, 1, 1, 0, 1, 1, 1])], {"mode": "reflect"}), "Pad 'the_one'.*padding with zeros"),
        (("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 0, 0]}), "AveragePool 'the_one'.*no average"),
        (("MaxPool", [], {"kernel_shape": [2, 2], "dilations": [2, 2]}), "MaxPool 'the_one'.*dilation"),
        (("Add", [floats(1, 1, 1, 1, 1)], {}), "Add 'the_one'.*varies by more than the batch"),
        (("Cast", [], {"to": TensorProto.INT32}), "Cast 'the_one'.*only casts to float32"),
    ],
)
def test_what_an_operator_cannot_do_is_said(change, complaint):
    with pytest.raises(BundleError, match=complaint):
        to_tflite(single(*change))


def test_only_the_batch_may_vary():
    import onnx

    model = onnx.load_from_string(single("Conv", [floats(8, 6, 3, 3)], {}))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    with pytest.raises(BundleError, match="varies by more than the batch"):
        to_tflite(model.SerializeToString())
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 3]))
    with pytest.raises(BundleError, match="one input and one output, not 2 and 1"):
        to_tflite(model.SerializeToString())


def test_a_missing_schema_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingDependencyError, match="pip install ai-edge-litert flatbuffers"):
        to_tflite(single(*SINGLE["relu"]))


def test_the_same_graph_gives_the_same_bytes_and_constants_are_aligned():
    _, graph = network("odd")
    data = to_tflite_int8(graph, value_ranges(graph, pictures(8, 32)))
    assert data == to_tflite_int8(graph, value_ranges(graph, pictures(8, 32)))
    model = load_schema().Model.GetRootAs(data, 0)
    start = np.frombuffer(data, np.uint8).ctypes.data
    filled = [b for b in (model.Buffers(i) for i in range(model.BuffersLength())) if not b.DataIsNone()]
    assert len(filled) > 10
    assert all((buffer.DataAsNumpy().ctypes.data - start) % ALIGNMENT == 0 for buffer in filled)


class TestRanges:
    def test_they_are_the_true_minimum_and_maximum(self, monkeypatch):
        images = np.random.default_rng(3).integers(0, 256, (21, 9, 7, 6)).astype(np.uint8)
        graph = single(*SINGLE["relu"])
        found = value_ranges(graph, images)
        values = images * np.float32(4 / 255) - np.float32(512 / 255)
        np.testing.assert_allclose(found["x"], (values.min(), values.max()), rtol=1e-6)
        assert found["y"][0] == 0.0 and found["embedding"] == found["y"]
        monkeypatch.setattr(ranges_module, "BATCH", 4)
        assert value_ranges(graph, images) == found

    def test_percentiles_leave_outliers_out(self):
        images = np.full((10, 9, 7, 6), 128, np.uint8)
        images[0, 0, 0, 0], images[1, 0, 0, 0] = 0, 255
        graph = single(*SINGLE["relu"])
        whole, clipped = value_ranges(graph, images), value_ranges(graph, images, percentile=99.0)
        assert whole["x"][0] < -1.9 and whole["x"][1] > 1.9
        assert -0.05 < clipped["x"][0] <= clipped["x"][1] < 0.05

    @pytest.mark.parametrize("count", [0, 1])
    def test_one_image_is_too_few(self, count):
        with pytest.raises(OptionError, match=f"{count} is too few"):
            value_ranges(single(*SINGLE["relu"]), np.zeros((count, 9, 7, 6), np.uint8))

    def test_percentiles_are_checked(self):
        for wrong in (50.0, 100.1, float("nan")):
            with pytest.raises(OptionError, match="percentile"):
                value_ranges(single(*SINGLE["relu"]), np.zeros((2, 9, 7, 6), np.uint8), percentile=wrong)

    def test_infinities_are_refused(self):
        graph = single("Div", [np.zeros((6, 1, 1), np.float32)], {})
        with pytest.raises(OptionError, match="infinities or NaN on these images, first at 'y'"):
            value_ranges(graph, np.random.default_rng(0).integers(0, 256, (2, 9, 7, 6)).astype(np.uint8))


class Spiked(nn.Module):
    """Three convolutions, of which the second has a channel so large that one scale for all leaves little of the rest;
    the third has weights that make up for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 16, 3)
        with torch.no_grad():
            self.second.weight[0] *= 3000.0
            self.second.bias[0] *= 3000.0
            self.third.weight[:, 0] /= 3000.0

    def forward(self, x: Tensor) -> Tensor:
        return self.third(F.relu(self.second(F.relu(self.first(x))))).mean((2, 3))


@pytest.fixture(scope="module")
def spiked() -> tuple[bytes, np.ndarray]:
    torch.manual_seed(0)
    return to_onnx(PixelsToEmbedding(Spiked().eval(), 3).eval(), 12, 12), pictures(16, 12)


class TestMixedPrecision:
    def test_the_layer_that_hurts_is_found_and_kept(self, spiked):
        graph, images = spiked
        found = value_ranges(graph, images)
        harm = harms(graph, found, images)
        assert set(harm) == set(layers(graph)) and min(harm, key=harm.get) == "backbone.second.weight"
        expected = LiteRTRunner(FP32, to_tflite(graph)).run(images)
        alone = LiteRTRunner(INT8, to_tflite_int8(graph, found)).run(images)
        kept = choose_kept(graph, found, images, 0.9995)
        mixed = LiteRTRunner(INT8, to_tflite_int8(graph, found, keep=kept)).run(images)
        assert kept[0] == "backbone.second.weight" and len(kept) < len(harm)
        assert cosines(alone, expected).min() < 0.9995 <= cosines(mixed, expected).min()
        assert choose_kept(graph, found, images, -1.0) == []

    def test_kept_weights_stay_as_they_were(self, spiked):
        graph, images = spiked
        tensors, _ = parts(to_tflite_int8(graph, value_ranges(graph, images), keep=["backbone.third.weight"]))
        kinds = {t.name.decode(): t.type for t in tensors}
        types = load_schema().TensorType
        assert kinds["backbone.third.weight"] == types.FLOAT32
        assert kinds["backbone.second.weight_int8"] == types.INT8

    def test_every_layer_kept_is_float32(self, spiked):
        graph, images = spiked
        same = to_tflite_int8(graph, value_ranges(graph, images), keep=layers(graph))
        got, expected = (LiteRTRunner(FP32, g).run(images) for g in (same, to_tflite(graph)))
        assert (got == expected).all()

    def test_what_is_left_in_float_can_be_asked_for(self, spiked):
        graph, images = spiked
        found = value_ranges(graph, images)
        assert left_in_float(graph, found) == []
        (kept,) = left_in_float(graph, found, keep=["backbone.third.weight"])
        assert kept.startswith("CONV_2D ")
        _, odd = network("odd")
        without_kernel = {name.split()[0] for name in left_in_float(odd, value_ranges(odd, pictures(4, 32)))}
        assert without_kernel == {"MAXIMUM", "MINIMUM", "MUL", "SUM", "SQRT", "DIV"}

    def test_ranges_of_another_graph(self, spiked):
        graph, images = spiked
        found = value_ranges(graph, images)
        del found["relu"]
        with pytest.raises(OptionError, match="ranges are of another graph: they lack relu"):
            to_tflite_int8(graph, found)

    def test_a_layer_that_is_not_there(self, spiked):
        graph, images = spiked
        with pytest.raises(OptionError, match=r"no layer is called fourth; there are .*backbone\.first\.weight"):
            to_tflite_int8(graph, value_ranges(graph, images), keep=["fourth"])

    def test_a_cosine_out_of_reach(self, spiked):
        graph, images = spiked
        with pytest.raises(OptionError, match="out of reach"):
            choose_kept(graph, value_ranges(graph, images), images, 1.1)
