"""What is exported: torch modules and timm models, in every format and precision; and what verify says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm_alone
import torch
from mobilenet import MobileNetV2
from torch import nn

from edgemeta import Bundle, Learner
from edgemeta.bundle import write_bundle
from edgemeta.cli import main
from edgemeta.data import Glyphs
from edgemeta.errors import BundleError, EdgemetaError, OptionError
from edgemeta.evaluation import as_rgb, bundle_embed
from edgemeta.export import export, onnx_int8
from edgemeta.export.bundling import export_source
from edgemeta.export.simulating import simulate, worst_cosine
from edgemeta.export.sources import from_module, from_timm
from edgemeta.export.variants import Wanted, make_variants, pick_images
from edgemeta.export.verifying import verify
from edgemeta.meta.config import TrainConfig
from edgemeta.meta.trainer import train

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
EVERYTHING = ["onnx-fp32", "onnx-fp16", "onnx-int8", "tflite-fp32", "tflite-fp16", "tflite-int8"]


def images(side: int, count: int = 40) -> np.ndarray:
    return as_rgb(Glyphs(seed=5, alphabets=2, characters=10, drawers=2).load(side, side).pixels[:count])


def small_net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 24, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
    ).eval()


@pytest.fixture(scope="module")
def everything(tmp_path_factory) -> Bundle:
    """A small net in all variants."""
    source = from_module(small_net(), torch.zeros(1, 3, 32, 32), **IMAGENET)
    wanted = Wanted(("onnx", "tflite"), ("fp32", "fp16", "int8"), images(32))
    return export_source(source, tmp_path_factory.mktemp("all") / "all.edgemeta", wanted=wanted)


def embeddings(bundle: Bundle, variant: str, pixels: np.ndarray) -> np.ndarray:
    with Learner(bundle, variant=variant) as learner:
        return bundle_embed(learner)(pixels)


class TestModules:
    def test_the_bundle_computes_what_the_module_computes(self, everything, rng):
        pixels = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
        mean, std = (np.float32(IMAGENET[key]) for key in ("mean", "std"))
        x = torch.from_numpy(((pixels / np.float32(255) - mean) / std).transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            wanted = small_net()(x).flatten(1).numpy()
        for variant, low in (("onnx-fp32", 0.99999), ("tflite-fp32", 0.99999), ("onnx-fp16", 0.9999)):
            found = embeddings(everything, variant, pixels)
            assert worst_cosine(found, wanted) > low
            if "fp32" in variant:
                assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()

    def test_scaling_and_size_belong_to_the_identity(self):
        example = torch.zeros(1, 3, 32, 32)
        one = from_module(small_net(), example, **IMAGENET)
        assert one.embedding_id == from_module(small_net(), example, **IMAGENET).embedding_id
        assert one.embedding_id != from_module(small_net(), example).embedding_id
        assert one.embedding_id != from_module(small_net(), torch.zeros(1, 3, 32, 40), **IMAGENET).embedding_id

    @pytest.mark.parametrize(
        ("module", "example", "says"),
        [
            ("net", torch.zeros(1, 3, 8, 8), "torch.nn.Module, not str"),
            (nn.Flatten(), torch.zeros(3, 8, 8), "example_input"),
            (nn.Flatten(), None, "example_input"),
            (nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8), "not one vector each"),
            (nn.Linear(7, 7), torch.zeros(1, 3, 8, 8), "does not run"),
        ],
    )
    def test_what_cannot_be_exported_is_said(self, module, example, says):
        with pytest.raises(OptionError, match=says):
            from_module(module, example)

    def test_a_module_with_branches_leaves_nothing_behind(self, tmp_path):
        class Branching(nn.Module):
            def forward(self, x):
                y = x.flatten(1)
                return y * 2 if float(y.sum()) > 0 else y

        source = from_module(Branching(), torch.zeros(1, 3, 8, 8))
        with pytest.raises(BundleError, match="torch could not export this module"):
            export_source(source, tmp_path / "x.edgemeta")
        assert not list(tmp_path.iterdir())


class TestOneCall:
    def test_a_module(self, tmp_path):
        bundle = export(
            small_net(),
            tmp_path / "x.edgemeta",
            example_input=torch.zeros(1, 3, 32, 32),
            **IMAGENET,
            formats=["tflite"],
            precisions=["fp32", "int8"],
            calibrate=images(32)[..., 0],
        )
        assert [v.name for v in bundle.variants] == ["tflite-fp32", "tflite-int8"] and bundle.name == "x"
        with Learner(bundle) as learner:
            learner.learn(images(64)[0], "a")
            assert learner.predict(images(64)[0]).label == "a"

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"source": small_net()}, "needs example_input"),
            ({"source": "run", "example_input": torch.zeros(1, 3, 8, 8)}, "example_input is for a module"),
            ({"source": "/no/such/run"}, "no"),
            ({"calibrate": images(40)}, "uint8 images of 32 x 32"),
        ],
    )
    def test_what_cannot_be_is_said(self, tmp_path, options, says):
        given = {"source": small_net(), "example_input": torch.zeros(1, 3, 32, 32), "out": tmp_path / "x.edgemeta"}
        if "source" in options:
            del given["example_input"]
        with pytest.raises(EdgemetaError, match=says):
            export(**{**given, **options})
        assert not list(tmp_path.iterdir())


class TestVariants:
    def test_names_sizes_and_order(self, everything):
        assert [v.name for v in everything.variants] == EVERYTHING
        sizes = {v.name: len(everything.graph(v.name)) for v in everything.variants}
        assert all(v.tolerance is not None for v in everything.variants if v.precision == "int8")
        assert all(v.tolerance is None for v in everything.variants if v.precision != "int8")
        assert sizes["tflite-fp16"] < sizes["tflite-fp32"]

    def test_int8_of_a_real_net_is_small_and_near(self):
        torch.manual_seed(0)
        source = from_module(MobileNetV2().eval(), torch.zeros(1, 3, 96, 96))
        from edgemeta.export.onnx import to_onnx

        graph = to_onnx(source.module, 96, 96)
        made = dict(make_variants(graph, Wanted(("onnx", "tflite"), ("fp32", "int8"), images(96))))
        by_name = {variant.name: (variant, data) for variant, data in made.items()}
        expected = simulate(*by_name["onnx-fp32"], images(96, 8))
        for name in ("onnx-int8", "tflite-int8"):
            variant, data = by_name[name]
            assert len(data) <= len(graph) / 3  # every channel has a scale and a zero point of its own
            assert worst_cosine(simulate(variant, data, images(96, 8)), expected) > 0.98

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"formats": ("caffe",)}, "--format is one or more of onnx, tflite"),
            ({"formats": ()}, "--format"),
            ({"precisions": ("fp32", "fp32")}, "--precision"),
            ({"precisions": ("int8",)}, "--calibrate"),
            ({"precisions": ("int8",), "images": images(16, 40)[:1]}, "at least 8 different images"),
            ({"precisions": ("int8",), "images": np.repeat(images(16, 1), 20, axis=0)}, "these are 1"),
        ],
    )
    def test_what_cannot_be_is_said(self, options, says):
        with pytest.raises(OptionError, match=says):
            Wanted(**options)

    def test_images_are_picked_from_everywhere(self):
        pixels = np.arange(1000, dtype=np.uint8)[:, None]
        assert len(pick_images(pixels)) == 100 and len(pick_images(pixels[:7])) == 7
        assert (np.diff(np.flatnonzero(np.isin(pixels, pick_images(pixels)))) >= 0).all()

    def test_int8_is_the_same_bytes_again(self, everything):
        graph = everything.graph("onnx-fp32")
        assert onnx_int8.to_int8(graph, images(32)) == onnx_int8.to_int8(graph, images(32))

    def test_learning_is_the_same_in_all_but_int8(self, everything):
        """A net that was never trained tells these glyphs apart by less than 8 bits hold."""
        shown = images(32, 40)
        labels = [f"{i // 4}" for i in range(40)]
        said = []
        for name in (name for name in EVERYTHING if "int8" not in name):
            with Learner(everything, variant=name) as learner:
                learner.learn_many(list(shown[::2]), labels[::2])
                said.append([p.label for p in learner.predict_many(list(shown[1::2]))])
        agree = [np.mean([a == b for a, b in zip(said[0], other, strict=True)]) for other in said]
        assert min(agree) >= 0.9


class TestVerify:
    def test_everything_passes(self, everything):
        checks = verify(everything)
        assert [c.variant for c in checks] == EVERYTHING and all(c.ok and not c.why for c in checks)
        assert all(c.nbytes > 0 and c.milliseconds > 0 for c in checks)

    def test_a_variant_of_another_net_fails(self, everything, tmp_path):
        other = from_module(
            nn.Sequential(*small_net()[:3], nn.Conv2d(8, 24, 1), *small_net()[4:]), torch.zeros(1, 3, 32, 32)
        )
        from edgemeta.export.onnx import to_onnx

        wrong = to_onnx(other.module, 32, 32)
        variants = [(v, wrong if v.name == "onnx-fp16" else everything.graph(v.name)) for v in everything.variants]
        inputs, outputs = everything.golden()
        write_bundle(
            tmp_path / "wrong.edgemeta",
            name="wrong",
            embedding_id=everything.embedding_id,
            input=everything.input,
            normalisation=everything.normalisation,
            head=everything.head,
            variants=variants,
            golden_inputs=inputs,
            golden_outputs=outputs,
            licences=[],
            training={},
        )
        checks = {c.variant: c for c in verify(Bundle.open(tmp_path / "wrong.edgemeta"))}
        assert not checks["onnx-fp16"].ok and "worst cosine is below" in checks["onnx-fp16"].why
        assert "fast kernels" not in checks["onnx-fp16"].why
        assert all(check.ok for name, check in checks.items() if name != "onnx-fp16")
        assert main(["verify", str(tmp_path / "wrong.edgemeta")]) == 1

    def test_a_machine_that_cannot_is_told_from_a_graph_that_is_wrong(self, everything, monkeypatch):
        from edgemeta.runners.onnx import OnnxRunner

        run = OnnxRunner.run

        def saturating(self, pixels):
            out = run(self, pixels)
            return np.minimum(out, np.median(out)) if self.variant == "onnx-int8" else out

        monkeypatch.setattr(OnnxRunner, "run", saturating)
        check = next(c for c in verify(everything) if c.variant == "onnx-int8")
        assert not check.ok and "this machine's fast kernels compute it wrong" in check.why

    def test_accuracy_that_is_lost_fails(self, everything):
        checks = verify(everything, data="digits", episodes=20, bound=100.0)
        assert all(c.ok and c.accuracy is not None and c.ci95 is not None for c in checks)
        assert checks[0].reference is None and checks[1].reference == checks[0].accuracy
        checks = verify(everything, data="digits", episodes=20, bound=-100.0)
        assert [c.ok for c in checks] == [True] + [False] * 5 and "points of accuracy" in checks[1].why


class TestTimm:
    @pytest.fixture(autouse=True)
    def there(self):
        pytest.importorskip("timm.models" if timm_alone.install() else "timm", reason="timm is not installed")

    def test_a_model_by_name(self, tmp_path):
        source = from_timm("mobilenetv3_small_100", "random")
        assert (source.input.height, source.input.width) == (224, 224)
        assert source.training["timm"]["name"] == "mobilenetv3_small_100"
        bundle = export_source(source, tmp_path / "v3.edgemeta", wanted=Wanted(("onnx", "tflite"), ("fp32", "fp16")))
        inputs, outputs = bundle.golden()
        for variant in bundle.variants:
            found = simulate(variant, bundle.graph(variant.name), inputs)
            assert worst_cosine(found, outputs) > (0.99999 if variant.precision == "fp32" else 0.9999)
            if variant.precision == "fp32":
                assert np.abs(found - outputs).max() <= 1e-4 * np.abs(outputs).max()
        assert bundle.dim == 1024

    def test_weights_from_a_file(self, tmp_path):
        import timm
        from safetensors.torch import save_file

        torch.manual_seed(3)
        whole = timm.create_model("mobilenetv3_small_050", pretrained=False)
        save_file(whole.state_dict(), tmp_path / "w.safetensors")
        torch.save({"state_dict": whole.state_dict()}, tmp_path / "w.pth")
        sources = [from_timm("mobilenetv3_small_050", str(tmp_path / name)) for name in ("w.safetensors", "w.pth")]
        assert sources[0].embedding_id == sources[1].embedding_id
        assert sources[0].embedding_id != from_timm("mobilenetv3_small_050", "random").embedding_id

    @pytest.mark.parametrize(
        ("name", "weights", "says"),
        [
            ("mobilenetv3_small_100", None, "--weights FILE"),
            ("mobilenetv9", "random", "timm has no model 'mobilenetv9'; like it are mobilenet"),
            ("mobilenetv3_small_100", "/no/such/file", "there is no file"),
        ],
    )
    def test_what_is_not_there_is_said(self, name, weights, says):
        with pytest.raises(OptionError, match=says):
            from_timm(name, weights)

    def test_weights_of_another_model(self, tmp_path):
        from safetensors.torch import save_file

        save_file({"x.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
        with pytest.raises(BundleError, match="could not load mobilenetv3_small_050"):
            from_timm("mobilenetv3_small_050", str(tmp_path / "w.safetensors"))

    def test_the_command(self, tmp_path, capsys):
        out = tmp_path / "x.edgemeta"
        assert main(["export", "timm:mobilenetv3_small_050", "--weights", "random", "--out", str(out)]) == 0
        assert "onnx-fp32" in capsys.readouterr().out
        assert main(["export", "timm:mobilenetv3_small_050", "--out", str(tmp_path / "y.edgemeta")]) == 2
        assert "--weights" in capsys.readouterr().err and not (tmp_path / "y.edgemeta").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    small = {"size": 24, "steps": 3, "ways": 4, "queries": 3, "batch": 16, "held_out": 4}
    train(TrainConfig(data=("digits",), method="pretrain", backbone="conv4", **small), folder, quiet=True)
    return folder


class TestTheCommand:
    def test_all_variants(self, run, tmp_path, capsys):
        out = tmp_path / "all.edgemeta"
        options = ["--format", "onnx", "--format", "tflite", "--precision", "int8,fp32,fp16", "--calibrate", "digits"]
        assert main(["export", str(run), "--out", str(out), *options]) == 0
        capsys.readouterr()
        assert main(["verify", str(out), "--json"]) == 0
        assert [check["variant"] for check in json.loads(capsys.readouterr().out)] == EVERYTHING

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--precision", "int4"], "--precision is one or more"),
            (["--precision", "int8"], "--calibrate"),
            (["--precision", "int8", "--calibrate", "folder:/no/such"], "/no/such"),
            (["--weights", "random"], "--weights is for timm:NAME"),
        ],
    )
    def test_what_is_wrong_is_said_and_nothing_is_left(self, run, tmp_path, capsys, options, says):
        assert main(["export", str(run), "--out", str(tmp_path / "x.edgemeta"), *options]) == 2
        said = capsys.readouterr().err
        assert says in said and "Traceback" not in said and not list(tmp_path.iterdir())
