"""Each threshold driven at its edges, through the chain of float operations that it replaced."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from exactness.check import Array, Converted, engines, equal

from lowbit.grid import Levels, Uniform
from lowbit.infer import Value, infer
from lowbit.program import Op, Program, Weight
from lowbit.runtime import reference

Chain = tuple[Op, list[Op], Value]


def chains(made: Converted) -> Iterator[Chain]:
    """Every threshold operation, the chain that it replaced, and the type of what enters both."""
    writer = {op.output: op for op in made.hoisted.ops}
    types = infer(made.hoisted)
    for op in made.program.ops:
        if op.kind == "threshold":
            chain = [writer[op.output]]
            while chain[0].inputs != op.inputs:
                chain.insert(0, writer[chain[0].inputs[0]])
            yield op, chain, types[op.inputs[0]]


def neighbours(thresholds: Array) -> Array:
    """t - 1, t, t + 1 of integers; the floats before and after t, and t."""
    if thresholds.dtype == np.float32:
        t = thresholds[np.isfinite(thresholds)]
        t = t[np.abs(t) < np.finfo(np.float32).max]
        beside = [np.nextafter(t, np.float32(side)) for side in (-np.inf, np.inf)]
        ends = np.array([-3e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38], np.float32)
        return np.unique(np.concatenate([t.reshape(-1), *beside, ends])).astype(np.float32)
    t = thresholds.astype(np.int64).reshape(-1)
    points = np.unique(np.concatenate([t - 1, t, t + 1, [0]]))
    return points[np.abs(points) < 2**31 - 1].astype(np.int32)


def reach(made: Converted, op: Op) -> Array:
    """Largest |accumulator| that the layer before a threshold can have: [channels]."""
    layer = next(o for o in made.program.ops if o.output == op.inputs[0])
    grid = next(v.grid for name, v in infer(made.program).items() if name == layer.inputs[0])
    assert layer.weight is not None and grid is not None
    units = np.abs(layer.weight.grid.units(layer.weight.codes())[0].astype(np.int64))
    return units.reshape(len(units), -1).sum(1) * int(np.abs(grid.unit_table()).max())


def through_chain(chain: list[Op], x: Array, types: dict[str, Value]) -> tuple[Array, Array]:
    """Codes of points [k, channels] by the operations that were there before, and where none of them overflows."""
    value = x[None] if types[chain[0].inputs[0]].kind == "acc" else x
    possible = np.ones(x.shape, bool)
    with np.errstate(all="ignore"):
        for op in chain:
            value = reference.step(op, [value], [types[op.inputs[0]]])
            possible &= np.isfinite(value)
    return value, possible


def drive(made: Converted) -> int:
    """Check every threshold at its edges by the reference and every engine; returns how many points were driven.

    Raises:
        Mismatch: where a threshold and its chain give different codes.
    """
    types, driven = infer(made.hoisted), 0
    for op, chain, start in chains(made):
        points = neighbours(op.arrays["thresholds"])
        if start.kind == "acc":
            bound = reach(made, op)
            points = points[np.abs(points.astype(np.int64)) <= min(bound.max(), 2**22 - 1)]
        x = np.repeat(points[:, None], start.shape[0], axis=1)
        expected, possible = through_chain(chain, x, types)
        codes = reference.step(op, [x[None] if start.kind == "acc" else x], [start])
        if start.kind == "acc":  # no input gives a channel more than its weights can add up to
            possible = np.abs(x.astype(np.int64)) <= bound
        expected = np.where(possible, expected, codes)
        equal(codes, expected, f"threshold {op.output} ({op.name})")
        if start.kind == "float":
            _drive_floats(op, points, expected, start.shape[0])
        else:
            _drive_accumulators(op, points, expected, start.shape[0])
        driven += x.size
    return driven


def _finish(op: Op) -> tuple[Op, ...]:
    return (
        Op(kind="threshold", name="t", inputs=("v",), output="codes", grid=op.grid, arrays=op.arrays),
        Op(kind="dequantize", name="d", inputs=("codes",), output="y"),
    )


def _drive_floats(op: Op, points: Array, expected: Array, channels: int) -> None:
    threshold, decode = _finish(op)
    ops = (Op(**{**vars(threshold), "inputs": ("input",)}), decode)
    program = Program(ops=ops, input_shape=(channels,), output="y")
    x = np.repeat(points[:, None], channels, axis=1)
    for engine in engines(program):
        equal(engine.trace(x)[1]["codes"], expected, f"{engine.isa}: threshold {op.name}")


def _drive_accumulators(op: Op, points: Array, expected: Array, channels: int) -> None:
    """A linear layer whose accumulators are exactly the points: digits times 1, 128 and 16384, twice."""
    digits, rest = [], points.astype(np.int64)
    for factor in (16384, 16384, 128, 1):
        digit = np.clip(np.rint(rest / factor).astype(np.int64), -127, 127)
        digits.append(digit)
        rest = rest - digit * factor
    assert not rest.any()
    x = np.stack(digits, 1).astype(np.float32)
    codes = np.broadcast_to(np.array([2, 2, 1, 0]), (channels, 4))
    weight = Weight.from_codes(codes, Levels(bits=2, scale=1, table=(1, 128, 16384)))
    quantize = Op(kind="quantize", name="q", inputs=("input",), output="x", grid=Uniform(bits=8, scale=1, signed=True))
    layer = Op(kind="linear", name="l", inputs=("x",), output="v", weight=weight)
    program = Program(ops=(quantize, layer, *_finish(op)), input_shape=(4,), output="y")
    output, values = reference.run(program, x, trace=True)
    equal(values["v"][0, :, 0], points, "accumulators")
    equal(values["codes"], expected, f"threshold {op.name}")
    for engine in engines(program):
        equal(engine.trace(x)[1]["codes"], expected, f"{engine.isa}: threshold {op.name}")
        equal(engine.run(x), output, f"{engine.isa}: fused threshold {op.name}")
