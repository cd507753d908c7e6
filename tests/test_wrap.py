"""A model that nobody here exported becomes a bundle that computes what its file does, or is refused in words."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from wrapped_nets import HEIGHT, WIDTH, answers, net

from edgemeta import Bundle, Learner
from edgemeta.cli import main
from edgemeta.errors import BundleError, EdgemetaError, OptionError
from edgemeta.export import wrap as wrapping
from edgemeta.export.verifying import verify
from edgemeta.export.wrap import open_model, wrap
from edgemeta.export.wrap_onnx import OnnxModel
from edgemeta.normalisation import Normalisation

# These nets have random weights.
pytestmark = pytest.mark.filterwarnings("ignore:images of quite different things")
IMAGES = np.random.default_rng(11).integers(0, 256, (7, HEIGHT, WIDTH, 3)).astype(np.uint8)
IMAGES = (IMAGES * np.linspace(0.3, 1.0, 7)[:, None, None, None]).astype(np.uint8)  # or their means would be alike
LUMA = np.array([0.299, 0.587, 0.114])
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(model, name: str = "net.onnx") -> Path:
    path = Path(name)
    path.write_bytes(model.SerializeToString())
    return path


def raw(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    """What a device's runner gives, before the normalisation."""
    with Learner(bundle) as learner:
        return learner._embedder.raw(images)


def scaled(images: np.ndarray, how: str) -> np.ndarray:
    values = images.astype(np.float64)
    if how == "imagenet":
        return (values / 255 - IMAGENET[0]) / IMAGENET[1]
    if how == "127,64":
        return (values - 127) / 64
    if how == "1,2,3,4,5,6":
        return (values - [1, 2, 3]) / [4, 5, 6]
    return {"0..1": values / 255, "-1..1": values / 127.5 - 1, "raw": values}[how]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("how", ["0..1", "-1..1", "raw", "imagenet", "127,64", "1,2,3,4,5,6"])
def test_pixels_are_scaled_and_ordered_inside_the_graph(layout, order, how):
    model = net(layout=layout)
    bundle = wrap(saved(model), "x.edgemeta", output="flat", scale=how, channels=order)
    # imagenet's numbers are the colours', those that are given are the channels' own.
    values = scaled(IMAGES, how) if how == "imagenet" else scaled(IMAGES[..., :: 1 if order == "rgb" else -1], how)
    values = values[..., ::-1] if how == "imagenet" and order == "bgr" else values
    values = values.transpose(0, 3, 1, 2) if layout == "NCHW" else values
    expected = answers(model, "flat", values.astype(np.float32))
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert (bundle.input.height, bundle.input.width, bundle.dim) == (HEIGHT, WIDTH, 8)
    assert all(check.ok for check in verify(bundle))


def test_grey_models_get_luma():
    model = net(channels=1)
    bundle = wrap(saved(model), "x.edgemeta", output="auto", scale="0..1")
    grey = (IMAGES @ LUMA / 255)[:, None].astype(np.float32)
    np.testing.assert_allclose(raw(bundle, IMAGES), answers(model, "flat", grey), rtol=1e-4, atol=1e-5)
    for options in ({"scale": "imagenet"}, {"scale": "0..1", "channels": "bgr"}):
        with pytest.raises(OptionError, match="grey"):
            wrap("net.onnx", "y.edgemeta", output="auto", **options)


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_models_of_uint8_scale_by_themselves(layout, order):
    model = net(dtype=TensorProto.UINT8, layout=layout)
    bundle = wrap(saved(model), "x.edgemeta", output="flat", channels=order)
    given = IMAGES[..., :: 1 if order == "rgb" else -1]
    given = given.transpose(0, 3, 1, 2) if layout == "NCHW" else given
    np.testing.assert_allclose(raw(bundle, IMAGES), answers(model, "flat", given), rtol=1e-5)
    with pytest.raises(OptionError, match=r"leave --scale 0\.\.1 out"):
        wrap("net.onnx", "y.edgemeta", output="flat", scale="0..1")


def test_models_of_float16():
    model = net(dtype=TensorProto.FLOAT16)
    bundle = wrap(saved(model), "x.edgemeta", output="auto", scale="-1..1")
    assert bundle.variants[0].name == "onnx-fp16"
    expected = answers(model, "flat", scaled(IMAGES, "-1..1").transpose(0, 3, 1, 2).astype(np.float16))
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, rtol=5e-3, atol=5e-3)


def test_quantised_models_cut_where_the_numbers_are_real():
    model = net(tail="none")
    scale, zero = numpy_helper.from_array(np.float32(1 / 64), "s"), numpy_helper.from_array(np.uint8(0), "z")
    model.graph.initializer.extend([scale, zero])
    model.graph.node.append(helper.make_node("QuantizeLinear", ["flat", "s", "z"], ["stored"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["stored", "s", "z"], ["steps"]))
    model.graph.output[0].name = "steps"
    bundle = wrap(saved(model), "x.edgemeta", output="auto", scale="0..1")
    assert bundle.variants[0].name == "onnx-int8" and bundle.manifest.training["wrapped"]["tensor"] == "steps"
    expected = answers(model, "steps", scaled(IMAGES, "0..1").transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_array_equal(expected * 64, np.rint(expected * 64))
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, atol=1.01 / 64)
    with pytest.raises(OptionError, match="'stored' holds no real numbers; take 'steps'"):
        wrap("net.onnx", "y.edgemeta", output="stored", scale="0..1")


def test_int8_kernels_that_are_wrong_on_this_machine_are_told_from_a_wrong_graph(monkeypatch):
    """Fused int8 kernels saturate on x86 machines without VNNI."""
    monkeypatch.setattr(wrapping, "run_graph", lambda variant, graph, inputs: np.ones((len(inputs), 8), np.float32))
    saved(net())
    with pytest.raises(BundleError, match="fast kernels do not compute"):
        wrap("net.onnx", "x.edgemeta", output="flat", scale="0..1")
    monkeypatch.setattr("edgemeta.export.wrap_onnx._precision", lambda body: "int8")
    with pytest.warns(UserWarning, match="without VNNI"):
        wrap("net.onnx", "x.edgemeta", output="flat", scale="0..1")
    monkeypatch.setattr(OnnxModel, "plainly", wrapping.run_graph)
    with pytest.raises(BundleError, match="nothing was written"):
        wrap("net.onnx", "y.edgemeta", output="flat", scale="0..1")
    assert not Path("y.edgemeta").exists()


@pytest.mark.parametrize(
    ("batch", "flatten"), [(1, "flatten"), (1, "reshape"), (1, "fixed"), ("n", "flatten"), (2, "flatten")]
)
def test_any_number_of_images_whatever_the_file_fixes(batch, flatten):
    """Where the number is in the operators' constants, the images go through one by one, inside the graph."""
    model = net(batch=batch, flatten=flatten)
    bundle = wrap(saved(model), "x.edgemeta", output="flat", scale="0..1")
    values = scaled(IMAGES, "0..1").transpose(0, 3, 1, 2).astype(np.float32)
    model = net(batch="n", flatten=flatten)
    expected = answers(model, "flat", values)
    for count in (1, 3, 7):
        np.testing.assert_allclose(raw(bundle, IMAGES[:count]), expected[:count], rtol=1e-4, atol=1e-5)
    codes = [node.op_type for node in onnx.load_from_string(bundle.graph("onnx-fp32")).graph.node]
    assert (codes == ["Scan"]) == (flatten == "fixed")


def test_names_that_the_model_has_already():
    model = net()
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "image" else name for name in node.input]
        node.output[:] = ["embedding" if name == "map" else name for name in node.output]
        node.input[:] = ["embedding" if name == "map" else name for name in node.input]
    model.graph.input[0].name = "pixels"
    bundle = wrap(saved(model), "x.edgemeta", output="flat", scale="0..1")
    values = scaled(IMAGES, "0..1").transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(raw(bundle, IMAGES), answers(net(), "flat", values), rtol=1e-4, atol=1e-5)


def test_constants_listed_as_inputs_and_functions_of_the_models_own():
    model = net()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    relu = model.graph.node[1]
    relu.op_type, relu.domain = "Mine", "own"
    body = helper.make_node("Relu", ["x"], ["y"])
    function = helper.make_function("own", "Mine", ["x"], ["y"], [body], [helper.make_opsetid("", 18)])
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    bundle = wrap(saved(model), "x.edgemeta", output="auto", scale="0..1")
    values = scaled(IMAGES, "0..1").transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(raw(bundle, IMAGES), answers(net(), "flat", values), rtol=1e-4, atol=1e-5)


def test_open_height_and_width_need_a_size(capsys):
    saved(net(size=("h", "w")))
    arguments = ["wrap", "net.onnx", "--output", "auto", "--scale", "0..1", "--out", "x.edgemeta"]
    assert main(arguments) == 2 and "--size 224" in capsys.readouterr().err
    assert main([*arguments, "--size", "16x20"]) == 0
    assert (Bundle.open("x.edgemeta").input.height, Bundle.open("x.edgemeta").input.width) == (16, 20)
    saved(net())
    assert main([*arguments, "--size", "16"]) == 2 and "12 x 10" in capsys.readouterr().err
    assert main([*arguments, "--size", "0"]) == 2 and "--size is" in capsys.readouterr().err


def test_what_the_file_says_of_its_pixels():
    model = net()
    helper.set_model_props(model, {"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"})
    said = wrap(saved(model), "x.edgemeta", output="auto")
    told = wrap(saved(net()), "y.edgemeta", output="auto", scale="-1..1", channels="bgr")
    np.testing.assert_array_equal(raw(said, IMAGES), raw(told, IMAGES))


# Which tensor.


def test_candidates_are_listed_best_first(capsys):
    saved(net(tail="hidden"))
    assert main(["wrap", "net.onnx"]) == 2
    said = capsys.readouterr()
    rows = [line.split()[0] for line in said.out.splitlines()[2:]]
    assert rows[:2] == ["hidden", "linear"] and rows[-1] == "probabilities"
    assert "--output 'hidden'" in said.err and "--scale" in said.err
    assert main(["wrap", "net.onnx", "--json"]) == 2
    tensors = {row["tensor"]: row for row in json.loads(capsys.readouterr().out)["tensors"]}
    assert tensors["flat"]["looks like"] == "pooled features" and tensors["linear"]["looks like"] == "hidden layer"
    assert tensors["logits"]["kind"] == "logits" and tensors["probabilities"]["kind"] == "softmax"
    assert tensors["hidden"]["shape"] == [8] and "pooled" not in tensors and "map" not in tensors


def test_auto_takes_the_clearly_best():
    for tail, expected in (("softmax", "flat"), ("hidden", "hidden"), ("none", "flat"), ("logits", "flat")):
        bundle = wrap(saved(net(tail=tail)), "x.edgemeta", output="auto", scale="0..1")
        assert bundle.manifest.training["wrapped"]["tensor"] == expected


def test_a_linear_output_may_be_an_embedding(capsys):
    model = net(tail="none")
    wide = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(wide, "wide"))
    model.graph.node.append(helper.make_node("MatMul", ["flat", "wide"], ["projected"]))
    model.graph.output[0].name = "projected"
    saved(model)
    arguments = ["wrap", "net.onnx", "--scale", "0..1", "--out", "x.edgemeta", "--output"]
    assert main([*arguments, "auto"]) == 2 and "no tensor is clearly the best" in capsys.readouterr().err
    assert main([*arguments, "projected"]) == 0
    assert "'flat' (pooled features) is the better tensor" in capsys.readouterr().err
    assert Bundle.open("x.edgemeta").dim == 64


def test_gates_inside_are_no_embeddings():
    """The squeezed maps of squeeze-and-excite: vectors in the middle of the model."""
    model = net()
    gate = [
        helper.make_node("GlobalAveragePool", ["map"], ["squeezed"]),
        helper.make_node("Sigmoid", ["squeezed"], ["gate"]),
        helper.make_node("Mul", ["map", "gate"], ["excited"]),
    ]
    nodes = list(model.graph.node)
    nodes[2].input[0] = "excited"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:2], *gate, *nodes[2:]])
    found = open_model(saved(model))[0].candidates
    assert [one.tensor for one in found.best][:3] == ["flat", "logits", "product"]
    assert {found.all[name].kind for name in ("squeezed", "gate")} == {"inner"}


@pytest.mark.parametrize(("tensor", "what"), [("logits", "logits"), ("probabilities", "softmax")])
def test_a_classifiers_answer_is_warned_about(tensor, what):
    saved(net())
    with pytest.warns(UserWarning, match=rf"classifier's answer \({what}\).*'flat' \(pooled features\) is the better"):
        bundle = wrap("net.onnx", "x.edgemeta", output=tensor, scale="0..1")
    assert bundle.dim == 5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap("net.onnx", "x.edgemeta", output="flat", scale="0..1")


def test_embeddings_that_are_all_alike_are_warned_about():
    model = net()
    b = next(t for t in model.graph.initializer if t.name == "b")
    for bias in (50.0, -50.0):  # nearly the same, and nothing at all
        b.CopyFrom(numpy_helper.from_array(np.full(8, bias, dtype=np.float32), "b"))
        with pytest.warns(UserWarning, match="nearly the same embedding"):
            wrap(saved(model), "x.edgemeta", output="flat", scale="0..1")


# The bundle.


def test_the_id_follows_all_that_an_embedding_depends_on():
    def made(path="net.onnx", output="flat", scale="0..1", **more) -> bytes:
        return wrap(path, "x.edgemeta", output=output, scale=scale, **more).embedding_id

    saved(net())
    first = made()
    saved(net(), "other name.onnx")
    assert made("other name.onnx") == first and made(name="called-otherwise") == first
    others = {made(scale="-1..1"), made(channels="bgr"), made(normalisation=Normalisation(power=0.5))}
    others |= {made(output="pooled"), made(saved(net(tail="none"), "b.onnx"))}
    assert len(others | {first}) == 6


def test_the_same_file_gives_the_same_bytes_and_no_path():
    path = saved(net()).absolute()
    first = wrap(path, "x.edgemeta", output="flat", scale="0..1").sha256
    assert wrap("net.onnx", "x.edgemeta", output="flat", scale="0..1").sha256 == first
    assert str(path.parent).encode() not in Path("x.edgemeta").read_bytes()


def test_learn_with_it_and_show_it(capsys):
    saved(net())
    arguments = ["wrap", "net.onnx", "--output", "auto", "--scale", "0..1", "--out", "x.edgemeta"]
    assert main([*arguments, "--licence", "model|MIT|Somebody", "--name", "theirs"]) == 0
    said = capsys.readouterr().out
    assert "the embedding is flat: pooled features" in said and "scaled as 0..1, rgb" in said
    bundle = Bundle.open("x.edgemeta")
    assert bundle.name == "theirs" and bundle.manifest.licences[0].licence == "MIT"
    assert main(["verify", "x.edgemeta"]) == 0
    with Learner(bundle) as learner:
        dark, light = IMAGES // 3, 255 - IMAGES // 3
        learner.learn_many(list(dark[:3]), "dark")
        learner.learn_many(list(light[:3]), "light")
        assert [p.label for p in learner.predict_many([*dark[3:], *light[3:]])] == ["dark"] * 4 + ["light"] * 4
    assert bundle.head.name == "lda"
    assert main([*arguments, "--json", "--head", "cosine"]) == 0 and Bundle.open("x.edgemeta").head.name == "cosine"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["variant"] == "onnx-fp32"


# Bad input.


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w\x1b[31m.bin")


def _custom(model):
    model.graph.node[1].op_type, model.graph.node[1].domain = "Fancy", "them"
    model.opset_import.append(helper.make_opsetid("them", 1))


def _two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n"]))


def _flat_input(model):
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 120]))


def _four_colours(model):
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4, 9, 9]))


def _text_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


def _old(model):
    model.opset_import[0].version = 5


def _broken(model):
    model.graph.node[0].op_type = "NoSuchOperator"


def _infinite(model):
    w = next(t for t in model.graph.initializer if t.name == "w")
    w.CopyFrom(numpy_helper.from_array(np.full((8, 3, 3, 3), np.inf, dtype=np.float32), "w"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_external, r"weights are in another file (w\x1b[31m.bin)"),
        (_custom, "operators that are not the format's own (them.Fancy)"),
        (_two_inputs, "has 2: image, mask"),
        (_flat_input, "has 2 axes; a batch of images has 4"),
        (_four_colours, "no axis of 3 colours"),
        (_text_input, "no pixels"),
        (_old, "opset"),
        (_broken, "ONNX Runtime refuses the model"),
        (_infinite, "NaN or infinity"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_models_that_are_refused(change, said, capsys):
    model = net()
    change(model)
    refused(model.SerializeToString(), "net.onnx", said, capsys)


def refused(content: bytes, name: str, said: str, capsys, *options: str) -> None:
    """Exit status 2, one plain line (or the list of choices), and the bundle that was there stays."""
    Path(name).write_bytes(content)
    Path("x.edgemeta").write_bytes(b"was here before")
    options = options or ("--output", "flat", "--scale", "0..1")
    assert main(["wrap", name, "--out", "x.edgemeta", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and "\x1b" not in error
    assert Path("x.edgemeta").read_bytes() == b"was here before"
    assert sorted(p.name for p in Path().iterdir()) == sorted([name, "x.edgemeta"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--output", "flat"), "does not say how its input (12 x 10 x 3 float32, NCHW) is scaled"),
        (("--output", "flat", "--scale", "torch"), "imagenet   torchvision's"),
        (("--output", "flat", "--scale", "0.5,0.5"), "127.5,127.5"),
        (("--output", "flat", "--scale", "0,0"), "is none of"),
        (("--output", "flat", "--scale", "nan,1"), "is none of"),
        (("--output", "flat", "--scale", "1,2,3"), "is none of"),
        (("--output", "flatt", "--scale", "0..1"), "near are 'flat'"),
        (("--output", "zzz", "--scale", "0..1"), "take 'flat'"),
        (("--output", "map", "--scale", "0..1"), "'map' is 8 x 12 x 10 an image, no vector to learn from; take 'flat'"),
        (("--output", "w", "--scale", "0..1"), "there is no tensor 'w' to cut at"),
        (("--output", "image", "--scale", "0..1"), "there is no tensor 'image' to cut at"),
        (("--output", "flat", "--scale", "0..1", "--name", "a/b"), "--name"),
        (("--output", "flat", "--scale", "0..1", "--licence", "MIT"), "--licence is WHAT"),
        (("--output", "flat", "--scale", "0..1", "--head", "best"), "best"),
    ],
)
def test_requests_that_are_refused(options, said, capsys):
    refused(net().SerializeToString(), "net.onnx", said, capsys, *options)


def test_files_that_are_no_models(capsys):
    refused(b"", "net.onnx", "no ONNX file", capsys)
    refused(b"not a model at all", "net.onnx", "no sound ONNX file", capsys)
    Path("net.onnx").unlink()
    refused(net().SerializeToString(), "net.pb", "wrap takes a .onnx or a .tflite file", capsys)
    assert main(["wrap", "nowhere.onnx"]) == 2 and "nowhere.onnx cannot be read" in capsys.readouterr().err
    assert main(["wrap", "net.pb", "--output", "flat"]) == 2 and "--out NAME.edgemeta" in capsys.readouterr().err
    assert main(["wrap", "net.pb", "--output", "flat", "--out", "x"]) == 2 and "x.edgemeta" in capsys.readouterr().err


def test_custom_operators_behind_the_cut_are_left_out():
    model = net()
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "Fancy", "them"
    model.opset_import.append(helper.make_opsetid("them", 1))
    bundle = wrap(saved(model), "x.edgemeta", output="pooled", scale="0..1")
    values = scaled(IMAGES, "0..1").transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_allclose(raw(bundle, IMAGES), answers(net(), "pooled", values), rtol=1e-4, atol=1e-5)


def test_damaged_onnx_files_are_refused_or_whole(rng):
    content = net().SerializeToString()
    for cut in rng.integers(1, len(content), 60):
        damaged = bytearray(content[:cut] if cut % 2 else content)
        damaged[int(cut) - 1] ^= 1 << int(cut) % 8
        Path("d.onnx").write_bytes(damaged)
        try:
            open_model("d.onnx")
        except EdgemetaError as error:
            assert str(error)
