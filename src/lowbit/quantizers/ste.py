"""Straight-through estimators: rounding forward, a surrogate gradient backward.

Every surrogate is an `autograd.Function`, never arithmetic such as `x + (q - x).detach()`, which leaves values
off the grid and turns infinity into NaN. Gradients here live in the *value* domain: what arrives at an integer
tensor is dL/dq of the value it stands for, and what leaves is dL/dx. So a slice whose scale is 0 still trains.

NaN stays NaN everywhere, without a data-dependent branch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.quantizers.fused import applies, signs


def along(scale: Tensor, x: Tensor) -> Tensor:
    """Reshape a per-channel vector [C] so that it broadcasts over x [C, ...]; scalars stay as they are."""
    return scale.reshape(-1, *(1,) * (x.ndim - 1)) if scale.ndim else scale


def reduce_to(total: Tensor, scale: Tensor) -> Tensor:
    """Sum a tensor shaped like x down to the shape of its scale: [] or [C]."""
    return total.reshape(scale.shape[0], -1).sum(1) if scale.ndim else total.sum()


class Scaled(Function):
    """sum_i scales[i] * units[i], added in order; the units receive the gradient of the value itself."""

    @staticmethod
    def forward(ctx: Any, units: Tensor, scales: Tensor) -> Tensor:  # units [terms, *x], scales [terms] or [terms, C]
        ctx.save_for_backward(units, scales.clone())  # a buffer that the next forward may write to
        total = units[0] * along(scales[0], units[0])
        for unit, scale in zip(units[1:], scales[1:], strict=True):
            total = total + unit * along(scale, unit)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None]:
        units, scales = ctx.saved_tensors
        grad_scales = None
        if ctx.needs_input_grad[1]:
            grad_scales = torch.stack([reduce_to(grad * u, s) for u, s in zip(units, scales, strict=True)])
        return grad.expand_as(units), grad_scales


class ScaleGradient(Function):
    """Identity forward; the gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return scale.view_as(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class WeightGradient(Function):
    """Identity forward; the gradient is multiplied by a tensor that broadcasts over it.

    Apart from `ScaleGradient`, since compiled code cannot choose between a saved number and a saved tensor.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0], None


class Positive(Function):
    """max(scale, 1e-8) forward, identity backward, so that a scale pushed below zero can come back."""

    @staticmethod
    def forward(ctx: Any, scale: Tensor) -> Tensor:
        return scale.clamp_min(1e-8)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class Within(Function):
    """clamp(value, low, high) forward, identity backward, so that a value pushed out can come back."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(value, low), high)  # where they cross, `high` holds

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


class Replace(Function):
    """Value of `shown`, gradient to `trained`: exact integers forward, training gradients backward."""

    @staticmethod
    def forward(ctx: Any, trained: Tensor, shown: Tensor) -> Tensor:
        return shown.clone()  # not a view: an in-place ReLU may follow

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class Masked(Function):
    """`units` forward; backward passes the gradient where `mask` holds (everywhere if it is None)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, units: Tensor, mask: Tensor | None) -> Tensor:
        ctx.has_mask = mask is not None
        if mask is not None:
            ctx.save_for_backward(mask)
        return units.view_as(units)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return (grad * ctx.saved_tensors[0] if ctx.has_mask else grad), None, None


def straight(x: Tensor, units: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attach a surrogate gradient of 1 (where `mask` holds) from x to integer units of the same shape."""
    return Masked.apply(x, units, mask)


def sign(x: Tensor) -> Tensor:
    """+1 where x >= 0, -1 where x < 0, NaN where x is NaN."""
    if applies(x):
        return signs(x.detach())
    return torch.where(x >= 0, 1.0, torch.where(x < 0, -1.0, x)).to(x.dtype)


def rounded(v: Tensor) -> Tensor:
    """Round half to even; adding 0.0 turns -0.0 into 0.0, since codes carry no sign of zero."""
    return torch.round(v).add_(0.0)


def half_up(v: Tensor) -> Tensor:
    """Round to the nearest, ties upwards: floor(v + 1/2), exact also where v + 1/2 would be rounded."""
    low = torch.floor(v)
    return torch.where(v - low >= 0.5, low + 1, low).add_(0.0)


def half_away(v: Tensor) -> Tensor:
    """Round to the nearest, ties away from zero."""
    return torch.where(v < 0, -half_up(-v), half_up(v)).add_(0.0)


def stochastic(v: Tensor) -> Tensor:
    """floor(v + u), u uniform in [0, 1) from torch's global generator: right on average."""
    return torch.floor(v + torch.rand_like(v)).add_(0.0)


ROUNDINGS = {"half_even": rounded, "half_up": half_up, "half_away": half_away, "stochastic": stochastic}
"""How methods with the option `rounding` may round; stochastic ones round half to even in eval."""


def checked_rounding(method: str, rounding: object) -> str:
    """A key of `ROUNDINGS`, or a ValueError that names the method and the allowed ones."""
    if not isinstance(rounding, str) or rounding not in ROUNDINGS:
        raise ValueError(f"{method}'s rounding is {rounding!r}, allowed are {', '.join(ROUNDINGS)}")
    return str(rounding)
