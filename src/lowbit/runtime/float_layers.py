"""Layers with float activations as native steps.

Weights on a grid of one term without offset run by the kernel of `native/ops/floats`: it adds integer units times
floats in an order that its `params.h` defines, so that every instruction set gives the same floats, and the epilogue
multiplies by the scales. Other weights become floats, block by block, while a portable kernel uses them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowbit.grid import Codebook
from lowbit.program import Op
from lowbit.runtime.windows import shape_of

NO_FLOATS = np.zeros(0, np.float32)


def weight_only(op: Op) -> bool:
    """Whether a layer of floats multiplies packed weights by the kernel for them: `native/ops/floats`.

    Its form of the weights has blocks of 16 output channels, and must not take much more memory than the file's.
    """
    if op.weight is None or isinstance(op.weight.grid, Codebook) or getattr(op.weight.grid, "offset", None) is not None:
        return False
    units, bits = op.weight.grid.unit_table().astype(np.int64), op.weight.grid.bits
    if len(units) != 1 or (bits > 4 and len(set(np.diff(units[0]).tolist())) > 1):
        return False
    groups, inner, outer = shape_of(op)
    per = 32 // bits if bits <= 4 else 4
    taps = math.prod(op.weight.shape[2:])
    return groups * -(-outer // 16) * taps * -(-inner // per) * 64 <= 2 * op.weight.packed.size + 2**14


def start(op: Op, epilogue: Any) -> None:
    """First stages of a float layer's epilogue: scales, where the kernel has left them out, and the bias."""
    groups, _, outer = shape_of(op)
    bias = op.arrays.get("bias")
    scales = np.ones(groups * outer, np.float32)
    if weight_only(op):
        assert op.weight is not None
        scales *= op.weight.grid.term_scales()[0]
    elif bias is None:
        return
    epilogue.affine(scales, np.zeros_like(scales) if bias is None else bias)


def add(plan: Any, op: Op, window: list[int], value: int, epilogue: Any) -> None:
    """Append the step.

    Args:
        plan: of the native engine.
        op: a float_conv or float_linear.
        window: as `windows.window_of` gives it.
        value: id of the float input.
        epilogue: of which `start` made the first stages.
    """
    channels = shape_of(op)
    if op.weight is None:
        raw = np.ascontiguousarray(op.arrays["weight"]).view(np.uint8).reshape(-1)
        nothing = np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32), NO_FLOATS
        plan.float_layer(op.name, window, channels, raw, 0, *nothing, value, epilogue)
        return
    grid, packed = op.weight.grid, np.ascontiguousarray(op.weight.packed)
    if weight_only(op):
        plan.weight_only(op.name, window, channels, packed, grid.bits, grid.unit_table(), value, epilogue)
        return
    scales, offset = grid.term_scales(), getattr(grid, "offset", None)
    scales = np.ascontiguousarray(scales.reshape(len(scales), -1))
    offsets = NO_FLOATS if offset is None else np.ascontiguousarray(offset.reshape(-1))
    plan.float_layer(op.name, window, channels, packed, grid.bits, grid.unit_table(), scales, offsets, value, epilogue)
