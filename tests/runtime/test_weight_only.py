"""Packed weights with float activations: the same floats on every instruction set, in the order that is defined."""

from __future__ import annotations

import numpy as np
import pytest

import lowbit
from lowbit.grid import Grid, Levels, Planes, Uniform
from lowbit.program import Op, Program, Weight
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available
from lowbit.runtime.float_layers import weight_only

BITS = (1, 2, 3, 4, 5, 8)


def grid_of(bits: int, channels: int, random: np.random.Generator) -> Grid:
    scale = np.exp(random.normal(-2, 1, channels)).astype(np.float32)
    if bits == 1:
        return Planes(bits=1, scales=scale[None])
    return Uniform(bits=bits, signed=True, scale=scale)


def linear(inner: int, outer: int, grid: Grid, random: np.random.Generator, bias: bool = True) -> Program:
    low, high = grid.code_range
    weight = Weight.from_codes(random.integers(low, high + 1, (outer, inner)), grid)
    arrays = {"bias": random.normal(size=outer).astype(np.float32)} if bias else {}
    op = Op(kind="float_linear", name="fc", inputs=("input",), output="y", weight=weight, arrays=arrays)
    return Program(ops=(op,), input_shape=(inner,), output="y")


def defined(program: Program, x: np.ndarray) -> np.ndarray:
    """The sums that native/ops/floats/params.h defines, in numpy."""
    op = program.ops[0]
    assert op.weight is not None
    grid = op.weight.grid
    units = grid.units(op.weight.codes())[0].astype(np.float32)
    per = 32 // grid.bits if grid.bits <= 4 else 4
    total = np.zeros((len(x), len(units)), np.float32)
    for first in range(0, x.shape[1], per):
        part: np.ndarray | None = None
        for k in range(first, min(first + per, x.shape[1])):
            product = x[:, k, None] * units[:, k]
            part = product if part is None else part + product
        total = total + part
    y = total * np.broadcast_to(grid.term_scales()[0], len(units))
    return y + op.arrays["bias"] if "bias" in op.arrays else y


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", BITS)
def test_sums_are_taken_in_the_defined_order(bits, isa):
    for seed, (inner, outer) in enumerate([(300, 200), (1, 17), (64, 64), (257, 100), (1000, 48), (33, 300)]):
        random = np.random.default_rng(seed)
        program = linear(inner, outer, grid_of(bits, outer, random), random, bias=seed % 2 == 0)
        x = random.normal(size=(5, inner)).astype(np.float32)
        assert weight_only(program.ops[0])
        engine = Engine(program, isa=isa)
        assert engine.kernels()["y"].startswith(f"floats_w{bits if bits <= 4 else 8}_")
        np.testing.assert_array_equal(engine.run(x), defined(program, x))
        np.testing.assert_array_equal(Engine(program, isa=isa, threads=2).run(x[:1]), defined(program, x[:1]))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize(
    "grid",
    [
        Levels(bits=2, scale=np.float32(0.3), table=[-1, 0, 1]),
        Levels(bits=3, scale=np.float32(0.3), table=[-4, -2, -1, 0, 1, 2, 4]),
        Levels(bits=4, scale=np.float32(0.3), table=[-300, -7, 5, 290]),
        Uniform(bits=4, scale=np.float32(0.1), odd=True),
        Uniform(bits=8, scale=np.float32(0.1), odd=True),
        Uniform(bits=8, scale=np.float32(0.1), signed=True, zero=5),
    ],
    ids=lambda grid: grid.describe(),
)
def test_any_grid_of_one_term(grid, isa):
    random = np.random.default_rng(1)
    program = linear(100, 50, grid, random)
    x = random.normal(size=(3, 100)).astype(np.float32)
    assert weight_only(program.ops[0])
    np.testing.assert_array_equal(Engine(program, isa=isa).run(x), defined(program, x))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bits", BITS)
def test_convolutions_give_the_same_floats_everywhere_and_stay_within_the_bound(bits, groups):
    random = np.random.default_rng(bits)
    grid, shape = grid_of(bits, 32 * groups, random), (32 * groups, 30, 3, 3)
    low, high = grid.code_range
    weight = Weight.from_codes(random.integers(low, high + 1, shape), grid)
    attrs = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": groups, "pad_mode": "zeros"}
    op = Op(kind="float_conv", name="conv", inputs=("input",), output="y", weight=weight, attrs=attrs)
    program = Program(ops=(op,), input_shape=(30 * groups, 9, 11), output="y")
    x = random.normal(size=(2, 30 * groups, 9, 11)).astype(np.float32)
    outputs = [Engine(program, isa=isa).run(x) for isa in available()]
    assert Engine(program).kernels()["y"].startswith("floats_w")
    assert all(np.array_equal(outputs[0], y) for y in outputs[1:])
    exact = reference.run(program, x)
    size = reference.run(Program(ops=(absolute(op),), input_shape=program.input_shape, output="y"), np.abs(x))
    assert (np.abs(outputs[0] - exact) <= 2 * 270 * 2.0**-24 * size).all()


@pytest.mark.parametrize("isa", available())
def test_a_shortcut_is_added_inside_the_step(isa):
    random = np.random.default_rng(3)
    attrs = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    values, ops = ["input"], []
    for i in range(3):
        grid = grid_of(4, 16, random)
        weight = Weight.from_codes(random.integers(-8, 8, (16, 16, 3, 3)), grid)
        conv = {"attrs": attrs, "weight": weight}
        ops.append(Op(kind="float_conv", name=f"c{i}", inputs=(values[-1],), output=f"c{i}", **conv))
        ops.append(Op(kind="add", name=f"s{i}", inputs=(f"c{i}", values[-1]), output=f"s{i}"))
        values.append(f"s{i}")
    program = Program(ops=tuple(ops), input_shape=(16, 8, 8), output="s2")
    x = random.normal(size=(2, 16, 8, 8)).astype(np.float32)
    engine = Engine(program, isa=isa)
    traced = engine.trace(x)[1]
    np.testing.assert_array_equal(traced["s1"], traced["c1"] + traced["s0"])
    np.testing.assert_array_equal(engine.run(x), traced["s2"])
    np.testing.assert_array_equal(engine.run(x), Engine(program, isa="scalar").run(x))


def absolute(op: Op) -> Op:
    assert op.weight is not None
    values = np.abs(op.weight.grid.values(op.weight.codes()))
    return Op(kind=op.kind, name="", inputs=op.inputs, output=op.output, attrs=op.attrs, arrays={"weight": values})


def test_weights_that_would_grow_keep_the_portable_kernel():
    random = np.random.default_rng(0)
    narrow = linear(20000, 1, grid_of(1, 1, random), random)
    assert not weight_only(narrow.ops[0])
    several = linear(64, 64, Planes(bits=2, scales=np.ones((2, 64), np.float32)), random)
    assert not weight_only(several.ops[0])
    for program in (narrow, several):
        x = random.normal(size=(1, *program.input_shape)).astype(np.float32)
        outputs = [Engine(program, isa=isa).run(x) for isa in available()]
        assert all(np.array_equal(outputs[0], y) for y in outputs[1:])


@pytest.mark.parametrize("weight", ["sign", "lsq:2", "lsq:3", "lsq:4", "lsq:8"])
def test_a_converted_model(weight):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 10))
    x = torch.randn(16, 64)
    model = lowbit.prepare(net, weight=weight, activation=None, first="same", last="same", example=x)
    lowbit.calibrate(model, [x])
    program = lowbit.convert(model, x, allow_inexact=True)
    assert not program.exact
    engine = Engine(program)
    assert sum(kernel.startswith("floats_w") for kernel in engine.kernels().values()) >= 2
    expected = model.eval()(x).detach().numpy()
    np.testing.assert_allclose(engine.run(x.numpy()), expected, rtol=1e-4, atol=1e-5)
