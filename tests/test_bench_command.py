"""`edgemeta bench` and its Python form: structure, units and errors; how fast anything is, is for `make bench`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from small_bundle import graph, small_bundle

from edgemeta import bench as bench_module
from edgemeta import energy
from edgemeta.bench import BATCH, LEAST, Record, Timing, bench, records
from edgemeta.bundle import Bundle, Variant
from edgemeta.cli import main
from edgemeta.errors import BundleMissingError, NotFoundError, OptionError

ONNX = Variant("onnx-fp32", "onnx", "fp32", "graph/onnx-fp32.onnx", "pixels", "embedding")
CPU = "CPUExecutionProvider"
QUICK = ["--seconds", "0.05"]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bench") / "small.edgemeta")


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Bundle:
    """Its second variant names a tensor that its graph lacks."""
    wrong = ONNX._replace(name="onnx-int8", precision="int8", member="graph/onnx-int8.onnx", input="nothing\x1b[2J")
    path = tmp_path_factory.mktemp("bench") / "broken.edgemeta"
    return small_bundle(path, variants=[(ONNX, graph(0)), (wrong, graph(0))])


def check(timing: Timing) -> None:
    for latency in (timing.graph, timing.frame):
        assert latency.calls >= LEAST
        assert 0 < latency.median_ms <= latency.p95_ms <= latency.p99_ms
    assert timing.load_ms > 0 and timing.images_per_second > 0 and timing.batch == BATCH
    # NumPy and a runtime are some tens of MiB; no unit but bytes gives that.
    assert timing.memory_bytes is not None and 2**23 < timing.memory_bytes < 2**31
    assert (timing.energy_mj is None) == (timing.energy_source is None)


class TestTheCommand:
    def test_the_shipped_bundle_as_json(self, capsys):
        assert main(["bench", "glyphs", "--json", "--seconds", "0.2", "--provider", "cpu"]) == 0
        found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
        bundle = Bundle.open("glyphs")
        assert found["bundle"] == "glyphs" and found["sha256"] == bundle.sha256 and found["interrupted"] is False
        assert found["cores"] >= 1 and found["kernels"] and found["machine"]
        assert [record["variant"] for record in found["records"]] == [variant.name for variant in bundle.variants]
        for record in found["records"]:
            timing = record["timing"]
            latencies = {name: bench_module.Latency(**timing.pop(name)) for name in ("graph", "frame")}
            check(Timing(**timing, **latencies))
            assert record["reason"] is None and record["provider"].startswith("CPU")

    def test_a_table_for_people(self, small, capsys):
        assert main(["bench", str(small.path), *QUICK, "--threads", "1", "--variant", "onnx-fp32"]) == 0
        out = capsys.readouterr().out
        (row,) = (line.split() for line in out.splitlines() if line.strip().startswith("onnx-fp32"))
        assert row[1] == "CPU" and row.count("ms") == 6 and row.count("MiB") == 1
        assert f"{BATCH} at a time" in out and "640 x 480" in out and "energy: " in out

    def test_what_cannot_run_is_listed_with_its_reason(self, broken, capsys):
        assert main(["bench", str(broken.path), *QUICK, "--provider", CPU]) == 0
        out = capsys.readouterr().out
        assert "onnx-int8 on CPU cannot run here: " in out and "nothing\\x1b[2J" in out and "\x1b" not in out
        assert main(["bench", str(broken.path), *QUICK, "--variant", "onnx-int8", "--json"]) == 1
        (record,) = json.loads(capsys.readouterr().out)["records"]
        assert record["timing"] is None and "alone into" in record["reason"]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--variant", "onnx-int4"], "no variant 'onnx-int4'; it has onnx-fp32"),
            (["--variant", "a\x1b[2J"], "no variant"),
            (["--provider", "MagicProvider"], f"no provider 'MagicProvider' for these variants here; there are {CPU}"),
            (["--provider", "azure"], "no provider"),
            (["--provider", ""], "no provider"),
            (["--threads", "0"], "threads"),
            (["--threads", "100000"], "threads"),
            (["--seconds", "0"], "seconds"),
            (["--seconds", "nan"], "seconds"),
        ],
    )
    def test_bad_requests(self, small, capsys, monkeypatch, arguments, said):
        monkeypatch.setattr(bench_module, "_apart", pytest.fail)  # and nothing was measured for it
        assert main(["bench", str(small.path), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("edgemeta: ") and said in error and error.count("\n") == 1 and "\x1b" not in error

    def test_no_bundle(self, capsys):
        assert main(["bench", "nowhere.edgemeta"]) == 2
        assert "no bundle" in capsys.readouterr().err

    @pytest.mark.parametrize("extra", [[], ["--json"]])
    def test_ctrl_c_prints_what_there_is(self, broken, capsys, monkeypatch, extra):
        measured = bench_module._apart

        def interrupted(bundle, variant, *rest):
            if variant.name == "onnx-int8":
                raise KeyboardInterrupt
            return measured(bundle, variant, *rest)

        monkeypatch.setattr(bench_module, "_apart", interrupted)
        assert main(["bench", str(broken.path), *QUICK, "--provider", "cpu", *extra]) == 130
        out, error = capsys.readouterr()
        assert "onnx-fp32" in out and "onnx-int8" not in out and error == "edgemeta: interrupted\n"
        if extra:
            found = json.loads(out)
            assert found["interrupted"] is True and len(found["records"]) == 1


class TestThePythonForm:
    def test_records_of_every_runtime(self, tmp_path):
        if importlib.util.find_spec("ai_edge_litert") is None:
            pytest.skip('LiteRT is not installed: pip install "edgemeta[tflite]"')
        from edgemeta.export import tflite

        both = [(ONNX, graph(0)), (tflite.FP32, tflite.to_tflite(graph(0)))]
        bundle = small_bundle(tmp_path / "both.edgemeta", variants=both)
        seen: list[tuple[int, int, str]] = []
        found = list(records(bundle, seconds=0.02, threads=1, about_to=lambda *what: seen.append(what)))
        assert {(r.variant, r.provider) for r in found} >= {
            ("onnx-fp32", CPU),
            (tflite.FP32.name, "XNNPACK"),
            (tflite.FP32.name, "CPU"),
        }
        assert [what[0] for what in seen] == list(range(len(found))) and {what[1] for what in seen} == {len(found)}
        for record in found:
            assert isinstance(record, Record) and record.threads == 1
            if record.timing is not None:
                check(record.timing)
        assert any(r.timing for r in found if r.runtime == "onnx") and any(
            r.timing for r in found if r.runtime == "tflite"
        )

    def test_errors(self, small):
        with pytest.raises(BundleMissingError):
            bench("nowhere.edgemeta")
        with pytest.raises(NotFoundError):
            bench(small, variant="none")
        with pytest.raises(OptionError):
            bench(small, seconds=-1)
        with pytest.raises(OptionError, match="threads"):
            bench(small, threads=True)

    def test_a_missing_runtime_is_a_reason_with_its_command(self, small, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
        (record,) = bench(small)
        assert record.timing is None and record.provider == "" and 'pip install "edgemeta[onnx]"' in str(record.reason)

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
            ("raise ValueError('a\\x1b[2Jb')", "ValueError: a\\x1b[2Jb"),
            ("print('no json')", "status 0"),
        ],
    )
    def test_a_process_that_dies_is_a_reason(self, small, monkeypatch, code, said):
        monkeypatch.setattr(bench_module, "CHILD", code)
        assert all(record.timing is None and said in str(record.reason) for record in bench(small, provider="cpu"))

    def test_the_bundle_that_was_opened_is_the_one_that_is_measured(self, tmp_path):
        bundle = small_bundle(tmp_path / "small.edgemeta")
        small_bundle(tmp_path / "small.edgemeta", seed=1)
        (record,) = bench(bundle, provider="cpu")
        assert record.timing is None and "not the pinned file" in str(record.reason)

    def test_the_current_folder_is_not_imported_from(self, small, tmp_path, monkeypatch):
        (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
        monkeypatch.chdir(tmp_path)
        (record,) = bench(small, provider="cpu", seconds=0.02)
        assert record.timing is not None, record.reason


def put(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


class TestEnergy:
    """Against copies of what the kernel shows of a Jetson and of an x86 processor."""

    def hwmon(self, root: Path, rails: dict[str, tuple[int, int]]) -> None:
        folder = root / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon4"
        for number, (name, (millivolts, milliamperes)) in enumerate(rails.items(), 1):
            put(folder / f"in{number}_label", name)
            put(folder / f"in{number}_input", millivolts)
            put(folder / f"curr{number}_input", milliamperes)
        put(folder / "in7_label", "sum of shunt voltages")

    def watts(self, root: Path) -> float:
        meter = energy.find_meter(root)
        assert isinstance(meter, energy.Monitor)
        meter.start()
        assert meter.stop() > 0
        return sum(meter._samples) / len(meter._samples)

    def test_a_jetsons_input_rail_stands_for_the_others(self, tmp_path):
        self.hwmon(tmp_path, {"VDD_IN": (5000, 2000), "VDD_CPU": (5000, 1000), "VDD_SOC": (5000, 300)})
        meter = energy.find_meter(tmp_path)
        assert meter is not None and meter.source == "INA3221 VDD_IN"
        assert self.watts(tmp_path) == pytest.approx(10.0)

    def test_rails_without_an_input_are_added(self, tmp_path):
        self.hwmon(tmp_path, {"VDD_GPU_SOC": (20000, 100), "VDD_CPU_CV": (20000, 50)})
        meter = energy.find_meter(tmp_path)
        assert meter is not None and meter.source == "INA3221 VDD_GPU_SOC, VDD_CPU_CV"
        assert self.watts(tmp_path) == pytest.approx(3.0)

    def test_an_older_jetson(self, tmp_path):
        folder = tmp_path / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
        for number, (name, milliwatts) in enumerate((("POM_5V_IN", 4500), ("POM_5V_GPU", 900))):
            put(folder / f"rail_name_{number}", name)
            put(folder / f"in_power{number}_input", milliwatts)
        assert self.watts(tmp_path) == pytest.approx(4.5)

    def test_joules_are_watts_times_the_seconds_that_passed(self, tmp_path, monkeypatch):
        self.hwmon(tmp_path, {"VDD_IN": (5000, 2000)})
        clock = iter([100.0, 107.5])
        monkeypatch.setattr(energy.time, "perf_counter", lambda: next(clock))
        meter = energy.find_meter(tmp_path)
        assert meter is not None
        meter.start()
        assert meter.stop() == pytest.approx(75.0)

    def rapl(self, root: Path, *used: tuple[str, object]) -> list[Path]:
        folders = [root / f"class/powercap/intel-rapl:{i}" for i in range(len(used))]
        for folder, (name, value) in zip(folders, used, strict=True):
            put(folder / "name", name)
            put(folder / "energy_uj", value)
            put(folder / "max_energy_range_uj", 999_999)
        return folders

    def test_rapl_adds_packages_and_goes_round(self, tmp_path):
        one, two, board = self.rapl(tmp_path, ("package-0", 100), ("package-1", 900_000), ("psys", 0))
        meter = energy.find_meter(tmp_path)
        assert meter is not None and meter.source == "RAPL package"
        meter.start()
        put(one / "energy_uj", 250_100)
        put(two / "energy_uj", 400_000)
        put(board / "energy_uj", 900_000)
        assert meter.stop() == pytest.approx(0.25 + 0.5)

    def test_what_may_not_be_read_is_not_there(self, tmp_path):
        assert energy.find_meter(tmp_path) is None
        self.rapl(tmp_path, ("package-0", "not for you"))
        assert energy.find_meter(tmp_path) is None

    def test_millijoules_of_one_call(self, tmp_path, monkeypatch):
        (folder,) = self.rapl(tmp_path, ("package-0", 0))
        monkeypatch.setattr(bench_module, "find_meter", lambda: energy.find_meter(tmp_path))
        spent = iter(range(2000, 10**9, 2000))
        found, source = bench_module._energy(lambda: put(folder / "energy_uj", next(spent)), 1e-9)
        assert found == pytest.approx(2.0) and source == "RAPL package"
        monkeypatch.setattr(bench_module, "find_meter", lambda: None)
        assert bench_module._energy(pytest.fail, 1.0) == (None, None)
