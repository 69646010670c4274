"""Chains of float operations before a low-bit quantizer become thresholds, found by bisecting the chain itself.

rescale, affine and the monotone activation functions are, channel by channel, monotone maps made of rounded float32
operations, and rounding keeps monotonicity. So the code that comes out is a step function of the accumulator (or of
the float that enters), and each step is found exactly by bisection over all integers (or all ordered floats). The
thresholds then give the same code as the chain for every possible input: no approximation enters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowbit.grid import Grid, Int
from lowbit.infer import Value, acc_terms
from lowbit.program import Op
from lowbit.runtime import reference

if TYPE_CHECKING:
    from lowbit.quantizers.base import Quantizer

MAX_LEVELS = 16
"""Outputs of at most 4 bits get thresholds; above, executing the chain is cheaper."""


def monotone(op: Op) -> bool:
    """Whether an operation is a monotone map of each channel."""
    if op.kind == "activation":
        function = op.attrs["function"]
        return function in ("relu", "relu6", "hardtanh") or (function == "leaky_relu" and op.attrs["slope"] >= 0)
    return op.kind in ("rescale", "affine")


def encodes(op: Op) -> bool:
    """Whether an operation turns any float into a code, the same way in every channel."""
    floats = op.kind == "threshold" and op.arrays["thresholds"].dtype == np.float32
    return op.kind == "quantize" or (floats and len(op.arrays["thresholds"]) == 1)


def of_encoder(quantizer: Quantizer, grid: Grid) -> dict[str, NDArray[Any]]:
    """Arrays of a `threshold` operation that encodes every float as the quantizer does.

    For activation methods whose levels are no arithmetic grid. Their codes must ascend with the value; then bisecting
    the method's own `encode` over all ordered floats is exact.
    """
    import torch

    def codes(keys: NDArray[np.int64]) -> Int:
        return quantizer.encode(torch.from_numpy(_float(keys))).numpy()

    keys, falling = _bisect(codes, np.array([0x7F800000]), 1, *grid.code_range)
    if falling.any():
        raise ValueError(f"codes of {quantizer.card.name} do not ascend with the value")
    return {"thresholds": _float(np.clip(keys, -0x7F800000, 0x7F800000)), "descending": np.zeros(1, np.uint8)}


def fold(ops: Sequence[Op], types: Mapping[str, Value]) -> list[Op]:
    """Replace every chain that ends in a quantizer of at most 16 levels by one threshold operation."""
    writer = {op.output: op for op in ops}
    readers: dict[str, int] = {}
    for op in ops:
        for name in op.inputs:
            readers[name] = readers.get(name, 0) + 1
    gone: set[str] = set()
    made: dict[str, Op] = {}
    for op in ops:
        if not encodes(op) or op.grid is None or np.subtract(*op.grid.code_range[::-1]) >= MAX_LEVELS:
            continue
        chain: list[Op] = [op]
        while True:
            before = writer.get(chain[0].inputs[0])
            if before is None or readers[before.output] != 1 or not monotone(before):
                break
            if before.kind == "rescale" and acc_terms(types[before.inputs[0]]) != 1:
                break
            chain.insert(0, before)
        if len(chain) == 1:
            continue
        start = chain[0].inputs[0]
        made[op.output] = _threshold(chain, types[start], types, writer.get(start))
        gone |= {link.output for link in chain[:-1]}
    return [made.get(op.output, op) for op in ops if op.output not in gone]


def _threshold(chain: Sequence[Op], start: Value, types: Mapping[str, Value], layer: Op | None) -> Op:
    last = chain[-1]
    assert last.grid is not None
    per_channel = any(op.kind != "activation" for op in chain[:-1])
    channels = start.shape[0] if per_channel else 1
    low, high = last.grid.code_range

    def codes(x: NDArray[np.generic]) -> Int:
        """Codes of the chain: x [channels, k] -> [channels, k]."""
        value = x[None, None] if start.kind == "acc" else x[None]
        with np.errstate(over="ignore", invalid="ignore"):  # the largest floats may overflow on their way
            for op in chain:
                value = reference.step(op, [value], [types[op.inputs[0]]])
        return value[0]

    if start.kind == "acc":
        assert layer is not None
        bound = _bound(layer, start)
        steps, falling = _bisect(lambda k: codes(k.astype(np.int32)), bound, channels, low, high)
        thresholds: NDArray[Any] = steps.astype(np.int32)
    else:
        keys, falling = _bisect(lambda k: codes(_float(k)), np.full(channels, 0x7F800000), channels, low, high)
        # a step that is never taken has a key beyond infinity
        thresholds = _float(np.clip(keys, -0x7F800000, 0x7F800000))
    arrays: dict[str, NDArray[Any]] = {"thresholds": thresholds, "descending": falling.astype(np.uint8)}
    return replace(last, kind="threshold", inputs=chain[0].inputs, arrays=arrays, attrs={})


def _bound(layer: Op, value: Value) -> NDArray[np.int64]:
    """Largest |accumulator| of each output channel, from the real weights: [channels]."""
    assert layer.weight is not None and value.grid is not None
    units = np.abs(layer.weight.grid.units(layer.weight.codes())[0].astype(np.int64))
    return units.reshape(len(units), -1).sum(1) * value.grid.max_unit


def _float(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """The float32 number of each key; keys count the floats upwards from 0.0."""
    bits = np.where(keys >= 0, keys, np.int64(0x80000000) - keys).astype(np.uint32)
    return bits.view(np.float32)


def _bisect(
    codes: Callable[[NDArray[np.int64]], Int], bound: NDArray[np.int64], channels: int, low: int, high: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Smallest integer in [-bound, bound] whose code is at least low + k, for k = 1..high - low.

    Falling channels are mirrored: their threshold is the largest such integer. A level that is never reached gets
    bound + 1 (falling: -bound - 1).

    Returns:
        [channels, high - low] int64, and [channels] whether the channel falls.
    """
    bound = np.broadcast_to(bound.astype(np.int64), channels).reshape(-1, 1)
    falling = codes(bound)[:, 0] < codes(-bound)[:, 0]
    sign = np.where(falling, -1, 1).reshape(-1, 1)
    wanted = low + 1 + np.arange(high - low)
    # invariant: code(sign * left) < wanted <= code(sign * right), with virtual ends just outside the range
    left = np.broadcast_to(-bound - 1, (channels, high - low)).copy()
    right = np.broadcast_to(bound + 1, (channels, high - low)).copy()
    while (right - left > 1).any():
        middle = (left + right) // 2
        inside = np.clip(middle, -bound, bound)
        reached = (codes(sign * inside) >= wanted) | (middle > bound)
        reached &= middle >= -bound
        right, left = np.where(reached, middle, right), np.where(reached, left, middle)
    return sign * right, falling
