"""The normative interpreter: what every operation of a program means, in plain numpy.

Slow and clear. Kernels, the eval model and exported C must agree with it bit for bit. Rules that matter:

* integers are exact; sums of products run in float64, which is exact far beyond the int32 that `infer` allows;
* every float32 operation is rounded by itself, in the order written here: no fused multiply-add, no
  reciprocal, no reassociation;
* float sums (pooling of float streams) run sequentially in row-major order, then divide once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput
from lowbit.grid import Float, Grid, quantize
from lowbit.infer import Value, infer, window
from lowbit.program import Op, Program
from lowbit.runtime.magnitude import FIXED, magnitude_factor

Array = NDArray[Any]


def check_input(program: Program, x: Array) -> Array:
    """The input as a C-contiguous array [batch, *shape], or InvalidInput naming what is wrong."""
    x = np.asarray(x)
    expected = "[batch, " + ", ".join(map(str, program.input_shape)) + "]"
    if x.dtype != program.input_dtype:
        raise InvalidInput(f"input is {x.dtype}, this network takes {program.input_dtype} {expected}")
    if x.shape[1:] != tuple(program.input_shape) or x.ndim != len(program.input_shape) + 1:
        raise InvalidInput(f"input has shape {list(x.shape)}, this network takes {expected}")
    if len(x) == 0:
        raise InvalidInput(f"input has no rows, this network takes {expected} with batch >= 1")
    if x.dtype == np.float32 and not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x.reshape(len(x), -1)).all(axis=1)))
        raise InvalidInput(f"input row {row} holds NaN or infinity; clean the data before running the network")
    return np.ascontiguousarray(x)


def run(program: Program, x: Array, trace: bool = False) -> Any:
    """Execute a program.

    Args:
        program: from `lowbit.convert` or `runtime.load(...).program`.
        x: float32 (or uint8, as `program.input_dtype` says) [batch, *program.input_shape].
        trace: also return every value.

    Returns:
        float32 [batch, ...]; with `trace` a pair of it and a dict of every value by name: float32 for floats,
        int32 codes, int32 accumulators [terms, batch, ...].

    Raises:
        InvalidProgram: if the program breaks a rule.
        InvalidInput: for data of the wrong shape or dtype, or with NaN or infinity.
    """
    types = infer(program)
    values: dict[str, Array] = {"input": check_input(program, x)}
    for op in program.ops:
        values[op.output] = step(op, [values[name] for name in op.inputs], [types[name] for name in op.inputs])
    return (values[program.output], values) if trace else values[program.output]


def step(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    """Execute one operation on arrays that carry a batch axis in front (accumulators: after the terms)."""
    return OPERATIONS[op.kind](op, inputs, types)


def _channels(values: Array, ndim: int) -> Array:
    """Reshape [channels] or [channels, k] so that it broadcasts against [batch, channels, ...]."""
    return values.reshape(values.shape[0], *(1,) * (ndim - 2))


# -- from and to codes -------------------------------------------------------------------------------------------


def _quantize(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    assert op.grid is not None
    return quantize(inputs[0], op.grid)


def _lookup(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    assert op.grid is not None
    channel = np.arange(inputs[0].shape[1]).reshape(-1, *(1,) * (inputs[0].ndim - 2))
    return op.arrays["table"][channel, inputs[0]].astype(np.int32) + np.int32(op.grid.code_range[0])


def _dequantize(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    assert types[0].grid is not None
    return types[0].grid.values(inputs[0])


def _threshold(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    assert op.grid is not None
    x = inputs[0][0] if types[0].kind == "acc" else inputs[0]
    thresholds, falling = op.arrays["thresholds"], op.arrays["descending"].astype(bool)
    codes = np.full(x.shape, op.grid.code_range[0], np.int32)
    for k in range(thresholds.shape[1]):
        t = _channels(thresholds[:, k], x.ndim)
        codes += np.where(_channels(falling, x.ndim), x <= t, x >= t)
    return codes


# -- layers ------------------------------------------------------------------------------------------------------


def _pad(x: Array, padding: tuple[int, int], mode: str) -> Array:
    widths = ((0, 0),) * (x.ndim - 2) + tuple((p, p) for p in padding)
    if mode == "zeros":
        return np.pad(x, widths)
    return np.pad(x, widths, mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])  # type: ignore[call-overload]


def convolve(x: Array, w: Array, op: Op) -> Array:
    """Sums of products in float64: x [batch, in, h, w], w [out, in / groups, kh, kw] -> [batch, out, oh, ow].

    Zero padding adds the *unit* 0, also on grids that have no zero level.
    """
    stride, dilation, groups = op.attrs["stride"], op.attrs["dilation"], op.attrs["groups"]
    x = _pad(x, op.attrs["padding"], op.attrs["pad_mode"]).astype(np.float64)
    out, inner, kh, kw = w.shape
    oh = window(x.shape[2], kh, stride[0], 0, dilation[0])
    ow = window(x.shape[3], kw, stride[1], 0, dilation[1])
    y = np.zeros((x.shape[0], groups, out // groups, oh * ow))
    xg = x.reshape(x.shape[0], groups, inner, *x.shape[2:])
    wg = w.astype(np.float64).reshape(groups, out // groups, inner, kh, kw)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (oh - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (ow - 1) * stride[1] + 1, stride[1])
            y += wg[..., i, j] @ xg[..., rows, columns].reshape(*xg.shape[:3], -1)
    return y.reshape(x.shape[0], out, oh, ow)


def _accumulate(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    """All accumulators of a layer, int32 [terms, batch, ...]: weight terms outside, input terms inside, offset last."""
    assert op.weight is not None and types[0].grid is not None
    x, w = types[0].grid.units(inputs[0]), op.weight.grid.units(op.weight.codes())
    if getattr(op.weight.grid, "offset", None) is not None:
        w = np.concatenate([w, np.ones_like(w[:1])])
    multiply = convolve if op.kind == "conv" else _matmul
    return np.stack([multiply(xi, wi, op) for wi in w for xi in x]).astype(np.int32)


def _matmul(x: Array, w: Array, op: Op) -> Array:
    return x.astype(np.float64) @ w.astype(np.float64).T


def coefficients(x: Grid, weight: Grid, channels: int) -> Float:
    """float32(scale_x * scale_w) of every accumulator: [terms, channels], in the order of the accumulators."""
    scales = weight.term_scales()
    offset = getattr(weight, "offset", None)
    if offset is not None:
        scales = np.concatenate([scales, offset[None]])
    scales = scales.reshape(len(scales), -1)
    rows = [sw * sx for sw in scales for sx in x.term_scales()]
    return np.stack([np.broadcast_to(row, channels) for row in rows]).astype(np.float32)


def _rescale(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    acc, x, w = inputs[0], types[0].grid, types[0].weight_grid
    assert x is not None and w is not None
    c = coefficients(x, w, types[0].shape[0])
    y = acc[0].astype(np.float32) * _channels(c[0], acc.ndim - 1)
    for a, ci in zip(acc[1:], c[1:], strict=True):
        y = y + a.astype(np.float32) * _channels(ci, acc.ndim - 1)
    return y + _channels(op.arrays["bias"], y.ndim) if "bias" in op.arrays else y


def _float_layer(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    """Inexact by nature: float operands. Summed in float64 here, so that it is the most accurate of all runtimes."""
    w = op.arrays["weight"] if op.weight is None else op.weight.grid.values(op.weight.codes())
    y = convolve(inputs[0], w, op) if op.kind == "float_conv" else _matmul(inputs[0], w, op)
    y = y.astype(np.float32)
    return y + _channels(op.arrays["bias"], y.ndim) if "bias" in op.arrays else y


# -- float streams -----------------------------------------------------------------------------------------------


def _affine(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    y = inputs[0] * _channels(op.arrays["scale"], inputs[0].ndim)
    return y + _channels(op.arrays["shift"], inputs[0].ndim)


def activation(x: Float, function: str, attrs: Any) -> Float:
    """Activation functions, float32, NaN kept, -0.0 kept.

    relu: x where x > 0, else 0. relu6, hardtanh: clip. hardswish: (x * clip(x + 3, 0, 6)) / 6.
    leaky_relu: x where x > 0, else x * slope.
    """
    f = np.float32
    if function == "hardswish":
        return x * np.clip(x + f(3), f(0), f(6)) / f(6)
    if function == "leaky_relu":
        return np.where(x > 0, x, x * f(attrs["slope"]))
    low, high = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}.get(function) or (attrs["low"], attrs["high"])
    return np.where(x < f(low), f(low), np.where(x > f(high), f(high), x))


def _activation(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    return activation(inputs[0], op.attrs["function"], op.attrs)


def _add(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    grid = types[0].grid
    if grid is None:
        return inputs[0] + inputs[1]
    total = grid.units(inputs[0])[0] + grid.units(inputs[1])[0]
    return total.astype(np.float32) * grid.term_scales()[0]


def _concat(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    return np.concatenate(inputs, axis=1)


def _flatten(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    return inputs[0].reshape(len(inputs[0]), -1)


# -- pooling -----------------------------------------------------------------------------------------------------


def _windows(op: Op, shape: tuple[int, ...]) -> tuple[tuple[int, int], Callable[[int, int], tuple[slice, slice]]]:
    """Output size of a pool, and the input window of output (row, column) cut to the real input."""
    kernel, stride, padding = op.attrs["kernel"], op.attrs["stride"], op.attrs["padding"]
    dilation, ceil = op.attrs.get("dilation", (1, 1)), bool(op.attrs["ceil"])
    size = [window(shape[-2 + i], kernel[i], stride[i], padding[i], dilation[i], ceil) for i in (0, 1)]

    def cut(row: int, column: int) -> tuple[slice, slice]:
        spans = []
        for i, index in enumerate((row, column)):
            start = index * stride[i] - padding[i]
            first = start if start >= 0 else start + -(start // dilation[i]) * dilation[i]
            spans.append(slice(first, min(start + dilation[i] * (kernel[i] - 1) + 1, shape[-2 + i]), dilation[i]))
        return spans[0], spans[1]

    return (size[0], size[1]), cut


def _max_pool(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    x = inputs[0]
    (height, width), cut = _windows(op, x.shape)
    y = np.empty((*x.shape[:2], height, width), x.dtype)
    for row, column in np.ndindex(height, width):
        rows, columns = cut(row, column)
        taps = x[:, :, rows, columns].reshape(*x.shape[:2], -1)
        best = taps[..., 0]
        for i in range(1, taps.shape[-1]):  # the first of equals stays, as in torch: zeros have a sign
            best = np.where((taps[..., i] > best) | (taps[..., i] != taps[..., i]), taps[..., i], best)
        y[:, :, row, column] = best
    return y


def _sequential_sum(x: Float) -> Float:
    """Row-major float32 sum over the last two axes, one rounded addition after another."""
    flat = x.reshape(*x.shape[:2], -1)
    total = flat[..., 0]
    for i in range(1, flat.shape[-1]):
        total = total + flat[..., i]
    return total


def total(x: Array, grid: Grid | None) -> Float:
    """Sum over the last two axes as float32: sequential for floats; exact for codes, then scaled term by term."""
    if grid is None:
        return _sequential_sum(x)
    sums = grid.units(x).astype(np.int64).sum(axis=(-2, -1)).astype(np.float32)
    scales = grid.term_scales()
    y = sums[0] * scales[0]
    for s, scale in zip(sums[1:], scales[1:], strict=True):
        y = y + s * scale
    return y


def _avg_pool(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    x, kernel, padding = inputs[0], op.attrs["kernel"], op.attrs["padding"]
    (height, width), cut = _windows(op, x.shape)
    y = np.empty((*x.shape[:2], height, width), np.float32)
    for row, column in np.ndindex(height, width):
        rows, columns = cut(row, column)
        count = (rows.stop - rows.start) * (columns.stop - columns.start)
        if op.attrs["count_pad"]:  # torch counts the declared padding, but not what `ceil` adds beyond it
            top, left = row * op.attrs["stride"][0] - padding[0], column * op.attrs["stride"][1] - padding[1]
            count = (min(top + kernel[0], x.shape[2] + padding[0]) - top) * (
                min(left + kernel[1], x.shape[3] + padding[1]) - left
            )
        y[:, :, row, column] = total(x[:, :, rows, columns], types[0].grid) / np.float32(op.attrs["divisor"] or count)
    return y


def _mean(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    x = inputs[0]
    y = total(x, types[0].grid) / np.float32(x.shape[2] * x.shape[3])
    return y[:, :, None, None] if op.attrs["keep"] else y


# -- gains --------------------------------------------------------------------------------------------------------


def _magnitude(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    """Mean |x| over channels and window: integers rint(|x| * 2^16) summed exactly, times one float64 factor."""
    x = inputs[0]
    total = np.rint(np.abs(x).astype(np.float64) * FIXED).sum(axis=1, keepdims=True)
    if x.ndim == 4:
        geometry = {**op.attrs, "groups": 1, "pad_mode": "zeros"}
        total = convolve(total, np.ones((1, 1, *op.attrs["kernel"])), replace(op, attrs=geometry))
    return (total * magnitude_factor(op, x.shape[1])).astype(np.float32)


def _gain(op: Op, inputs: list[Array], types: list[Value]) -> Array:
    return inputs[0] * (inputs[1] if len(inputs) == 2 else op.arrays["map"])


OPERATIONS: dict[str, Callable[[Op, list[Array], list[Value]], Array]] = {
    "quantize": _quantize,
    "lookup": _lookup,
    "dequantize": _dequantize,
    "threshold": _threshold,
    "conv": _accumulate,
    "linear": _accumulate,
    "rescale": _rescale,
    "float_conv": _float_layer,
    "float_linear": _float_layer,
    "affine": _affine,
    "activation": _activation,
    "add": _add,
    "concat": _concat,
    "flatten": _flatten,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "mean": _mean,
    "magnitude": _magnitude,
    "gain": _gain,
}
