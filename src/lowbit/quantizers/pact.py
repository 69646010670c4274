"""PACT: learned clipping of activations. Choi et al., "PACT: Parameterized Clipping Activation", 2018."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.fused import FakeClip, before
from lowbit.quantizers.ste import Positive, rounded

SAMPLE = 1 << 16
"""Numbers of a batch that the search for the best clip looks at."""


class _Clip(Function):
    """round(clip(x / s, low, high)) with PACT's gradients: nothing reaches the clip from inside it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, alpha: Tensor, low: int, high: int) -> Tensor:
        units = rounded((x / s).clamp(low, high))
        inside = (x < alpha) & (x >= 0 if low == 0 else x > -alpha)
        ctx.save_for_backward(units, inside)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        units, inside = ctx.saved_tensors
        grad_x = grad * inside
        # `Scaled` adds sum(g * units) over everything; taking the inside away leaves high * sum(g) over the clipped.
        return grad_x, -(grad_x * torch.where(inside, units, 0.0)).sum(), None, None, None


class PACT(Quantizer):
    """Uniform activations below a trained clip a.

    Forward: q = s * round(clip(x, 0, a) / s), s = a / (2^n - 1); where x can be negative
        s = a / (2^(n-1) - 1) and the clip is [-a, a].
    Gradient: dx = g where 0 <= x < a (signed: |x| < a); da = sum g over x >= a (signed: sum g * sign over |x| >= a).
    Grid: Uniform; signed grids leave out the lowest code. Learned state: a.
    Initialisation: ``init="mse"``: the clip of least squared error among 100 fractions of max|x|, averaged over the
        calibration batches; ``init=10.0`` (any number): that clip, as from scratch in the paper.
    Cost: as lsq. Fails: without L2 on a it may grow; with too much it collapses.
    Source: Choi et al. 2018, Eq. 1-3. Surveys list PACT for weights and gradients too; the paper defines activations.

    Example:
        >>> q = PACT(2, role="activation", signed=False, init=1.0)
        ... q.calibrate(torch.ones(1))
        >>> q(torch.tensor([-0.5, 0.2, 0.6, 1.4])).tolist()
        [0.0, 0.3333333432674408, 0.6666666865348816, 1.0]
    """

    card: ClassVar[Card] = Card(
        name="pact", family="learned clip", kind="A", min_bits=1, min_signed_bits=2, learned="clip",
        paper="Choi 2018", equation="1-3",
    )  # fmt: skip
    must_be_positive: ClassVar[tuple[str, ...]] = ("alpha",)

    def __init__(self, bits: int, *, init: str | float = "mse", role: str = "activation", **common: Any) -> None:
        super().__init__(bits, role=role, **common)
        if init != "mse" and not (isinstance(init, (int, float)) and init > 0):
            raise ValueError(f"pact's init is {init!r}, allowed are 'mse' or a positive number")
        self.init = init
        self.alpha = nn.Parameter(torch.tensor(10.0))
        if bits == 1 and self.signed:
            raise ValueError("pact takes 2 or more bits where values are signed, got 1; for one bit use sign")

    def limits(self) -> tuple[int, int]:
        """Smallest and largest unit."""
        high = 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1
        return (-high if self.signed else 0), high

    def start(self, x: Tensor) -> None:
        low, high = self.limits()
        if high == 0:
            raise ValueError("pact with one bit met negative values; use two bits, or sign")
        if self.init != "mse":
            self.average(self.alpha, torch.tensor(float(self.init)))
            return
        top = x.abs().max().clamp_min(1e-8)
        clips = top * torch.linspace(0.01, 1, 100, device=x.device, dtype=x.dtype)
        flat = x.reshape(-1)
        x = flat[:: -(-len(flat) // SAMPLE)]  # a hundred passes: every k-th number of a large batch is enough
        errors = [((torch.round((x / (a / high)).clamp(low, high)) * (a / high) - x) ** 2).mean() for a in clips]
        self.average(self.alpha, clips[torch.stack(errors).argmin()])

    def scales(self, x: Tensor) -> Tensor:
        return (Positive.apply(self.alpha) / self.limits()[1])[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        return _Clip.apply(x, scales[0], Positive.apply(self.alpha), *self.limits())[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        last = before(self.alpha.detach().clamp_min(1e-8))
        first = 0.0 if not self.signed else -last
        clip = Positive.apply(self.alpha)
        return FakeClip.apply(x, float(scales[0].detach()), self.limits(), (first, last), clip, bool(self.signed))

    def grid(self, x: Tensor | None = None) -> Grid:
        scale = self.alpha.detach().clamp_min(1e-8) / self.limits()[1]
        if not self.signed:
            return Uniform(bits=self.bits, scale=number(scale))
        low, high = self.limits()
        return Uniform(bits=self.bits, signed=True, low=low, high=high, scale=number(scale))
