"""Other runtimes execute what they are said to execute."""

from dataclasses import replace

import numpy as np
import pytest

from lowbit.bench.contenders import OTHERS, chosen, installed, onnxruntime_call, openvino_call, torch_call
from lowbit.bench.file import bench_file
from lowbit.bench.layers import Shape, bench_layers
from lowbit.bench.onnx_models import export_shapes, quantize_int8
from lowbit.bench.tables import bench_text
from lowbit.bench.torch_models import shapes_network
from lowbit.errors import InvalidInput, MissingExtra, UnknownName
from lowbit.grid import Uniform
from lowbit.program import Op, Program, Weight
from lowbit.provenance import usable_cores

GRID = Uniform(bits=2, scale=np.float32(0.25))


def network() -> Program:
    """Every operation that has a float counterpart."""
    random = np.random.default_rng(0)
    window = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    pool = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 1}
    signed = Uniform(bits=2, signed=True, scale=np.float32(0.5))

    def weight(*shape: int) -> Weight:
        return Weight.from_codes(random.integers(-2, 2, shape), signed)

    def op(kind: str, inputs: str, output: str, **rest) -> Op:
        return Op(kind=kind, name=output, inputs=tuple(inputs.split()), output=output, **rest)

    affine = {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)}
    return Program(
        input_shape=(3, 7, 7),
        output="y",
        ops=(
            op("quantize", "input", "c0", grid=GRID),
            op("conv", "c0", "a0", weight=weight(4, 3, 3, 3), attrs=window),
            op("rescale", "a0", "f0"),
            op("affine", "f0", "f1", arrays=affine),
            op("activation", "f1", "f2", attrs={"function": "hardswish"}),
            op("max_pool", "f2", "f3", attrs={**pool, "dilation": (1, 1)}),
            op("avg_pool", "f2", "f4", attrs={**pool, "count_pad": 0, "divisor": 0}),
            op("add", "f3 f4", "f5"),
            op("concat", "f5 f3", "f6"),
            op("activation", "f6", "f7", attrs={"function": "leaky_relu", "slope": 0.01}),
            op("mean", "f7", "f8", attrs={"keep": 1}),
            op("flatten", "f8", "f9"),
            op("quantize", "f9", "c1", grid=GRID),
            op("linear", "c1", "a1", weight=weight(5, 8)),
            op("rescale", "a1", "y"),
        ),
    )


@pytest.fixture
def x():
    return np.random.default_rng(1).random((2, 3, 7, 7), dtype=np.float32)


@pytest.fixture
def files(tmp_path, x):
    pytest.importorskip("onnxruntime")
    export_shapes(network(), tmp_path / "f.onnx")
    quantize_int8(tmp_path / "f.onnx", tmp_path / "q.onnx", np.concatenate([x] * 8))
    return tmp_path / "f.onnx", tmp_path / "q.onnx"


def test_torch_and_onnxruntime_execute_the_same_network(files, x):
    ours = torch_call(shapes_network(network()), x, 1)()
    theirs = onnxruntime_call(files[0], x, 1)()
    assert ours.shape == (2, 5)
    assert np.abs(ours).max() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_openvino_executes_the_same_networks(files, x):
    pytest.importorskip("openvino")
    for file in files:
        theirs = onnxruntime_call(file, x, 1)()
        np.testing.assert_allclose(openvino_call(file, x, 1)(), theirs, atol=0.05 * np.abs(theirs).max())


def test_a_file_beside_all_that_is_installed(tmp_path):
    network().save(tmp_path / "net.lowbit")
    found = bench_file(tmp_path / "net.lowbit", seconds=0.02, isa="scalar", batch=2)
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "lowbit"
    assert {name.split()[0] for name in names[1:]} == set(installed())
    assert found["isa"] == "scalar"
    assert set(found["not_installed"]) == set(OTHERS) - set(installed())
    for row in found["rows"]:
        assert row["us_per_image"] > 0
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    text = bench_text(found).splitlines()
    assert "scalar" in text[0]
    assert all(any(line.startswith(name) for line in text) for name in names)


def test_a_file_that_takes_bytes(tmp_path):
    program = network()
    table = np.tile(np.arange(256, dtype=np.uint8) // 64, (3, 1))
    first = Op(kind="lookup", name="c0", inputs=("input",), output="c0", grid=GRID, arrays={"table": table})
    replace(program, ops=(first, *program.ops[1:]), input_dtype="uint8").save(tmp_path / "net.lowbit")
    found = bench_file(tmp_path / "net.lowbit", ("torch",), seconds=0.02)
    assert [row["name"] for row in found["rows"]] == ["lowbit", "torch float32"]


def test_layers_beside_torch():
    found = bench_layers(("torch",), seconds=0.02, shapes=(Shape(8, 4), Shape(16, 0)), bits=((1, 1), (8, 8)))
    assert [(row["layer"], row["bits"]) for row in found["rows"]] == [
        ("conv3x3 8 @ 4x4", "W1A1"), ("conv3x3 8 @ 4x4", "W8A8"), ("linear 16", "W1A1"), ("linear 16", "W8A8"),
    ]  # fmt: skip
    for row in found["rows"]:
        assert row["ratio"]["torch float32"] > 0
        assert row["us"].keys() == row["ratio"].keys() == {"lowbit", "torch float32"}
        assert row["gops"] > 0
    assert "torch float32" in bench_text(found)
    assert "linear 16" in bench_text(bench_layers((), seconds=0.02, shapes=(Shape(16, 0),), bits=((2, 2),)))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"threads": 0}, InvalidInput, "--threads is 0, allowed is 1 to 256"),
        ({"threads": 300}, InvalidInput, "--threads is 300"),
        ({"seconds": 0}, InvalidInput, "--seconds is 0"),
        ({"seconds": float("nan")}, InvalidInput, "--seconds is nan"),
        ({"against": ("tensorflow",)}, UnknownName, "unknown runtime 'tensorflow'"),
        ({"isa": "sse2"}, UnknownName, "unknown instruction set"),
    ],
)
def test_wrong_settings(settings, error, message, tmp_path):
    network().save(tmp_path / "net.lowbit")
    with pytest.raises(error, match=message):
        bench_file(tmp_path / "net.lowbit", **{"against": (), **settings})
    with pytest.raises(error, match=message):
        bench_layers(**{"against": (), **settings})
    with pytest.raises(InvalidInput, match="--batch is 0"):
        bench_file(tmp_path / "net.lowbit", (), batch=0)


def test_a_runtime_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else object())
    assert chosen(None) == ("onnxruntime", "torch")
    assert chosen(("torch", "torch")) == ("torch",)
    with pytest.raises(MissingExtra, match=r"--against openvino needs openvino, .* pip install openvino"):
        chosen(("openvino",))


def test_text_says_what_was_not_decided():
    row = {"ratio": 1.02, "decided": False, "us_per_image": 9.5, "spread": 0.1, "rounds": 11, "bytes": None}
    rows = [{**row, "name": "lowbit", "decided": True}, {**row, "name": "torch float32"}]
    found = {"kind": "file", "file": "n.lowbit", "same_network": True, "batch": 1, "threads": usable_cores() + 1,
             "isa": "avx2", "machine": {"processor": "x", "cores": usable_cores()}, "noisy": False, "rows": rows,
             "not_installed": ["openvino"]}  # fmt: skip
    text = bench_text(found)
    assert "1.02?" in text
    assert "too noisy to tell" in text
    assert "threads shared" in text
    assert "not measured: openvino" in text
    rows[1]["decided"] = True
    assert "too noisy" not in bench_text(found)
