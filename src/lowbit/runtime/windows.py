"""Shapes of values and layers as the native plan takes them."""

from __future__ import annotations

import math

from lowbit.infer import PAD_MODES, Value
from lowbit.program import Op


def layout(value: Value) -> tuple[int, int]:
    """(channels, pixels) of a value."""
    return value.shape[0], math.prod(value.shape[1:])


def shape_of(op: Op) -> tuple[int, int, int]:
    """(groups, input channels, output channels of one group) of a layer."""
    shape = op.weight.shape if op.weight is not None else op.arrays["weight"].shape
    groups = int(op.attrs.get("groups", 1))
    return groups, shape[1], shape[0] // groups


def window_of(op: Op, types: dict[str, Value]) -> list[int]:
    """The 13 numbers of a native Window; a linear layer is a convolution of one pixel for each image."""
    if op.kind.endswith("linear"):
        images = layout(types[op.output])[1]
        return [1, images, 1, images, 1, 1, 1, 1, 0, 0, 1, 1, 0]
    shape = op.weight.shape if op.weight is not None else op.arrays["weight"].shape
    a = op.attrs
    return [*types[op.inputs[0]].shape[1:], *types[op.output].shape[1:], *shape[2:], *a["stride"], *a["padding"],
            *a["dilation"], PAD_MODES.index(a["pad_mode"])]  # fmt: skip
