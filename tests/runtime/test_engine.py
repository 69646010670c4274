"""The native engine against the normative interpreter: every value of random programs, tolerance zero."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runtime.programs import Builder, activation_grid, bits_of, check, random_program

from lowbit.errors import InvalidInput, InvalidProgram, UnknownName
from lowbit.grid import Planes, Uniform
from lowbit.program import Op, Program
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available

# -- tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", available())
def test_random_programs(isa):
    for seed in range(80):
        program, x, rng = random_program(seed)
        check(program, x, isa, threads=int(rng.integers(1, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("block", range(8))
def test_many_random_programs(isa, block):
    for seed in range(1000 + 300 * block, 1300 + 300 * block):
        program, x, rng = random_program(seed, length=int(np.random.default_rng(seed).integers(1, 30)))
        check(program, x, isa, threads=int(rng.integers(1, 4)))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("w_bits", range(1, 9))
def test_every_pair_of_bits(isa, w_bits):
    rng = np.random.default_rng(w_bits)
    for a_bits in range(1, 9):
        for draw in range(2):
            builder = Builder(rng, (int(rng.choice([3, 32, 48, 65])), 6, 5))
            codes = builder.to_codes("input", activation_grid(rng, a_bits, arithmetic=True))
            signed = bool(rng.integers(0, 2))
            grid = Uniform(bits=w_bits, scale=0.1, signed=signed) if draw else None
            while not (acc := builder.layer(codes, grid)):
                pass
            builder.rescale(acc)
            x = rng.normal(0, 1, (2, *builder.shape)).astype(np.float32)
            check(builder.program(), x, isa)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("inputs", [1, 7, 8])
def test_threshold_edges(isa, inputs):
    """Accumulators exactly at a threshold, one below and one above it, rising and falling."""
    rng = np.random.default_rng(inputs)
    builder = Builder(rng, (inputs,))
    codes = builder.add("quantize", ("input",), grid=Uniform(bits=8, scale=1, signed=True))
    acc = builder.layer(codes, Uniform(bits=3, scale=1, signed=True), out=24)
    x = rng.integers(-40, 40, (5, inputs)).astype(np.float32)
    values = reference.run(Program(ops=(*builder.ops, Op(kind="rescale", name="r", inputs=(acc,), output="y")),
                                   input_shape=(inputs,), output="y"), x, trace=True)[1][acc][0]  # fmt: skip
    for falling in (0, 1):
        t = np.sort(np.stack([values[0] - 1, values[0], values[1] + 1], axis=1), axis=1).astype(np.int32)
        t = np.ascontiguousarray(t[:, ::-1] if falling else t)
        arrays = {"thresholds": t, "descending": np.full(24, falling, np.uint8)}
        coded = Op(kind="threshold", name="t", inputs=(acc,), output="c", grid=Uniform(bits=2, scale=1), arrays=arrays)
        out = Op(kind="dequantize", name="d", inputs=("c",), output="y")
        check(Program(ops=(*builder.ops, coded, out), input_shape=(inputs,), output="y"), x, isa)


@pytest.mark.parametrize("isa", available())
def test_quantize_ties_extremes_and_zeros(isa):
    half = np.arange(-600, 600, dtype=np.float32) / 2
    x = np.concatenate([half, np.nextafter(half, np.float32(9e9)), [0.0, -0.0, 3e38, -3e38, 1e-45, 2**24, -(2**23)]])
    x = x.astype(np.float32)[None]
    grids = (
        Uniform(bits=8, scale=1, signed=True),
        Uniform(bits=3, scale=1.7, zero=3),
        Uniform(bits=4, scale=0.5, odd=True),
        Uniform(bits=2, scale=1e-38),
        Uniform(bits=8, scale=3e38, odd=True),
        Planes(bits=1, scales=[2.0]),
        Uniform(bits=8, scale=1, zero=30000),
    )
    for grid in grids:
        ops = (Op(kind="quantize", name="q", inputs=("input",), output="c", grid=grid),
               Op(kind="dequantize", name="d", inputs=("c",), output="y"))  # fmt: skip
        with np.errstate(over="ignore"):
            check(Program(ops=ops, input_shape=x.shape[1:], output="y"), x, isa)


@pytest.mark.parametrize("isa", available())
def test_float_layers_stay_within_their_bound(isa):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        builder = Builder(rng, (int(rng.choice([1, 3, 16, 20])), 5, 6) if seed % 2 else (int(rng.integers(1, 300)),))
        while not builder.layer("input"):
            pass
        program, op = builder.program(), builder.ops[-1]
        x = rng.normal(0, 1, (3, *builder.shape)).astype(np.float32)
        w = op.arrays["weight"] if op.weight is None else op.weight.grid.values(op.weight.codes())
        magnitude = Op(
            kind=op.kind, name="", inputs=("input",), output="y", attrs=op.attrs, arrays={"weight": np.abs(w)}
        )
        total = reference.run(Program(ops=(magnitude,), input_shape=builder.shape, output="y"), np.abs(x))
        k = math.prod(w.shape[1:])
        bias = np.abs(op.arrays["bias"]).reshape(-1, *(1,) * (total.ndim - 2))
        error = np.abs(Engine(program, isa=isa).run(x) - reference.run(program, x))
        assert (error <= 2 * k * 2.0**-24 * total + 2.0**-23 * (total + bias)).all()


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("shape", [(600,), (48, 14, 13)])
def test_one_image_on_several_threads(isa, shape):
    """Large enough that layers are split: by output channels (linear) and by pixels (convolution)."""
    rng = np.random.default_rng(len(shape))
    for weight, activation in ((2, 2), (1, 1), (8, 8)):
        builder = Builder(rng, shape)
        codes = builder.to_codes("input", Uniform(bits=activation, scale=0.3))
        while not (acc := builder.layer(codes, Uniform(bits=weight, scale=1, signed=weight > 1), out=501)):
            pass
        builder.rescale(builder.layer(builder.to_codes(acc, Uniform(bits=2, scale=1)) or "", out=500) or "")
        x = rng.normal(0, 1, (2, *shape)).astype(np.float32)
        expected = reference.run(builder.program(), x)
        for threads in (2, 3):
            np.testing.assert_array_equal(Engine(builder.program(), isa=isa, threads=threads).run(x), expected)


def test_concurrent_runs():
    programs = [random_program(seed) for seed in (3, 5, 8)]
    for program, x, _ in programs:
        engine, expected = Engine(program, threads=2), reference.run(program, x)
        with ThreadPoolExecutor(6) as pool:
            for result in pool.map(engine.run, [x] * 60):
                np.testing.assert_array_equal(bits_of(result), bits_of(expected))


def test_everything_at_once():
    """Runs, traces, profiles and refusals of one engine, and new engines, from six threads."""
    program, x, _ = random_program(5)
    engine, expected = Engine(program, threads=2), reference.run(program, x)
    wrong = x.copy()
    wrong[-1].flat[0] = np.nan

    def work(turn: int) -> None:
        kind = turn % 5
        if kind == 0:
            engine.profile(x, repeats=2)
        elif kind == 1:
            np.testing.assert_array_equal(bits_of(engine.trace(x)[0]), bits_of(expected))
        elif kind == 2:
            with pytest.raises(InvalidInput, match=f"row {len(x) - 1} holds NaN"):
                engine.run(wrong)
        else:
            fresh = Engine(program, threads=1 + turn % 3) if kind == 3 else engine
            np.testing.assert_array_equal(bits_of(fresh.run(x)), bits_of(expected))

    with ThreadPoolExecutor(6) as pool:
        assert len(list(pool.map(work, range(120)))) == 120


def small() -> Program:
    rng = np.random.default_rng(0)
    builder = Builder(rng, (2, 4, 4))
    builder.rescale(
        builder.layer(builder.to_codes("input", Uniform(bits=2, scale=1)), Uniform(bits=2, scale=1, signed=True)) or ""
    )
    return builder.program()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2, 4, 4)), "input is float64"),
        (np.zeros((1, 2, 4, 5), np.float32), r"input has shape \[1, 2, 4, 5\]"),
        (np.zeros((0, 2, 4, 4), np.float32), "no rows"),
        (np.full((3, 2, 4, 4), np.nan, np.float32), "input row 0 holds NaN"),
        (
            np.stack([np.zeros((2, 4, 4)), np.full((2, 4, 4), np.inf)]).astype(np.float32),
            "input row 1 holds NaN or inf",
        ),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(InvalidInput, match=message):
        Engine(small()).run(x)


def test_strided_and_foreign_input():
    x = np.random.default_rng(1).normal(0, 1, (4, 4, 4, 2)).astype(np.float32)
    engine = Engine(small())
    expected = reference.run(small(), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(engine.run(x.transpose(0, 3, 1, 2)), expected)
    raw = np.zeros(4 * 32 * 4 + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(4, 2, 4, 4)
    unaligned[:] = x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(engine.run(unaligned), expected)


def test_settings():
    with pytest.raises(UnknownName, match=r"Known: .*scalar"):
        Engine(small(), isa="sse9")
    for threads in (0, 257, 1.5):
        with pytest.raises(ValueError, match=r"allowed is an integer 1\.\.256"):
            Engine(small(), threads=threads)
    with pytest.raises(InvalidProgram, match="max_arena_mb"):
        Engine(small(), max_arena_mb=0)
    engine = Engine(small(), threads=2, isa="scalar")
    assert (engine.isa, engine.threads) == ("scalar", 2)
    assert set(engine.kernels()) == {op.output for op in small().ops}
    rows = engine.profile(np.zeros((1, 2, 4, 4), np.float32), repeats=3)
    assert sum(len(row.kinds) for row in rows) >= len(small().ops)


def test_environment_chooses_the_isa(monkeypatch):
    monkeypatch.setenv("LOWBIT_ISA", "scalar")
    assert Engine(small()).isa == "scalar"


def test_import_is_light():
    heavy = ("torch", "onnxruntime", "pandas", "scipy")
    code = f"import sys, lowbit.runtime.engine; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == "[]"
