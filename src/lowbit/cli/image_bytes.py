"""The bytes that a data set's images were, for files that take uint8 pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from lowbit.data.dataset import DataSet
from lowbit.errors import InvalidInput
from lowbit.pixels import Pixels


def pixels_of(data: DataSet) -> Pixels:
    """How the bytes of these images became the floats that they are.

    Raises:
        InvalidInput: they never were bytes.

    Example:
        >>> from lowbit.data import load
        >>> pixels_of(load("digits"))
        Pixels(divisor=16, mean=(0.0,), std=(1.0,))
    """
    if not data.divisor:
        raise InvalidInput(f"data set {data.name!r} has no uint8 pixels; leave out --pixels")
    mean, std = data.normalized_by
    return Pixels(divisor=data.divisor, mean=mean, std=std)


def bytes_of(data: DataSet, x: Tensor) -> Tensor:
    """The pixels of some of its images.

    Args:
        data: whose images they are.
        x: float32 [N, C, H, W], as the data set holds them.

    Returns:
        uint8 of the same shape, such that `pixels_of(data)` of them is x, bit for bit.

    Raises:
        InvalidInput: there are no such pixels.

    Example:
        >>> from lowbit.data import load
        >>> data = load("digits")
        >>> bytes_of(data, data.test_x).dtype
        torch.uint8
    """
    pixels = pixels_of(data)
    mean, std = (torch.tensor(numbers).reshape(1, -1, 1, 1) for numbers in (pixels.mean, pixels.std))
    found = ((x * std + mean) * pixels.divisor).round().clamp(0, 255).to(torch.uint8)
    if not torch.equal(pixels(found), x):
        raise InvalidInput(f"data set {data.name!r}: images are not (pixel / divisor - mean) / std; leave out --pixels")
    return found
