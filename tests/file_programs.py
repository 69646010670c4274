"""Programs that together hold every kind of operation: what the fuzzer damages, and what golden files keep."""

from __future__ import annotations

from typing import Any

import numpy as np

from lowbit.grid import Codebook, Levels, Planes, Uniform
from lowbit.program import Op, Program, Weight


def every_integer_operation() -> Program:
    """One of every kind of operation on integers, of grid and of array."""
    rng = np.random.default_rng(0)
    q2, q4 = Uniform(bits=2, scale=0.5), Uniform(bits=4, scale=0.3, zero=7)

    def weight(shape: tuple[int, ...], grid: Any) -> Weight:
        low, high = grid.code_range
        return Weight.from_codes(rng.integers(low, high + 1, shape), grid)

    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    window = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 1}
    f = np.float32
    ternary, signs = (
        Levels(bits=2, scale=rng.random(4, f), table=[-1, 0, 1]),
        Planes(bits=2, scales=rng.random((2, 4), f)),
    )
    integers = {"thresholds": np.array([[-3, 0, 5]] * 4, np.int32), "descending": np.zeros(4, np.uint8)}
    floats = {"thresholds": np.array([[0.1, 0.2, 0.4]], f), "descending": np.zeros(1, np.uint8)}
    depthwise = {**conv, "groups": 4, "pad_mode": "reflect"}
    rows: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = [
        ("quantize", ("input",), "x", {"grid": q4}),
        ("conv", ("x",), "a", {"attrs": conv, "weight": weight((4, 2, 3, 3), ternary)}),
        ("threshold", ("a",), "t", {"grid": q2, "arrays": integers}),
        ("max_pool", ("t",), "m", {"attrs": {**window, "dilation": (1, 1)}}),
        ("conv", ("m",), "b", {"attrs": depthwise, "weight": weight((4, 1, 3, 3), signs)}),
        ("rescale", ("b",), "r", {"arrays": {"bias": rng.random(4, f)}}),
        ("affine", ("r",), "n", {"arrays": {"scale": rng.random(4, f), "shift": rng.random(4, f)}}),
        ("activation", ("n",), "h", {"attrs": {"function": "hardtanh", "low": -1.0, "high": 1.0}}),
        ("activation", ("h",), "l", {"attrs": {"function": "leaky_relu", "slope": 0.1}}),
        ("dequantize", ("m",), "d", {}),
        ("add", ("l", "d"), "s", {}),
        ("concat", ("s", "n"), "c", {}),
        ("avg_pool", ("c",), "p", {"attrs": {**window, "stride": (1, 1), "count_pad": 1, "divisor": 0}}),
        ("threshold", ("p",), "u", {"grid": q2, "arrays": floats}),
        ("mean", ("u",), "g", {"attrs": {"keep": 1}}),
        ("flatten", ("g",), "v", {}),
        ("quantize", ("v",), "w", {"grid": Planes(bits=1, scales=[0.5])}),
        ("linear", ("w",), "e", {"weight": weight((5, 8), Uniform(bits=3, scale=0.2, offset=-0.4))}),
        ("rescale", ("e",), "y", {}),
        ("quantize", ("y",), "k", {"grid": Uniform(bits=3, scale=0.2, odd=True)}),
        ("linear", ("k",), "o", {"weight": weight((3, 5), Codebook(bits=2, table=[-0.5, 0.0, 0.7]))}),
        ("rescale", ("o",), "out", {}),
    ]
    ops = tuple(Op(kind=k, name=f"m.{o}", inputs=i, output=o, **rest) for k, i, o, rest in rows)
    return Program(ops=ops, input_shape=(2, 5, 6), output="out", source={"model": "made"})


def bytes_and_floats() -> Program:
    """A uint8 image, layers with float activations (packed, planes, plain), and XNOR's factors."""
    rng = np.random.default_rng(1)
    f = np.float32
    q3 = Uniform(bits=3, scale=0.4)

    def weight(shape: tuple[int, ...], grid: Any) -> Weight:
        low, high = grid.code_range
        return Weight.from_codes(rng.integers(low, high + 1, shape), grid)

    conv = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    window = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "kernel": (3, 3)}
    signs = Planes(bits=1, scales=rng.random((1, 6), f))
    rows: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = [
        ("lookup", ("input",), "x", {"grid": q3, "arrays": {"table": rng.integers(0, 8, (3, 256), np.uint8)}}),
        ("conv", ("x",), "a", {"attrs": conv, "weight": weight((6, 3, 3, 3), signs)}),
        ("rescale", ("a",), "r", {}),
        ("gain", ("r",), "g", {"arrays": {"map": rng.random((6, 5, 4), f)}}),
        ("magnitude", ("g",), "k", {"attrs": window}),
        ("quantize", ("g",), "s", {"grid": Planes(bits=1, scales=[0.5])}),
        ("conv", ("s",), "b", {"attrs": conv, "weight": weight((6, 6, 3, 3), signs)}),
        ("rescale", ("b",), "t", {}),
        ("gain", ("t", "k"), "u", {}),
        ("float_conv", ("u",), "v", {
            "attrs": {**conv, "groups": 2}, "weight": weight((6, 3, 3, 3), Uniform(bits=4, signed=True, scale=0.1)),
            "arrays": {"bias": rng.random(6, f)},
        }),
        ("activation", ("v",), "w", {"attrs": {"function": "hardswish"}}),
        ("mean", ("w",), "m", {"attrs": {"keep": 0}}),
        ("float_linear", ("m",), "n", {"weight": weight((5, 6), Planes(bits=2, scales=rng.random((2, 5), f)))}),
        ("float_linear", ("n",), "o", {"arrays": {"weight": rng.random((4, 5), f)}}),
        ("float_linear", ("o",), "p", {"weight": weight((3, 4), Uniform(bits=8, signed=True, scale=0.02))}),
    ]  # fmt: skip
    ops = tuple(Op(kind=k, name=f"m.{o}", inputs=i, output=o, **rest) for k, i, o, rest in rows)
    return Program(ops=ops, input_shape=(3, 5, 4), output="p", input_dtype="uint8", source={"model": "made"})
