"""TFLite files that nobody here wrote: some made for what there is to get wrong, and real ones that others share."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

from bench_wrapped import MODELS as REAL
from test_wrap import IMAGES, LUMA, raw, refused, scaled
from wrapped_nets import tflite_answers, tflite_net

from edgemeta import Bundle, Learner
from edgemeta.cli import main
from edgemeta.errors import EdgemetaError
from edgemeta.export.tflite_file import load_schema
from edgemeta.export.verifying import verify
from edgemeta.export.wrap import open_model, wrap
from edgemeta.imaging import as_pixels, fit

# Nets with random weights.
pytestmark = pytest.mark.filterwarnings("ignore:images of quite different things")


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(content: bytes, name: str = "net.tflite") -> Path:
    Path(name).write_bytes(content)
    return Path(name)


def plainly(bundle: Bundle, images: np.ndarray) -> np.ndarray:
    """The bundle's graph in the reference kernels."""
    variant = bundle.variants[0]
    return tflite_answers(bundle.graph(variant.name), variant.output, images)


def rewritten(content: bytes, change) -> bytes:
    """The file with something changed in it."""
    import flatbuffers

    schema = load_schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    change(model, schema)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("how", ["0..1", "-1..1", "raw", "imagenet", "127,64", "1,2,3,4,5,6"])
def test_pixels_are_scaled_and_ordered_inside_the_graph(order, how):
    content = tflite_net()
    bundle = wrap(saved(content), "x.edgemeta", output="auto", scale=how, channels=order)
    values = scaled(IMAGES, how) if how == "imagenet" else scaled(IMAGES[..., :: 1 if order == "rgb" else -1], how)
    values = values[..., ::-1] if how == "imagenet" and order == "bgr" else values
    expected = tflite_answers(content, "flat", values)
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert bundle.variants[0].name == "tflite-fp32" and bundle.dim == 8
    assert all(check.ok for check in verify(bundle))


@pytest.mark.parametrize("batch", [-1, 1])
@pytest.mark.parametrize("tensor", ["pooled", "flat", "logits", "probabilities"])
@pytest.mark.parametrize(
    ("kind", "steps", "how"),
    [
        ("uint8", (1 / 128, 128), "-1..1"),
        ("int8", (1 / 255, -128), "0..1"),
        ("int8", (1.0, -128), "raw"),
        ("uint8", (1.0, 0), "raw"),
    ],
)
def test_a_quantised_input_says_its_scaling(kind, steps, how, tensor, batch):
    """And the wrapped graph gives the very numbers of the file's."""
    content = tflite_net(kind, steps=steps, batch=batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bundle = wrap(saved(content), "x.edgemeta", output=tensor)
    stored = IMAGES if kind == "uint8" else (IMAGES.astype(np.int16) - 128).astype(np.int8)
    expected = tflite_answers(content, tensor, stored)
    np.testing.assert_array_equal(plainly(bundle, IMAGES), expected)
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, atol=0.025)  # a step or two of 0.01
    assert bundle.variants[0].name == "tflite-int8"
    assert len({tuple(row) for row in expected}) == len(IMAGES)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_another_scaling_or_order_than_the_quantised_input_says(kind):
    zero = -128 if kind == "int8" else 0
    content = tflite_net(kind, steps=(4.8 / 255, zero + 112))  # -2.1 to 2.7, as imagenet's scaling makes them
    with pytest.raises(EdgemetaError, match="how its input"):
        wrap(saved(content), "x.edgemeta", output="auto")
    bundle = wrap("net.tflite", "x.edgemeta", output="auto", scale="imagenet", channels="bgr")
    values = scaled(IMAGES, "imagenet")[..., ::-1]
    np.testing.assert_allclose(plainly(bundle, IMAGES), tflite_answers(content, "flat", values), atol=0.011)
    with pytest.raises(EdgemetaError, match="another scaling is meant"):
        wrap("net.tflite", "x.edgemeta", output="auto", scale="raw")


def test_grey_models_get_luma():
    content = tflite_net(channels=1)
    bundle = wrap(saved(content), "x.edgemeta", output="auto", scale="0..1")
    grey = (IMAGES @ LUMA / 255)[..., None]
    np.testing.assert_allclose(raw(bundle, IMAGES), tflite_answers(content, "flat", grey), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_any_number_of_images(kind):
    """A RESHAPE to one row in a file that says it takes any number would stop that."""
    content = tflite_net(kind, batch=-1)

    def change(model, schema):
        place = next(i for i, t in enumerate(model.subgraphs[0].tensors) if t.name == b"shape")
        model.buffers[model.subgraphs[0].tensors[place].buffer].data = list(np.array([1, 8], "<i4").tobytes())

    bundle = wrap(saved(rewritten(content, change)), "x.edgemeta", output="flat", scale="0..1")
    alone = np.concatenate([raw(bundle, image[None]) for image in IMAGES])
    np.testing.assert_allclose(raw(bundle, IMAGES), alone, rtol=1e-5)
    from edgemeta.runners.litert import load_runtime

    runtime = load_runtime().Interpreter(model_content=bundle.graph(bundle.variants[0].name))
    assert runtime.get_input_details()[0]["shape_signature"][0] == -1


def metadata(mean: list[float], std: list[float]) -> bytes:
    """A file's metadata with a NormalizationOptions of its one input, by metadata_schema.fbs."""
    import flatbuffers

    builder = flatbuffers.Builder(256)

    def table(fields: int, **values) -> int:
        builder.StartObject(fields)
        for place, value in values.items():
            if place == "kind":
                builder.PrependUint8Slot(0, value, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(int(place[1:]), value, 0)
        return builder.EndObject()

    def vector(place: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(place)
        return builder.EndVector()

    numbers = [builder.CreateNumpyVector(np.array(values, dtype=np.float32)) for values in (mean, std)]
    unit = table(2, kind=1, _1=table(2, _0=numbers[0], _1=numbers[1]))
    tensor = table(7, _4=vector(unit))
    subgraph = table(4, _2=vector(tensor))
    builder.Finish(table(8, _3=vector(subgraph)), file_identifier=b"M001")
    return bytes(builder.Output())


def with_metadata(content: bytes, data: bytes) -> bytes:
    def change(model, schema):
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer, buffer.data = "TFLITE_METADATA", len(model.buffers), list(data)
        model.buffers.append(buffer)
        model.metadata = [entry]

    return rewritten(content, change)


@pytest.mark.parametrize("numbers", [([127.5], [127.5]), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])])
def test_metadata_say_the_scaling(numbers):
    said = wrap(saved(with_metadata(tflite_net(), metadata(*numbers))), "x.edgemeta", output="auto")
    told = wrap(saved(tflite_net()), "y.edgemeta", output="auto", scale=",".join(map(str, [*numbers[0], *numbers[1]])))
    np.testing.assert_array_equal(raw(said, IMAGES), raw(told, IMAGES))


def test_metadata_that_make_no_sense_say_nothing(rng):
    whole = metadata([127.5], [127.5])
    for bad in (
        metadata([0.0], [0.0]),
        metadata([1.0, 2.0], [1.0, 2.0]),
        metadata([float("nan")], [1.0]),
        b"",
        whole[:30],
    ):
        with pytest.raises(EdgemetaError, match="does not say"):
            wrap(saved(with_metadata(tflite_net(), bad)), "x.edgemeta", output="auto")
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        open_model(saved(with_metadata(tflite_net(), bytes(damaged))))


def test_the_list_and_the_warnings(capsys):
    saved(tflite_net("int8"))
    assert main(["wrap", "net.tflite"]) == 2
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()[2:]] == ["flat", "logits", "probabilities"]
    assert "--output 'flat'" in said.err and "--scale" not in said.err
    assert main(["wrap", "net.tflite", "--output", "logits", "--out", "x.edgemeta"]) == 0
    assert "'flat' (pooled features) is the better tensor" in capsys.readouterr().err


def test_nothing_of_the_rest_of_the_file_is_kept():
    content = tflite_net("int8")
    bundle = wrap(saved(content), "x.edgemeta", output="flat")
    graph = bundle.graph("tflite-int8")
    assert b"probabilities" not in graph and b"wl" not in graph and b"map" in graph


# Bad input.


def _version(model, schema):
    model.version = 4


def _two_inputs(model, schema):
    model.subgraphs[0].inputs = [*model.subgraphs[0].inputs, 1]


def _custom(model, schema):
    code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "Fancy\x1b[31m"


def _variable(model, schema):
    model.subgraphs[0].tensors[model.subgraphs[0].operators[1].inputs[0]].isVariable = True


def _elsewhere(model, schema):
    model.buffers[-1].offset, model.buffers[-1].size = 5000, 10


def _no_such_tensor(model, schema):
    model.subgraphs[0].operators[1].inputs = [99]


def _open_size(model, schema):
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shapeSignature = [-1, -1, -1, 3]


def _flat_input(model, schema):
    tensor = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
    tensor.shape = tensor.shapeSignature = [1, 360]


def _other_type(model, schema):
    model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].type = schema.TensorType.STRING


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_version, "version 4 of TFLite's schema"),
        (_two_inputs, "has 2: image"),
        (_custom, r"not TFLite's own (Fancy\x1b[31m)"),
        (_variable, "variable tensors"),
        (_elsewhere, "outside the flatbuffer"),
        (_no_such_tensor, "damaged"),
        (_open_size, "open"),
        (_flat_input, "a batch of images has 4"),
        (_other_type, "a batch of images has 4"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_models_that_are_refused(change, said, capfd):
    content = rewritten(tflite_net(), change)
    refused(content, "net.tflite", said, capfd)


def test_custom_operators_behind_the_cut_are_left_out():
    content = tflite_net()

    def change(model, schema):
        code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = "TFLite_Detection_PostProcess"

    bundle = wrap(saved(rewritten(content, change)), "x.edgemeta", output="flat", scale="0..1")
    expected = tflite_answers(content, "flat", scaled(IMAGES, "0..1"))
    np.testing.assert_allclose(raw(bundle, IMAGES), expected, rtol=1e-4, atol=1e-5)


def test_files_that_are_no_models(capsys):
    refused(b"", "net.tflite", "TFL3 is missing", capsys)
    refused(b"\0" * 400, "net.tflite", "TFL3 is missing", capsys)
    refused(b"\x20\0\0\0TFL3" + b"\xff" * 400, "net.tflite", "no sound TFLite file", capsys)


def test_damaged_files_are_refused_or_whole(rng):
    content = tflite_net("int8")
    for cut in rng.integers(8, len(content), 120):
        damaged = bytearray(content[:cut] if cut % 2 else content)
        damaged[int(cut) - 1] ^= 1 << int(cut) % 8
        saved(damaged, "d.tflite")
        try:
            open_model("d.tflite")
        except EdgemetaError as error:
            assert "\x1b" not in str(error)


# Real models.

MODELS = SHARED / "models"
PHOTOS = MODELS / "coral" / "images"


@pytest.fixture(scope="module")
def models() -> Path:
    if not PHOTOS.exists():
        pytest.skip(f"the models that others wrote are not at {MODELS}")
    return MODELS


def photos(height: int, width: int, pattern: str = "*.bmp") -> dict[str, np.ndarray]:
    return {path.stem: fit(as_pixels(path), height, width) for path in sorted(PHOTOS.glob(pattern))}


@pytest.mark.parametrize("name", REAL)
def test_real_models_are_wrapped_verified_and_used(models, name):
    content = (models / f"{name}.tflite").read_bytes()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        bundle = wrap(models / f"{name}.tflite", "x.edgemeta", output="auto", scale=REAL[name])
    assert ["nearly the same embedding" in str(w.message) for w in said] == [True] * ("vww" in name)
    assert all(check.ok for check in verify(bundle))
    shown = photos(bundle.input.height, bundle.input.width)
    images = np.stack(list(shown.values()))
    tensor = bundle.manifest.training["wrapped"]["tensor"]
    few = images[:2]
    stored = few.astype(np.float64) / (255 if REAL[name] == "0..1" else 1)
    if REAL[name] is None:  # quantised: the pixels as they are, from 0 or from -128
        stored = few if "mobilenet" in name else (few.astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_allclose(plainly(bundle, few), tflite_answers(content, tensor, stored), rtol=1e-4, atol=1e-4)
    with Learner(bundle) as learner:
        for label, image in shown.items():
            learner.learn(image, label)
        # What the net for wake words makes of most images is one vector; the others know a mirrored photo again.
        asked = images if "vww" in name else images[:, :, ::-1]
        assert [p.nearest for p in learner.predict_many(list(asked))] == list(shown)


@pytest.mark.parametrize("name", [name for name in REAL if "mobilenet" in name])
def test_one_or_two_photos_of_a_cat_a_dog_and_a_hotdog_are_enough(models, name):
    bundle = wrap(models / f"{name}.tflite", "x.edgemeta", output="auto")
    with Learner(bundle) as learner:
        for path in sorted(PHOTOS.glob("*_train_*.bmp")):
            learner.learn(as_pixels(path), path.name.split("_")[0])
        for path in sorted(PHOTOS.glob("*_test_*.bmp")):
            assert learner.predict(as_pixels(path)).label == path.name.split("_")[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mlperf_tiny/str_ww_ref_model.tflite", "no axis of 3 colours"),
        ("mlperf_tiny/kws_ref_model.tflite", "another scaling is meant, or this is no model of images"),
        ("audio/melspectrogram.onnx", "has 2 axes; a batch of images has 4"),
    ],
)
def test_models_of_sound_are_refused(models, name, said, capsys):
    arguments = ["wrap", str(models / name), "--output", "auto", "--scale", "raw", "--out", "x.edgemeta"]
    assert main(arguments) == 2 and said in capsys.readouterr().err and not Path("x.edgemeta").exists()


def test_a_spectrogram_is_a_grey_image_if_the_user_says_so(models, capsys):
    model = models / "audio" / "embedding_model.onnx"
    assert main(["wrap", str(model), "--output", "conv2d_19", "--out", "x.edgemeta"]) == 2
    assert "76 x 32 x 1" in capsys.readouterr().err
    bundle = wrap(model, "x.edgemeta", output="conv2d_19", scale="0,10")
    assert bundle.dim == 96 and all(check.ok for check in verify(bundle))
