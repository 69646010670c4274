"""Quantized gradients: a layer whose output is plain forward and whose gradient is put on a grid backward.

Source: Zhou et al., "DoReFa-Net", 2016, Eq. 12 and Algorithm 1: the gradient of a layer's output is quantized sample
by sample before the layer uses it, for the gradient of its weights and for that of its inputs; the optimizer's update
stays float. Rounding is stochastic while training, since a rounded-off gradient is lost in every step alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from lowbit.quantizers.base import Quantizer


class QuantizeGradient(Function):
    """Identity forward; backward the quantizer's value of the gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, quantizer: Quantizer) -> Tensor:
        ctx.quantizer = quantizer
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return (ctx.quantizer(grad) if grad.numel() else grad), None


def largest(samples: Tensor) -> Tensor:
    """max|g| of each sample: [samples, elements] -> [samples]. NaN where one of it is NaN or infinite."""
    top = samples.abs().amax(1)
    return top.where(top.isfinite(), torch.nan)


def draw(x: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) of x's shape, from torch's global generator, which checkpoints save."""
    return torch.rand_like(x)
