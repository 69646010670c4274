"""`lowbit bench --layers`: single layers of common shapes, at several bit-widths, beside float32 and int8."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowbit.bench.contenders import OTHERS, check_settings, chosen, installed
from lowbit.bench.file import Call, add_others
from lowbit.bench.rounds import Timing, interleave
from lowbit.grid import Grid, Planes, Uniform
from lowbit.program import Op, Program, Weight
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine, choose_isa

SEED = 0


@dataclass(frozen=True)
class Shape:
    """A 3 x 3 convolution with as many outputs as inputs at size x size, or (size 0) a linear layer."""

    channels: int
    size: int

    @property
    def macs(self) -> int:
        """Multiply-adds of one image."""
        return 9 * self.channels**2 * self.size**2 if self.size else self.channels**2

    def __str__(self) -> str:
        """As in tables."""
        return f"conv3x3 {self.channels} @ {self.size}x{self.size}" if self.size else f"linear {self.channels}"


SHAPES = (Shape(64, 56), Shape(128, 28), Shape(256, 14), Shape(512, 7), Shape(1024, 0))
BITS = ((1, 1), (2, 2), (4, 4), (8, 8))


def grids(weight_bits: int, activation_bits: int, channels: int) -> tuple[Grid, Grid]:
    """Grids of weights (a scale each channel) and of activations that methods of these bits use.

    Example:
        >>> [grid.describe() for grid in grids(2, 2, 4)]
        ['uniform -2..1', 'uniform 0..3']
    """
    scale = np.full(channels, 0.05, np.float32)
    weight: Grid = (
        Planes(bits=1, scales=scale[None]) if weight_bits == 1 else Uniform(bits=weight_bits, signed=True, scale=scale)
    )
    activation: Grid = (
        Planes(bits=1, scales=np.ones(1, np.float32))
        if activation_bits == 1
        else Uniform(bits=activation_bits, scale=np.array(1 / (2**activation_bits - 1), np.float32))
    )
    return weight, activation


def layer_program(shape: Shape, weight_bits: int, activation_bits: int, *, inside: bool = False) -> Program:
    """One layer with random weights, from a quantizer of its float input to a float output.

    Args:
        shape: of the layer.
        weight_bits, activation_bits: 1 to 8.
        inside: end in codes of the same bits, as between two layers of a network; they are dequantized after.
    """
    random = np.random.default_rng(SEED)
    n = shape.channels
    weight_grid, activation_grid = grids(weight_bits, activation_bits, n)
    kernel = (n, n, 3, 3) if shape.size else (n, n)
    low, high = weight_grid.code_range
    weight = Weight.from_codes(random.integers(low, high + 1, kernel), weight_grid)
    settings = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    if not shape.size:
        settings = {}
    kind = "conv" if shape.size else "linear"
    ops: tuple[Op, ...] = (
        Op(kind="quantize", name="input", inputs=("input",), output="codes", grid=activation_grid),
        Op(kind=kind, name="layer", inputs=("codes",), output="acc", weight=weight, attrs=settings),
    )  # fmt: skip
    if inside:
        ops += _to_codes(activation_grid, n, random)
    else:
        ops += (Op(kind="rescale", name="layer", inputs=("acc",), output="out"),)
    return Program(ops=ops, input_shape=(n, shape.size, shape.size) if shape.size else (n,), output="out")


def _to_codes(grid: Grid, channels: int, random: np.random.Generator) -> tuple[Op, ...]:
    """From accumulators to codes as `convert` writes it: thresholds up to 4 bits, the chain itself above."""
    last = Op(kind="dequantize", name="output", inputs=("next",), output="out")
    if grid.bits > 4:
        return (
            Op(kind="rescale", name="layer", inputs=("acc",), output="real"),
            Op(kind="activation", name="layer", inputs=("real",), output="positive", attrs={"function": "relu"}),
            Op(kind="quantize", name="layer", inputs=("positive",), output="next", grid=grid),
            last,
        )
    cuts = np.sort(random.integers(-50, 50, (channels, 2**grid.bits - 1)), axis=1).astype(np.int32)
    arrays: dict[str, np.ndarray] = {"thresholds": cuts, "descending": np.zeros(channels, np.uint8)}
    return (Op(kind="threshold", name="layer", inputs=("acc",), output="next", grid=grid, arrays=arrays), last)


def inside_seconds(shape: Shape, pair: tuple[int, int], threads: int, isa: str | None) -> float:
    """Median time of the layer from packed codes to packed codes, as inside a network."""
    program = layer_program(shape, *pair, inside=True)
    x = np.random.default_rng(SEED).random((1, *program.input_shape), dtype=np.float32)
    steps = Engine(program, threads=threads, isa=isa).profile(x, repeats=51)
    first = next(i for i, step in enumerate(steps) if {"conv", "linear"} & set(step.kinds))
    return 1e-9 * sum(step.ns for step in steps[first:] if step.kinds != ("dequantize",))


def bench_layers(
    against: Sequence[str] | None = None,
    *,
    threads: int = 1,
    isa: str | None = None,
    seconds: float = 1.0,
    shapes: Sequence[Shape] = SHAPES,
    bits: Sequence[tuple[int, int]] = BITS,
) -> dict[str, Any]:
    """Time single layers, float input to float output, at batch 1; all bit pairs of a shape take turns with the others.

    Args:
        against: of onnxruntime, openvino (float32 and int8) and torch (float32); None: those that are installed.
        threads: of every runtime.
        isa: instruction set of lowbit; None: the best.
        seconds: to spend on each contender of each shape.
        shapes: layers.
        bits: pairs of weight and activation bits.

    Returns:
        `rows`, one a layer and bit pair, with us, ratio and decided by contender, and lowbit's us_inside and gops: from
        packed codes to packed codes, on one thread, as inside a network (1 multiply-add = 2 operations).

    Raises:
        InvalidInput: threads or seconds cannot be measured.
        MissingExtra: a runtime is not installed.
        UnknownName: there is no such runtime or instruction set.
    """
    check_settings(threads, seconds)
    others = chosen(against)
    used = choose_isa(isa)
    rows, noisy = [], False
    for shape in shapes:
        timings = _timings(shape, bits, others, threads, used, seconds)
        noisy |= any(timing.noisy for timing in timings.values())
        for pair in bits:
            ours = timings[_name(pair)]
            theirs = {name: t.against(ours) for name, t in timings.items() if " " in name}
            inside = inside_seconds(shape, pair, 1, used)
            rows.append(
                {
                    "layer": str(shape),
                    "bits": _name(pair),
                    "us": {"lowbit": 1e6 * ours.seconds} | {name: 1e6 * t.seconds for name, t in theirs.items()},
                    "ratio": {"lowbit": 1.0} | {name: t.ratio for name, t in theirs.items()},
                    "decided": {name: t.decided for name, t in theirs.items()},
                    "us_inside": 1e6 * inside,
                    "gops": 2e-9 * shape.macs / inside,
                }
            )
    missing = [name for name in OTHERS if name not in installed()]
    found = {"kind": "layers", "isa": used, "not_installed": missing, "noisy": noisy, "rows": rows}
    return {**found, **provenance(threads=threads)}


def _name(pair: tuple[int, int]) -> str:
    return f"W{pair[0]}A{pair[1]}"


def _timings(
    shape: Shape, bits: Sequence[tuple[int, int]], others: Sequence[str], threads: int, isa: str, seconds: float
) -> dict[str, Timing]:
    """Times of one shape: lowbit's by bit pair, as "W1A1", and the others', as "onnxruntime int8"."""
    programs = {_name(pair): layer_program(shape, *pair) for pair in bits}
    inputs = np.random.default_rng(SEED).random((64, *next(iter(programs.values())).input_shape), dtype=np.float32)
    x = np.ascontiguousarray(inputs[:1])
    calls: dict[str, Call] = {}
    for name, program in programs.items():
        net = Engine(program, threads=threads, isa=isa)
        calls[name] = lambda net=net: net.run(x)  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        add_others(calls, {}, others, Path(folder), program, None, inputs[:8], 1, threads)
        return interleave(calls, seconds)
