"""Timings are ratios of interleaved rounds."""

import numpy as np
import pytest

from lowbit.bench.layers import SHAPES, Shape, layer_program
from lowbit.bench.onnx_models import export_shapes, quantize_int8
from lowbit.bench.rounds import MIN_ROUNDS, interleave
from lowbit.bench.tables import bench_text
from lowbit.infer import infer


class Clock:
    """A clock that only calls move."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1e-7
        return self.now

    def call(self, seconds):
        def work():
            self.now += seconds

        return work


def test_ratio_of_known_times(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lowbit.bench.rounds.time", clock)
    found = interleave({"a": clock.call(1e-3), "b": clock.call(3e-3)}, seconds=0.1)
    assert found["a"].ratio == 1.0
    assert found["b"].ratio == pytest.approx(3, rel=1e-3)
    assert found["a"].seconds == pytest.approx(1e-3, rel=1e-3)
    assert found["a"].rounds >= MIN_ROUNDS
    assert not found["a"].noisy


def test_rounds_that_disagree_decide_nothing(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lowbit.bench.rounds.time", clock)
    turns = iter(range(10**9))

    def restless():
        clock.now += 2e-3 if next(turns) % 2 else 4e-3

    found = interleave({"a": clock.call(3e-3), "b": restless, "c": clock.call(6e-3)}, seconds=0.2)
    assert not found["b"].decided
    assert found["c"].decided
    assert found["a"].against(found["c"]).ratio == pytest.approx(0.5, rel=1e-3)


def test_drift_of_the_machine_leaves_ratios_alone(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("lowbit.bench.rounds.time", clock)

    def drifting(seconds):
        def work():
            clock.now += seconds * (1 + clock.now)

        return work

    found = interleave({"a": drifting(1e-3), "b": drifting(2e-3)}, seconds=1.0)
    assert found["b"].ratio == pytest.approx(2, rel=0.02)
    assert found["a"].noisy


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [(1, 1), (2, 2), (8, 8)], ids=str)
def test_layers_are_valid_programs(shape, bits):
    program = layer_program(shape, *bits)
    assert infer(program)["out"].shape[0] == shape.channels
    assert program.exact


def test_shapes_become_onnx_models_that_run(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    program = layer_program(Shape(8, 6), 2, 2)
    export_shapes(program, tmp_path / "f.onnx")
    x = np.random.default_rng(0).random((3, 8, 6, 6), dtype=np.float32)
    quantize_int8(tmp_path / "f.onnx", tmp_path / "q.onnx", x)
    outputs = []
    for name in ("f.onnx", "q.onnx"):
        session = onnxruntime.InferenceSession(str(tmp_path / name), providers=["CPUExecutionProvider"])
        outputs.append(session.run(None, {"input": x})[0])
    assert outputs[0].shape == (3, 8, 6, 6)
    assert np.abs(outputs[0] - outputs[1]).max() < 0.1 * np.abs(outputs[0]).max()
    assert {path.name for path in tmp_path.iterdir()} == {"f.onnx", "q.onnx"}


def test_text_says_when_the_machine_was_busy():
    row = {
        "name": "lowbit",
        "ratio": 1.0,
        "decided": True,
        "us_per_image": 9.5,
        "spread": 0.3,
        "rounds": 11,
        "bytes": 1234,
    }
    found = {"kind": "file", "file": "n.lowbit", "same_network": True, "batch": 1, "threads": 1, "isa": "avx2",
             "machine": {"processor": "x", "cores": 2}, "noisy": True, "rows": [row]}  # fmt: skip
    assert "the machine was busy" in bench_text(found)
    assert "1,234" in bench_text(found)
