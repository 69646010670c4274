"""The rules of a program: which operations exist, what they accept, and what they produce.

`infer` walks a program once and returns the type of every value; it is the only validator. Everything that
loads, runs or exports a program calls it first and may then assume that all shapes, ranges and grids agree.

    operation     reads            writes   attributes, arrays
    quantize      float            codes    grid
    lookup        bytes            codes    grid; table uint8 [channels, 256] of code - low
    dequantize    codes            float
    conv          codes            acc      weight; stride padding dilation (pairs), groups, pad_mode
    linear        codes            acc      weight
    rescale       acc              float    bias float32 [channels] (optional)
    threshold     acc or float     codes    grid; thresholds int32 or float32 [channels or 1, levels - 1];
                                            descending uint8 [channels or 1]
    affine        float            float    scale, shift float32 [channels]
    activation    float            float    function: relu relu6 hardtanh hardswish leaky_relu; low, high, slope
    add           float + float    float
                  codes + codes    float    both on one grid of one term
    concat        all float/codes  same     codes on one grid; along the channels
    max_pool      float or codes   same     kernel stride padding dilation (pairs), ceil
    avg_pool      float or codes   float    kernel stride padding (pairs), ceil, count_pad, divisor (0: window)
    mean          float or codes   float    over height and width; keep: [channels, 1, 1], else [channels]
    flatten       float or codes   same
    magnitude     float            float    [1, oh, ow] (of [features]: [1]); kernel stride padding dilation (pairs)
    gain          float, float     float    y * k, k of one channel
                  float            float    y * map; map float32 of y's shape
    float_conv    float            float    inexact; as conv, weight or array weight; bias
    float_linear  float            float    inexact; as linear, weight or array weight; bias
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowbit.errors import InvalidProgram
from lowbit.grid import Codebook, Grid, Planes, Uniform
from lowbit.pack import largest, packed_bytes
from lowbit.program import Op, Program

MAX_ELEMENTS = 2**28
"""Largest value of one image, in elements."""
MAX_ACC = 2**31 - 1
PAD_MODES = ("zeros", "reflect", "replicate", "circular")
FUNCTIONS = {"relu": (), "relu6": (), "hardtanh": ("low", "high"), "hardswish": (), "leaky_relu": ("slope",)}
LAYERS = ("conv", "linear", "float_conv", "float_linear")


@dataclass(frozen=True)
class Value:
    """Type of a value: `kind` as in `lowbit.program`, shape of one image; grids of codes and accumulators."""

    kind: str
    shape: tuple[int, ...]
    grid: Grid | None = None
    weight_grid: Grid | None = None

    @property
    def size(self) -> int:
        """Elements of one image."""
        return math.prod(self.shape)


class _Fault(ValueError):
    """A broken rule; `infer` adds which operation broke it."""


def need(condition: bool, message: str) -> None:
    """Raise unless a rule holds."""
    if not condition:
        raise _Fault(message)


def integer(op: Op, key: str, low: int, high: int) -> int:
    """An integer attribute within limits."""
    value = op.attrs.get(key)
    need(type(value) is int and low <= value <= high, f"{key} is {value!r}, allowed is an integer {low}..{high}")
    return value  # type: ignore[return-value]


def pair(op: Op, key: str, low: int, high: int) -> tuple[int, int]:
    """A pair of integers within limits."""
    value = op.attrs.get(key)
    ok = (
        isinstance(value, (tuple, list)) and len(value) == 2 and all(type(v) is int and low <= v <= high for v in value)
    )
    need(ok, f"{key} is {value!r}, allowed are two integers {low}..{high}")
    return value[0], value[1]  # type: ignore[index]


def array(op: Op, key: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of this type and shape, finite if float."""
    value = op.arrays.get(key)
    if value is None:
        raise _Fault(f"array {key} is missing")
    need(
        value.dtype == dtype and value.shape == shape,
        f"array {key} is {value.dtype} {value.shape}, expected {dtype} {shape}",
    )
    need(dtype != "float32" or bool(np.isfinite(value).all()), f"array {key} holds NaN or infinity")
    return value


def image(value: Value) -> tuple[int, int, int]:
    """Shape of a value that must be an image."""
    need(len(value.shape) == 3, f"needs [channels, height, width], got {value.shape}")
    return value.shape  # type: ignore[return-value]


def activation_grid(grid: Grid | None) -> Grid:
    """A grid that activations may have."""
    need(grid is not None, "grid of the output is missing")
    assert grid is not None
    need(grid.bits <= 8, f"activations have at most 8 bits, got {grid.bits}")
    need(not isinstance(grid, Codebook), "a codebook grid is for weights only")
    need(grid.channels is None, "activation grids have one scale for the tensor")
    need(getattr(grid, "offset", None) is None, "activation grids have no real offset")
    signed = isinstance(grid, Planes)  # a trained plane may be worth less than nothing; other steps may not
    need(signed or bool((grid.term_scales() > 0).all()), "activation scales must be positive")
    need(grid.max_unit <= 2**15, f"units reach {grid.max_unit}, allowed is 2^15")
    return grid


def weight_shape(op: Op, rank: int) -> tuple[int, ...]:
    """Shape of the layer's weight, packed or float, after checking its storage."""
    if op.weight is None:
        need(op.kind.startswith("float_"), "weight is missing")
        value = op.arrays.get("weight")
        need(
            value is not None and value.dtype == "float32" and value.ndim == rank and value.size > 0,
            f"needs a float32 weight of rank {rank}",
        )
        assert value is not None
        need(bool(np.isfinite(value).all()), "weight holds NaN or infinity")
        return value.shape
    shape, grid = op.weight.shape, op.weight.grid
    need(
        len(shape) == rank and all(type(n) is int and 1 <= n <= 2**24 for n in shape),
        f"weight shape is {shape}, allowed are {rank} positive integers up to 2^24",
    )
    need(grid.bits <= 8, f"weights have at most 8 bits, got {grid.bits}")
    need(grid.channels in (None, shape[0]), f"weight grid has {grid.channels} scales for {shape[0]} output channels")
    need(grid.max_unit <= 2**15, f"weight units reach {grid.max_unit}, allowed is 2^15")
    need(op.weight.packed.dtype == np.uint8, "packed weights must be uint8")
    need(
        op.weight.packed.size == packed_bytes(math.prod(shape), grid.bits),
        f"weight of shape {shape} at {grid.bits} bits takes {packed_bytes(math.prod(shape), grid.bits)} bytes, "
        f"got {op.weight.packed.size}",
    )
    low, high = grid.code_range
    if high - low + 1 < 2**grid.bits:
        last = largest(op.weight.packed, grid.bits, math.prod(shape)) + low
        need(last <= high, f"weight codes reach {last}, the grid ends at {high}")
    return shape


def accumulate(x: Value, op: Op, shape: tuple[int, ...], fan_in: int) -> Value:
    """Type of a layer's output, after checking that its accumulators fit an int32."""
    if op.kind.startswith("float_"):
        if "bias" in op.arrays:
            array(op, "bias", "float32", (shape[0],))
        return Value("float", shape)
    assert x.grid is not None and op.weight is not None
    bound = fan_in * x.grid.max_unit * op.weight.grid.max_unit
    need(bound <= MAX_ACC, f"accumulators can reach {bound}, more than an int32 holds; use fewer bits or inputs")
    return Value("acc", shape, x.grid, op.weight.grid)


def window(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool = False) -> int:
    """Output length of a sliding window, by torch's rule (a window must start inside the input or its left pad)."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (span + (stride - 1 if ceil else 0)) // stride + 1  # `ceil` may let a window reach beyond both ends
    need(out >= 1, f"a window of {dilation * (kernel - 1) + 1} does not fit {size} with padding {padding}")
    return out - 1 if ceil and (out - 1) * stride >= size + padding else out


def _quantize(op: Op, x: Value) -> Value:
    need(x.kind == "float", f"reads float, got {x.kind}")
    grid = activation_grid(op.grid)
    ok = isinstance(grid, Uniform) or (isinstance(grid, Planes) and grid.bits == 1 and grid.patterns is None)
    need(ok, f"{grid.describe()} has no arithmetic encoding; use threshold")
    return Value("codes", x.shape, grid)


def _lookup(op: Op, x: Value) -> Value:
    need(x.kind == "bytes", f"reads the uint8 input, got {x.kind}")
    grid = activation_grid(op.grid)
    table = array(op, "table", "uint8", (x.shape[0], 256))
    low, high = grid.code_range
    need(int(table.max()) <= high - low, f"table reaches {table.max()}, the grid has {high - low + 1} codes")
    return Value("codes", x.shape, grid)


def _dequantize(op: Op, x: Value) -> Value:
    need(x.kind == "codes", f"reads codes, got {x.kind}")
    return Value("float", x.shape)


def _conv(op: Op, x: Value) -> Value:
    need(x.kind == ("float" if op.kind == "float_conv" else "codes"), f"got {x.kind}")
    channels, height, width = image(x)
    out, inner, kh, kw = weight_shape(op, 4)
    stride, dilation = pair(op, "stride", 1, 2**15), pair(op, "dilation", 1, 2**15)
    padding, groups = pair(op, "padding", 0, 2**15), integer(op, "groups", 1, channels)
    mode = op.attrs.get("pad_mode")
    need(mode in PAD_MODES, f"pad_mode is {mode!r}, allowed are {', '.join(PAD_MODES)}")
    need(
        channels == inner * groups and out % groups == 0,
        f"{channels} channels and {out} outputs do not fit {groups} groups of {inner}",
    )
    for pad, size in zip(padding, (height, width), strict=True):
        limit = {"reflect": size - 1, "circular": size}.get(str(mode), 2**15)
        need(pad <= limit, f"{mode} padding of {pad} exceeds {limit}")
    shape = (
        out,
        window(height, kh, stride[0], padding[0], dilation[0]),
        window(width, kw, stride[1], padding[1], dilation[1]),
    )
    return accumulate(x, op, shape, inner * kh * kw)


def _linear(op: Op, x: Value) -> Value:
    need(x.kind == ("float" if op.kind == "float_linear" else "codes"), f"got {x.kind}")
    out, inner = weight_shape(op, 2)
    need(x.shape == (inner,), f"needs [{inner}], got {list(x.shape)}")
    return accumulate(x, op, (out,), inner)


def _rescale(op: Op, x: Value) -> Value:
    need(x.kind == "acc", f"reads accumulators, got {x.kind}")
    if "bias" in op.arrays:
        array(op, "bias", "float32", x.shape[:1])
    return Value("float", x.shape)


def acc_terms(x: Value) -> int:
    """Number of accumulators of one output: weight terms x input terms, plus the input terms for an offset."""
    assert x.grid is not None and x.weight_grid is not None
    offset = getattr(x.weight_grid, "offset", None) is not None
    return x.grid.terms * (x.weight_grid.terms + offset)


def _threshold(op: Op, x: Value) -> Value:
    need(x.kind in ("acc", "float"), f"reads acc or float, got {x.kind}")
    need(x.kind == "float" or acc_terms(x) == 1, "several accumulators have no thresholds")
    grid = activation_grid(op.grid)
    low, high = grid.code_range
    t = op.arrays.get("thresholds")
    need(t is not None and t.ndim == 2, "thresholds are missing or not two-dimensional")
    assert t is not None
    need(t.shape[0] in (1, x.shape[0]), f"thresholds are for {t.shape[0]} channels, not 1 or {x.shape[0]}")
    dtype = "int32" if x.kind == "acc" else "float32"
    need(
        t.dtype == dtype and t.shape[1] == high - low,
        f"thresholds are {t.dtype} {t.shape}, expected {dtype} [{t.shape[0]}, {high - low}]",
    )
    need(not (dtype == "float32" and np.isnan(t).any()), "thresholds hold NaN")
    falling = array(op, "descending", "uint8", (t.shape[0],)).astype(bool)
    need(int(op.arrays["descending"].max()) <= 1, "descending must be 0 or 1")
    rising = np.where(falling[:, None], t[:, ::-1], t)
    need(bool((rising[:, 1:] >= rising[:, :-1]).all()), "thresholds are not in order")
    return Value("codes", x.shape, grid)


def _affine(op: Op, x: Value) -> Value:
    need(x.kind == "float", f"reads float, got {x.kind}")
    array(op, "scale", "float32", x.shape[:1])
    array(op, "shift", "float32", x.shape[:1])
    return x


def _activation(op: Op, x: Value) -> Value:
    need(x.kind == "float", f"reads float, got {x.kind}")
    function = op.attrs.get("function")
    need(
        isinstance(function, str) and function in FUNCTIONS,
        f"function is {function!r}, allowed are {', '.join(FUNCTIONS)}",
    )
    for key in FUNCTIONS[str(function)]:
        value = op.attrs.get(key)
        need(isinstance(value, float) and math.isfinite(value), f"{key} is {value!r}, allowed is a finite number")
    if function == "hardtanh":
        need(op.attrs["low"] <= op.attrs["high"], "hardtanh has low above high")
    return x


def same_codes(values: Sequence[Value]) -> bool:
    """Whether all values are codes on one grid."""
    first = values[0].grid
    return first is not None and all(v.kind == "codes" and v.grid is not None and first.same(v.grid) for v in values)


def _add(op: Op, a: Value, b: Value) -> Value:
    need(a.shape == b.shape, f"shapes differ: {a.shape} and {b.shape}")
    codes = same_codes((a, b)) and a.grid is not None and a.grid.terms == 1
    need(codes or (a.kind == b.kind == "float"), "needs two floats, or two codes on one grid of one term")
    return Value("float", a.shape)


def _concat(op: Op, *xs: Value) -> Value:
    need(len(xs) >= 1 and all(x.shape[1:] == xs[0].shape[1:] for x in xs), "shapes differ outside the channels")
    floats = all(x.kind == "float" for x in xs)
    need(floats or same_codes(xs), "needs all floats, or codes on one grid")
    return Value(xs[0].kind, (sum(x.shape[0] for x in xs), *xs[0].shape[1:]), xs[0].grid)


def _pool(op: Op, x: Value) -> Value:
    need(x.kind in ("float", "codes"), f"reads float or codes, got {x.kind}")
    channels, height, width = image(x)
    kernel, stride = pair(op, "kernel", 1, 2**15), pair(op, "stride", 1, 2**15)
    padding = pair(op, "padding", 0, 2**14)
    need(2 * padding[0] <= kernel[0] and 2 * padding[1] <= kernel[1], f"padding {padding} exceeds half of {kernel}")
    ceil = bool(integer(op, "ceil", 0, 1))
    dilation = (1, 1)
    if op.kind == "max_pool":
        dilation = pair(op, "dilation", 1, 2**15)
        ordered = x.grid is None or (x.grid.terms == 1 and bool((x.grid.term_scales() > 0).all()))
        need(ordered, "codes of several planes, or of a negative one, are not in the order of their values")
        for size, k, p, d in zip((height, width), kernel, padding, dilation, strict=True):
            filled = p == 0 or d == 1 or (d <= size and (p + d - 1) // d <= k - 1)
            need(filled, f"kernel {k}, padding {p}, dilation {d} leave a window without any input")
    else:
        integer(op, "count_pad", 0, 1)
        integer(op, "divisor", 0, 2**24)
    shape = (
        channels,
        window(height, kernel[0], stride[0], padding[0], dilation[0], ceil),
        window(width, kernel[1], stride[1], padding[1], dilation[1], ceil),
    )
    return Value("float", shape) if op.kind == "avg_pool" else Value(x.kind, shape, x.grid)


def _magnitude(op: Op, x: Value) -> Value:
    need(x.kind == "float", f"reads float, got {x.kind}")
    if len(x.shape) == 1:
        need(not op.attrs, "has a window over features")
        return Value("float", (1,))
    kernel, stride = pair(op, "kernel", 1, 2**15), pair(op, "stride", 1, 2**15)
    padding, dilation = pair(op, "padding", 0, 2**15), pair(op, "dilation", 1, 2**15)
    sides = zip(x.shape[1:], kernel, stride, padding, dilation, strict=True)
    return Value("float", (1, *(window(*side) for side in sides)))


def _gain(op: Op, y: Value, *k: Value) -> Value:
    need(y.kind == "float" and all(v.kind == "float" for v in k), "reads float")
    if k:
        need(len(k) == 1 and k[0].shape == (1, *y.shape[1:]), f"factor has shape {k[0].shape}, the value {y.shape}")
        need("map" not in op.arrays, "has a map besides a factor")
    else:
        array(op, "map", "float32", y.shape)
    return y


def _mean(op: Op, x: Value) -> Value:
    need(x.kind in ("float", "codes"), f"reads float or codes, got {x.kind}")
    channels, _, _ = image(x)
    return Value("float", (channels, 1, 1) if integer(op, "keep", 0, 1) else (channels,))


def _flatten(op: Op, x: Value) -> Value:
    need(x.kind in ("float", "codes"), f"reads float or codes, got {x.kind}")
    return Value(x.kind, (x.size,), x.grid)


RULES: Mapping[str, tuple[Callable[..., Value], int, frozenset[str], frozenset[str]]] = {
    # kind: (rule, number of inputs or -1, attributes, arrays)
    kind: (rule, inputs, frozenset(attrs.split()), frozenset(arrays.split()))
    for kind, rule, inputs, attrs, arrays in (
        ("quantize", _quantize, 1, "", ""),
        ("lookup", _lookup, 1, "", "table"),
        ("dequantize", _dequantize, 1, "", ""),
        ("conv", _conv, 1, "stride padding dilation groups pad_mode", ""),
        ("linear", _linear, 1, "", ""),
        ("float_conv", _conv, 1, "stride padding dilation groups pad_mode", "weight bias"),
        ("float_linear", _linear, 1, "", "weight bias"),
        ("rescale", _rescale, 1, "", "bias"),
        ("threshold", _threshold, 1, "", "thresholds descending"),
        ("affine", _affine, 1, "", "scale shift"),
        ("activation", _activation, 1, "function low high slope", ""),
        ("add", _add, 2, "", ""),
        ("concat", _concat, -1, "", ""),
        ("max_pool", _pool, 1, "kernel stride padding dilation ceil", ""),
        ("avg_pool", _pool, 1, "kernel stride padding ceil count_pad divisor", ""),
        ("mean", _mean, 1, "keep", ""),
        ("magnitude", _magnitude, 1, "kernel stride padding dilation", ""),
        ("gain", _gain, -1, "", "map"),
        ("flatten", _flatten, 1, "", ""),
    )
}


def apply(op: Op, values: Mapping[str, Value], index: int | None = None) -> Value:
    """Type of an operation's output, given the types of the values before it.

    Raises:
        InvalidProgram: if it breaks a rule.
    """
    try:
        value = _apply(op, values)
        need(value.size <= MAX_ELEMENTS, f"writes {value.size} elements, allowed are {MAX_ELEMENTS}")
        return value
    except _Fault as fault:
        where = "" if index is None else f"operation {index} ({op.kind} {op.name}): "
        raise InvalidProgram(f"{where}{fault}") from None


def _apply(op: Op, values: Mapping[str, Value]) -> Value:
    need(op.kind in RULES, f"no such operation; known are {', '.join(RULES)}")
    rule, arity, attrs, arrays = RULES[op.kind]
    need(len(op.inputs) == arity if arity >= 0 else len(op.inputs) >= 1, f"reads {len(op.inputs)} values")
    need(set(op.attrs) <= attrs, f"unknown attributes {sorted(set(op.attrs) - attrs)}")
    need(set(op.arrays) <= arrays, f"unknown arrays {sorted(set(op.arrays) - arrays)}")
    for name in op.inputs:
        need(name in values, f"reads {name!r} before anything wrote it")
    need(op.output not in values, f"writes {op.output!r} a second time")
    need(op.weight is None or op.kind in LAYERS, "has a weight")
    need(op.grid is None or op.kind in ("quantize", "lookup", "threshold"), "has a grid")
    return rule(op, *(values[name] for name in op.inputs))


def infer(program: Program) -> dict[str, Value]:
    """Check every rule and return the type of every value.

    Raises:
        InvalidProgram: naming the operation, what it has and what is allowed.
    """
    shape = program.input_shape
    dims = all(type(n) is int and 1 <= n <= 2**24 for n in shape)
    if len(shape) not in (1, 3) or not dims or math.prod(shape) > MAX_ELEMENTS:
        raise InvalidProgram(f"input shape is {shape}, allowed is [features] or [channels, height, width]")
    if program.input_dtype not in ("float32", "uint8"):
        raise InvalidProgram(f"input dtype is {program.input_dtype!r}, allowed are float32 and uint8")
    values = {"input": Value("float" if program.input_dtype == "float32" else "bytes", tuple(shape))}
    for index, op in enumerate(program.ops):
        values[op.output] = apply(op, values, index)
    if program.output not in values or values[program.output].kind != "float":
        raise InvalidProgram(f"output {program.output!r} is not a float value of the program")
    return values
