"""Quantizing in one pass over memory, forward and backward, for float32 tensors on the CPU.

A training step of a quantized network is memory passes, not arithmetic. These functions give the value and gradients
that `Scaled` over `units` gives, but read each tensor once in each direction and save nothing except the input. With
the native module they run as C++ loops; without it the same formulas run in torch. Codes and gradients of both are
identical: sums are float64 over float32 products. torch.compile traces neither, it fuses the plain form by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

try:
    from lowbit.runtime import _kernels
except ImportError:  # a source tree that was never built
    _kernels = None  # type: ignore[assignment]


def applies(x: Tensor) -> bool:
    """Whether a tensor can take the one-pass form: float32 on the CPU, eager."""
    return x.dtype == torch.float32 and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _native(x: Tensor) -> bool:
    """Whether the native loops can walk the tensor's memory: dense, in whatever order of axes."""
    return _kernels is not None and (x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=_LAST)))


_LAST = torch.channels_last


CHUNK = 1 << 15
"""Numbers that several torch operations in a row pass over while they stay in cache."""


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Flat pieces of tensors of one shape, in memory order where all of them share it; else the whole tensors."""
    first = tensors[0]
    if first.ndim == 4 and all(t.is_contiguous(memory_format=_LAST) for t in tensors):
        tensors = tuple(t.permute(0, 2, 3, 1) for t in tensors)
    if not all(t.is_contiguous() for t in tensors):
        return iter([tensors])
    return zip(*(t.view(-1).split(CHUNK) for t in tensors), strict=True)


def _like(grad: Tensor, x: Tensor) -> Tensor:
    """The gradient in x's memory order."""
    if grad.stride() == x.stride():
        return grad
    return torch.empty_like(x).copy_(grad)


class FakeLSQ(Function):
    """s * clamp(round(x / s), low, high) with LSQ's gradients:

    dx = g where low < x/s < high, else 0;  ds = sum g * unit - (sum over the inside of g * x) / s.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, low: int, high: int) -> Tensor:
        ctx.step, ctx.low, ctx.high = float(s), low, high
        ctx.save_for_backward(x)
        return uniform(x, ctx.step, low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x,), s = ctx.saved_tensors, ctx.step
        sums: Sequence[Any]
        if _native(x):
            g, dx = _like(grad, x), torch.empty_like(x)
            addresses = (g.data_ptr(), x.data_ptr(), dx.data_ptr(), x.numel())
            sums = _kernels.lsq_backward(*addresses, s, ctx.low, ctx.high, torch.get_num_threads())
        else:
            dx, *sums = _lsq_backward(grad, x, s, ctx.low, ctx.high)
        return dx, torch.as_tensor(sums[0] - sums[1] / s, dtype=torch.float32), None, None


class FakeClip(Function):
    """s * clamp(round(x / s), low, high) with a gradient of 1 where first <= x <= last, else 0.

    `clip` (a scalar or None) receives sum g above `last` minus, where `symmetric`, sum g below `first`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        s: float,
        limits: tuple[int, int],
        inside: tuple[float, float],
        clip: Tensor | None,
        symmetric: bool,
    ) -> Tensor:
        ctx.inside, ctx.symmetric, ctx.learned = inside, symmetric, clip is not None
        ctx.save_for_backward(x)
        return uniform(x, s, *limits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, Tensor | None, None]:
        dx, above, below = clip_backward(grad, ctx.saved_tensors[0], *ctx.inside)
        slope = torch.as_tensor(above - (below if ctx.symmetric else 0.0), dtype=torch.float32) if ctx.learned else None
        return dx, None, None, None, slope, None


class FakeUniform(Function):
    """s * clamp(round(x / s), low, high) with a gradient of 1 everywhere, as weights have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: float, low: int, high: int) -> Tensor:
        return uniform(x, s, low, high)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad, None, None, None


class FakeRange(Function):
    """low + s * clamp(round((x - low) / s), 0, top) with a gradient of 1 everywhere, as min-max weights have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, s: float, top: int) -> Tensor:
        y = torch.empty_like(x)
        for a, out in _chunks(x, y):
            torch.sub(a, low, out=out).div_(s).round_().clamp_(0, top).mul_(s).add_(low)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return grad, None, None, None


class FakeSign(Function):
    """+1 where x >= 0, else -1; gradient 1 where |x| <= 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return signs(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return clip_backward(grad, ctx.saved_tensors[0], -1.0, 1.0)[0]


def uniform(x: Tensor, s: float, low: int, high: int) -> Tensor:
    """s * clamp(round(x / s), low, high), without -0.0. s: a float32 number; |low|, |high| < 2^22."""
    if _native(x):
        y = torch.empty_like(x)
        _kernels.uniform_forward(x.data_ptr(), y.data_ptr(), x.numel(), s, low, high, torch.get_num_threads())
        return y
    y = torch.empty_like(x)
    for a, out in _chunks(x, y):
        torch.div(a, s, out=out).clamp_(low, high).round_().add_(0.0).mul_(s)
    return y


def signs(x: Tensor) -> Tensor:
    """+1 where x >= 0, -1 where x < 0, NaN where x is NaN."""
    if _native(x):
        y = torch.empty_like(x)
        _kernels.sign_forward(x.data_ptr(), y.data_ptr(), x.numel(), torch.get_num_threads())
        return y
    y = torch.empty_like(x)
    for a, out in _chunks(x, y):
        out.copy_(torch.where(a >= 0, 1.0, torch.where(a < 0, -1.0, a)))
    return y


def half_wave(x: Tensor, s: float, high: int) -> Tensor:
    """0 where x <= 0, else s * clamp(round(x / s), 1, high)."""
    if _native(x):
        y = torch.empty_like(x)
        _kernels.half_wave_forward(x.data_ptr(), y.data_ptr(), x.numel(), s, high, torch.get_num_threads())
        return y
    return torch.where(x <= 0, 0.0, (x / s).clamp_(1, high).round_().mul_(s))


def clip_backward(grad: Tensor, x: Tensor, first: float, last: float) -> tuple[Tensor, Any, Any]:
    """Masked gradient, and the sums of g above `last` and below `first`."""
    if _native(x):
        g, dx = _like(grad, x), torch.empty_like(x)
        addresses = (g.data_ptr(), x.data_ptr(), dx.data_ptr(), x.numel())
        return dx, *_kernels.clip_backward(*addresses, first, last, torch.get_num_threads())
    return _clip_backward(grad, x, first, last)


def _lsq_backward(grad: Tensor, x: Tensor, s: float, low: int, high: int) -> tuple[Tensor, Tensor, Tensor]:
    """dx, sum g * unit, and sum g * x over the inside, as the native loop gives them."""
    g, dx = _like(grad, x), torch.empty_like(x)
    units, inner = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for a, b, out in _chunks(g, x, dx):
        v = b / s
        mask = torch.gt(v, low, out=torch.empty_like(v)).mul_(torch.lt(v, high, out=torch.empty_like(v)))
        torch.mul(a, mask, out=out)
        units.add_(v.clamp_(low, high).round_().mul_(a).sum(dtype=torch.float64))
        inner.add_(torch.mul(out, b, out=mask).sum(dtype=torch.float64))
    if not bool(
        units.isfinite() & inner.isfinite()
    ):  # masks of numbers, many times faster than of truths, make 0 * NaN
        dx = torch.where((x / s > low) & (x / s < high), g, 0.0)
    return dx, units, inner


def _clip_backward(grad: Tensor, x: Tensor, first: float, last: float) -> tuple[Tensor, Tensor, Tensor]:
    """dx, and the sums of g above `last` and below `first`, as the native loop gives them."""
    g, dx = _like(grad, x), torch.empty_like(x)
    above, below = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for a, b, out in _chunks(g, x, dx):
        over, under = torch.gt(b, last, out=torch.empty_like(b)), torch.lt(b, first, out=torch.empty_like(b))
        torch.ge(b, first, out=out).mul_(torch.le(b, last, out=torch.empty_like(b))).mul_(a)
        above.add_(over.mul_(a).sum(dtype=torch.float64))
        below.add_(under.mul_(a).sum(dtype=torch.float64))
        total.add_(out.sum(dtype=torch.float64))
    if not bool((above + below + total).isfinite()):
        dx = torch.where((x >= first) & (x <= last), g, 0.0)
        above = torch.where(x > last, g, 0.0).sum(dtype=torch.float64)
        below = torch.where(x < first, g, 0.0).sum(dtype=torch.float64)
    return dx, above, below


def before(limit: Tensor) -> float:
    """The largest float32 number below a limit, to write x < limit as x <= before(limit)."""
    return float(torch.nextafter(limit.detach(), torch.tensor(-math.inf)))
