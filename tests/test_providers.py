"""ONNX Runtime's providers: which is taken, how it is set up, and what happens when it does not work; without a GPU."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from small_bundle import DIM, SIDE, graph, outputs, small_bundle

from edgemeta.bundle import Variant
from edgemeta.embedder import Embedder
from edgemeta.errors import MissingDependencyError, OptionError, RunnerError
from edgemeta.runners import onnx_providers
from edgemeta.runners.onnx import BATCH, OnnxRunner
from edgemeta.runners.onnx_providers import CPU, CUDA, TENSORRT, XNNPACK

FP32 = Variant("onnx-fp32", "onnx", "fp32", "graph/onnx-fp32.onnx", "pixels", "embedding")
FP16 = FP32._replace(name="onnx-fp16", precision="fp16")
INT8 = FP32._replace(name="onnx-int8", precision="int8")
EVERY = (TENSORRT, CUDA, XNNPACK, CPU)


class FakeRuntime:
    """An onnxruntime with the providers `available`; `absent` ones are skipped with a warning of its own, `refusing`
    ones raise when a session is made, `failing` ones at the first run. `sessions` are all that were made."""

    def __init__(self, available: tuple[str, ...], *, absent=(), refusing=(), failing=()):
        self.available, self.absent, self.refusing, self.failing = available, absent, refusing, failing
        self.sessions: list[FakeSession] = []

    def get_available_providers(self) -> list[str]:
        return list(self.available)

    def SessionOptions(self) -> SimpleNamespace:
        options = SimpleNamespace(intra_op_num_threads=0, config={})
        options.add_session_config_entry = options.config.__setitem__
        return options

    def InferenceSession(self, model: bytes, options: Any, *, providers: Any, enable_fallback: int) -> FakeSession:
        session = FakeSession(self, options, providers, bool(enable_fallback))
        self.sessions.append(session)
        if session.providers[0] in self.refusing:
            raise RuntimeError("no kernel for\nCast")
        return session


class FakeSession:
    def __init__(self, runtime: FakeRuntime, options: Any, providers: Any, fallback: bool):
        self.runtime, self.session_options, self.fallback = runtime, options, fallback
        self.providers, self.options = [name for name, _ in providers], dict(providers)
        self.batches: list[int] = []

    def disable_fallback(self) -> None:
        self.fallback = False

    def get_providers(self) -> list[str]:
        return [name for name in self.providers if name not in self.runtime.absent]

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="pixels", type="tensor(uint8)", shape=["n", SIDE, SIDE, 3])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="embedding", type="tensor(float)", shape=["n", DIM])]

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert names == ["embedding"] and list(feed) == ["pixels"]
        if self.get_providers()[0] in self.runtime.failing:
            raise ValueError("engine build failed")
        self.batches.append(len(feed["pixels"]))
        self.last = feed["pixels"]
        return [np.ones((len(feed["pixels"]), DIM), np.float32)]


@pytest.fixture
def install(monkeypatch, tmp_path) -> Callable[..., FakeRuntime]:
    """Puts a fake runtime in the place of the real one, on a machine of some kind."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEMETA_CACHE", raising=False)

    def put(available=EVERY, *, machine: str = "x86_64", tensorrt: bool = True, **more: Any) -> FakeRuntime:
        runtime = FakeRuntime(tuple(available), **more)
        monkeypatch.setattr("edgemeta.runners.onnx.load_runtime", lambda: runtime)
        monkeypatch.setattr(onnx_providers.platform, "machine", lambda: machine)
        monkeypatch.setattr("ctypes.util.find_library", lambda name: f"lib{name}.so.10" if tensorrt else None)
        return runtime

    return put


def opened(variant: Variant = FP32, model: bytes = b"graph", **more: Any) -> OnnxRunner:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return OnnxRunner(variant, model, **more)


class TestPreference:
    @pytest.mark.parametrize(
        ("available", "machine", "variant", "tried"),
        [
            (EVERY, "x86_64", FP32, [TENSORRT, CUDA, CPU]),
            (EVERY, "aarch64", FP32, [TENSORRT, CUDA, CPU]),
            ((CUDA, CPU), "x86_64", FP32, [CUDA, CPU]),
            ((XNNPACK, CPU), "aarch64", FP32, [XNNPACK, CPU]),
            ((XNNPACK, CPU), "armv7l", FP32, [XNNPACK, CPU]),
            ((XNNPACK, CPU), "x86_64", FP32, [CPU]),
            ((XNNPACK, CPU), "aarch64", FP16, [CPU]),
            ((XNNPACK, CPU), "aarch64", INT8, [CPU]),
            (("AzureExecutionProvider", CPU), "x86_64", FP32, [CPU]),
        ],
    )
    def test_the_best_that_is_there(self, install, available, machine, variant, tried):
        runtime = install(available, machine=machine)
        runner = opened(variant)
        assert [session.providers for session in runtime.sessions] == [tried]
        assert runner.provider == tried[0] and runner.variant == variant.name

    def test_tensorrt_that_was_only_compiled_in_is_not_there(self, install):
        assert (runtime := install(tensorrt=False)) and opened().provider == CUDA
        assert TENSORRT not in runtime.sessions[0].providers

    @pytest.mark.parametrize("name", EVERY)
    def test_a_named_one_is_taken_alone(self, install, name):
        runtime = install(tensorrt=False)
        assert opened(providers=[name]).provider == name
        assert [session.providers for session in runtime.sessions] == [[name]]

    def test_several_named_ones_keep_their_order(self, install):
        runtime = install()
        assert opened(providers=[CUDA, TENSORRT]).provider == CUDA
        assert runtime.sessions[0].providers == [CUDA, TENSORRT]

    @pytest.mark.parametrize("name", ["MagicProvider", CUDA, CPU + ":fp16", "a\x1b[2J"])
    def test_one_that_is_not_there(self, install, name):
        runtime = install((CPU,))
        with pytest.raises(OptionError, match=f"no provider .*; it has {CPU}") as error:
            opened(providers=[name])
        assert not runtime.sessions and "\x1b" not in str(error.value)


class TestTensorRT:
    def options(self, runtime: FakeRuntime) -> dict[str, Any]:
        return runtime.sessions[-1].options[TENSORRT]

    def test_engines_are_kept_in_the_users_cache_for_each_graph(self, install, tmp_path):
        runtime = install()
        opened(model=b"one")
        first = self.options(runtime)
        assert first["trt_engine_cache_enable"] is True
        folder = Path(first["trt_engine_cache_path"])
        assert folder.is_relative_to(tmp_path / "cache" / "edgemeta") and folder.is_dir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        opened(model=b"two")
        assert self.options(runtime)["trt_engine_cache_path"] != str(folder)
        opened(model=b"one")
        assert self.options(runtime)["trt_engine_cache_path"] == str(folder)

    def test_without_a_folder_that_can_be_written_it_builds_anew(self, install, tmp_path):
        runtime = install()
        (tmp_path / "cache").write_text("no folder")
        opened()
        assert not any("cache" in name for name in self.options(runtime))

    def test_half_precision_is_the_variants_or_asked_for(self, install):
        runtime = install()
        for variant, providers, half in (
            (FP32, None, False),
            (FP32, [TENSORRT], False),
            (INT8, None, False),
            (FP16, None, True),
            (FP16, [TENSORRT], True),
            (FP32, [TENSORRT + ":fp16", CUDA], True),
        ):
            runner = opened(variant, providers=providers)
            assert self.options(runtime)["trt_fp16_enable"] is half
            assert runner.provider == (providers or [TENSORRT])[0]

    def test_it_has_built_for_every_batch_when_it_is_open(self, install):
        runtime = install()
        runner = opened()
        assert runtime.sessions[0].batches == [BATCH, 1]
        assert runner.run(np.zeros((2 * BATCH + 3, SIDE, SIDE, 3), np.uint8)).shape == (2 * BATCH + 3, DIM)
        assert max(runtime.sessions[0].batches) == BATCH


class TestOthers:
    def test_cuda_keeps_fp32_and_does_not_search_for_each_batch(self, install):
        runtime = install((CUDA, CPU))
        opened()
        assert runtime.sessions[0].options[CUDA] == {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": 0}

    def test_xnnpack_brings_its_own_threads(self, install):
        runtime = install((XNNPACK, CPU), machine="aarch64")
        opened(threads=3)
        session = runtime.sessions[0]
        assert session.options[XNNPACK] == {"intra_op_num_threads": 3}
        assert session.session_options.intra_op_num_threads == 1
        assert session.session_options.config == {"session.intra_op.allow_spinning": "0"}
        opened()
        assert runtime.sessions[1].options[XNNPACK]["intra_op_num_threads"] == len(os.sched_getaffinity(0))

    def test_the_cpu_has_the_threads_asked_for(self, install):
        runtime = install((CPU,))
        opened(threads=3)
        opened()
        assert [session.session_options.intra_op_num_threads for session in runtime.sessions] == [3, 0]
        assert runtime.sessions[0].batches == [1]  # it is warm
        with pytest.raises(OptionError, match="threads"):
            opened(threads=0)


def test_a_frame_is_not_copied_on_its_way_to_the_runtime(install, tmp_path):
    runtime = install((CPU,))
    embedder = Embedder(small_bundle(tmp_path / "small.edgemeta"), None, None, None, None, None)
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert embedder.images([frame]).shape == (1, DIM)
    assert np.shares_memory(runtime.sessions[0].last, frame)
    assert embedder.images([frame, frame]).shape == (2, DIM)


class TestWhatDoesNotWork:
    @pytest.mark.parametrize("provider", [TENSORRT, CUDA, XNNPACK])
    @pytest.mark.parametrize(
        ("trouble", "said"),
        [
            ("absent", "could not start {} and would use Azure"),
            ("refusing", "refused the graph onnx-fp32 on {}: no kernel for.nCast"),
            ("failing", "could not run onnx-fp32 on {}: engine build failed"),
        ],
    )
    def test_a_named_one_is_never_swapped(self, install, provider, trouble, said):
        runtime = install((*EVERY, "AzureExecutionProvider"), **{trouble: (provider,)})
        with pytest.raises(RunnerError, match=said.format(provider)) as error:
            opened(providers=[provider, "AzureExecutionProvider"])
        assert "providers=['" in str(error.value) and "\n" not in str(error.value)
        assert len(runtime.sessions) == 1 and not runtime.sessions[0].fallback

    @pytest.mark.parametrize("trouble", ["absent", "refusing", "failing"])
    def test_where_none_was_named_the_next_one_runs_and_that_is_said(self, install, trouble):
        runtime = install(**{trouble: (TENSORRT,)})
        with pytest.warns(UserWarning, match=f"{TENSORRT}.*trying {CUDA}"):
            runner = OnnxRunner(FP32, b"graph")
        assert runner.provider == CUDA and runtime.sessions[-1].providers == [CUDA, CPU]
        runtime = install(**{trouble: (TENSORRT, CUDA)})
        with pytest.warns(UserWarning) as said:
            assert OnnxRunner(FP32, b"graph").provider == CPU
        assert [str(each.message).rpartition("; trying ")[2] for each in said] == [CUDA, CPU]

    def test_a_broken_engine_cache_is_named(self, install, tmp_path):
        install(failing=(TENSORRT,))
        with pytest.raises(RunnerError, match=f"remove what it built .*edgemeta/tensorrt/.*providers=\\['{CUDA}'\\]"):
            opened(providers=[TENSORRT])

    def test_the_last_one_raises(self, install):
        install((CPU,), failing=(CPU,))
        with pytest.raises(RunnerError, match=f"could not run onnx-fp32 on {CPU}.*another variant"):
            opened()

    def test_a_missing_runtime_prints_its_command(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "edgemeta\[onnx\]"'):
            OnnxRunner(FP32, b"graph")


def changed(change: Callable[[Any], None]) -> bytes:
    model = onnx.load_from_string(graph(0))
    change(model.graph)
    return bytes(model.SerializeToString())


class TestTheRealRuntime:
    def test_a_fixed_batch(self):
        def fix(g: Any) -> None:
            g.input[0].type.tensor_type.shape.dim[0].dim_value = 4

        runner = OnnxRunner(FP32, changed(fix))
        for count in (1, 3, 4, 9):
            images = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
            np.testing.assert_allclose(runner.run(images), outputs(images, 0), rtol=1e-4, atol=1e-4)

    def test_a_size_that_the_graph_leaves_open(self):
        def loosen(g: Any) -> None:
            for axis in (1, 2):
                g.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"

        images = np.full((2, SIDE, SIDE, 3), 7, np.uint8)
        got = OnnxRunner(FP32, changed(loosen)).run(images)
        np.testing.assert_allclose(got, outputs(images, 0), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda g: setattr(g.input[0].type.tensor_type, "elem_type", onnx.TensorProto.FLOAT), "should be uint8"),
            (lambda g: g.input[0].type.tensor_type.shape.dim.pop(), "refused"),
            (lambda g: setattr(g.output[0], "name", "share"), "into embedding"),
            (lambda g: g.input.append(onnx.helper.make_tensor_value_info("more", 1, [1])), "alone into"),
        ],
    )
    def test_graphs_that_break_the_contract(self, change, said):
        with pytest.raises(RunnerError, match=said):
            OnnxRunner(FP32, changed(change))

    def test_images_of_another_size_name_the_provider(self):
        with pytest.raises(RunnerError, match=f"onnx-fp32 on {CPU}"):
            OnnxRunner(FP32, graph(0)).run(np.zeros((1, SIDE + 1, SIDE, 3), np.uint8))

    def test_what_is_no_graph(self):
        with pytest.raises(RunnerError, match=f"refused the graph onnx-fp32 on {CPU}"):
            OnnxRunner(FP32, b"no graph")
