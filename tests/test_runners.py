"""Runners: one contract for every runtime, and what is peculiar to LiteRT."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from small_bundle import DIM, SIDE, graph, outputs, small_bundle

from edgemeta import Learner
from edgemeta.bundle import Bundle, Variant
from edgemeta.errors import NotFoundError, OptionError, RunnerError
from edgemeta.export import tflite
from edgemeta.export.tflite_file import to_bytes
from edgemeta.runners import Runner, open_runner, pick_variant
from edgemeta.runners import litert as litert_module
from edgemeta.runners.litert import LiteRTRunner

ONNX = Variant("onnx-fp32", "onnx", "fp32", "graph/onnx-fp32.onnx", "pixels", "embedding")
VARIANTS = (ONNX.name, tflite.FP32.name)
# What each runtime can always name, and what it has not.
PLAIN = {ONNX.name: "CPUExecutionProvider", tflite.FP32.name: "CPU"}

pytest.importorskip("ai_edge_litert", reason='LiteRT is not installed: pip install "edgemeta[tflite]"')


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    both = [(ONNX, graph(0)), (tflite.FP32, tflite.to_tflite(graph(0)))]
    return small_bundle(tmp_path_factory.mktemp("runners") / "both.edgemeta", variants=both)


@pytest.fixture(params=VARIANTS)
def variant(request) -> str:
    return request.param


@pytest.fixture
def runner(bundle, variant) -> Runner:
    return open_runner(bundle, variant=variant)


def images(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


class TestContract:
    def test_batches_of_any_size_one_after_another(self, runner):
        for count in (1, 3, 33, 1, 65, 33):
            got = runner.run(images(count, seed=count))
            assert got.dtype == np.float32 and got.shape == (count, DIM)
            np.testing.assert_allclose(got, outputs(images(count, seed=count), 0), rtol=1e-4, atol=1e-4)

    def test_an_image_gives_the_same_in_any_batch(self, runner):
        many = runner.run(images(40))
        for place in (0, 31, 32, 39):
            np.testing.assert_allclose(runner.run(images(40)[place : place + 1])[0], many[place], rtol=1e-5, atol=1e-5)

    def test_what_was_given_is_not_overwritten_by_the_next_call(self, runner):
        first = runner.run(images(2))
        kept = first.copy()
        runner.run(images(2, seed=6))
        assert (first == kept).all()

    def test_images_that_do_not_lie_in_one_piece(self, runner):
        mirrored = images(3)[:, :, ::-1]
        np.testing.assert_allclose(runner.run(mirrored), outputs(mirrored, 0), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("threads", [1, 2, None])
    def test_threads(self, bundle, variant, threads):
        got = open_runner(bundle, variant=variant, threads=threads).run(images(3))
        np.testing.assert_allclose(got, outputs(images(3), 0), rtol=1e-4, atol=1e-4)

    def test_it_says_what_it_runs_and_on_what(self, bundle, runner, variant):
        assert runner.variant == variant
        named = open_runner(bundle, variant=variant, providers=[runner.provider])
        assert named.provider == runner.provider
        plain = open_runner(bundle, variant=variant, providers=[PLAIN[variant]])
        assert plain.provider == PLAIN[variant]
        np.testing.assert_allclose(plain.run(images(3)), outputs(images(3), 0), rtol=1e-4, atol=1e-4)

    def test_a_provider_that_is_not_there(self, bundle, variant):
        with pytest.raises(OptionError, match=f"no provider TurboProvider.* has .*{PLAIN[variant]}"):
            open_runner(bundle, variant=variant, providers=["TurboProvider"])

    @pytest.mark.parametrize("wrong", [np.zeros((1, SIDE + 1, SIDE, 3), np.uint8), np.zeros((1, SIDE, SIDE, 3))])
    def test_images_of_another_size_or_type(self, runner, wrong):
        with pytest.raises(RunnerError, match=runner.variant):
            runner.run(wrong)
        assert runner.run(images(2)).shape == (2, DIM)

    def test_a_graph_that_is_none(self, bundle, variant, monkeypatch):
        monkeypatch.setattr(Bundle, "graph", lambda *_: b"\x1c\0\0\0TFL3" + bytes(60))
        with pytest.raises(RunnerError, match=f"refused the graph {variant}"):
            open_runner(bundle, variant=variant)

    def test_many_threads_at_once(self, runner):
        wrong = []

        def work(seed: int) -> None:
            for count in (1, 4, 1, 2, 5):
                got, expected = runner.run(images(count, seed)), outputs(images(count, seed), 0)
                if not np.allclose(got, expected, rtol=1e-4, atol=1e-4):
                    wrong.append((seed, count))

        workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong

    def test_a_learner_uses_it(self, bundle, variant):
        with Learner(bundle, variant=variant) as learner:
            learner.learn(images(1)[0], "a")
            learner.learn(images(1, seed=6)[0], "b")
            assert learner.predict(images(1)[0]).label == "a"
            assert learner.provider == open_runner(bundle, variant=variant).provider


def without(monkeypatch, *packages: str) -> None:
    """As if these were not installed."""
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


class TestChoice:
    def test_the_first_variant_that_an_installed_runtime_can_run(self, bundle, monkeypatch):
        assert pick_variant(bundle, None).name == ONNX.name
        without(monkeypatch, "onnxruntime")
        assert pick_variant(bundle, None).name == tflite.FP32.name
        assert open_runner(bundle).variant == tflite.FP32.name
        without(monkeypatch, "ai_edge_litert", "tflite_runtime")
        assert pick_variant(bundle, None).name == ONNX.name  # whose error names the install command

    def test_a_variant_that_the_bundle_lacks(self, bundle):
        with pytest.raises(NotFoundError, match="has onnx-fp32, tflite-fp32"):
            pick_variant(bundle, "tflite-int8")

    def test_the_predecessor_will_do(self, bundle, monkeypatch):
        from ai_edge_litert import interpreter

        without(monkeypatch, "ai_edge_litert")
        monkeypatch.setitem(sys.modules, "tflite_runtime", SimpleNamespace(interpreter=interpreter))
        assert litert_module.load_runtime() is interpreter

    def test_missing_litert_names_the_install_command(self, bundle):
        code = (
            "import sys; sys.modules.update(ai_edge_litert=None, tflite_runtime=None); import numpy; "
            f"from edgemeta import Learner; learner = Learner({str(bundle.path)!r}, variant='tflite-fp32'); "
            "learner.learn(numpy.zeros((8, 8), 'uint8'), 'a')"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert 'pip install "edgemeta[tflite]"' in done.stderr.splitlines()[-1]


class TestLiteRT:
    def program(self):
        return tflite.convert(graph(0))

    def test_a_truncated_or_scrambled_file(self):
        whole = tflite.to_tflite(graph(0))
        for size in (0, 8, 100, len(whole) // 2, len(whole) - 40):
            with pytest.raises(RunnerError, match="refused the graph"):
                LiteRTRunner(tflite.FP32, whole[:size])

    def test_names_and_types_must_be_as_promised(self):
        with pytest.raises(RunnerError, match="should have image alone, not pixels"):
            LiteRTRunner(tflite.FP32._replace(input="image"), to_bytes(self.program()))
        with pytest.raises(RunnerError, match="should have features alone, not embedding"):
            LiteRTRunner(tflite.FP32._replace(output="features"), to_bytes(self.program()))
        program = self.program()
        cast = program.operators.pop(0)
        program.tensors["pixels"].dtype = "float32"
        for operator in program.operators:
            operator.inputs = ["pixels" if name == cast.output else name for name in operator.inputs]
        with pytest.raises(RunnerError, match="pixels should be uint8 with 4 axes, 3 colours in the last, not float32"):
            LiteRTRunner(tflite.FP32, to_bytes(program))

    @pytest.mark.parametrize("batch", [1, 4])
    def test_a_fixed_batch_is_kept(self, batch):
        program = self.program()
        for tensor in program.tensors.values():
            tensor.shape = tuple(batch if size == -1 else size for size in tensor.shape)
        runner = LiteRTRunner(tflite.FP32, to_bytes(program))
        for count in (1, 3, 9):
            np.testing.assert_allclose(runner.run(images(count)), outputs(images(count), 0), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("providers", [None, ["CPU"]])
    def test_a_batch_that_only_seems_free_is_run_one_by_one(self, providers):
        program = self.program()
        reshape = next(operator for operator in program.operators if operator.code == "RESHAPE")
        shape = program.tensors[reshape.inputs[1]]
        assert shape.data is not None and shape.data[0] == -1
        shape.data = np.concatenate([[1], shape.data[1:]]).astype(np.int32)
        runner = LiteRTRunner(tflite.FP32, to_bytes(program), providers=providers)
        for count in (1, 3, 9):
            np.testing.assert_allclose(runner.run(images(count)), outputs(images(count), 0), rtol=1e-4, atol=1e-4)

    def test_xnnpack_that_takes_nothing_is_not_named(self, bundle, monkeypatch):
        from ai_edge_litert import interpreter

        class Plain:
            OpResolverType = interpreter.OpResolverType

            @staticmethod
            def Interpreter(**options):
                options["experimental_op_resolver_type"] = Plain.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                return interpreter.Interpreter(**options)

        monkeypatch.setattr(litert_module, "load_runtime", lambda: Plain)
        assert open_runner(bundle, variant="tflite-fp32").provider == "CPU"
        with pytest.raises(RunnerError, match=r"without XNNPACK; .*providers=\['CPU'\]"):
            open_runner(bundle, variant="tflite-fp32", providers=["XNNPACK"])

    def test_threads_must_be_some(self, bundle):
        with pytest.raises(OptionError, match="at least 1"):
            LiteRTRunner(tflite.FP32, bundle.graph("tflite-fp32"), threads=0)
