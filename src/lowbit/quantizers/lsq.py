"""LSQ: learned step size. Esser et al., "Learned Step Size Quantization", 2020."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.fused import FakeLSQ
from lowbit.quantizers.search import best, divided
from lowbit.quantizers.ste import Positive, ScaleGradient, along, reduce_to, rounded


class _Round(Function):
    """round(clip(x / s, low, high)); see the gradient formula of `LSQ`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor, low: int, high: int) -> Tensor:
        v = x / along(s, x)
        inside = (v > low) & (v < high)
        ctx.save_for_backward(v, inside, s)
        return rounded(v.clamp(low, high))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        v, inside, s = ctx.saved_tensors
        grad_x = grad * inside
        return grad_x, -reduce_to(grad_x * torch.where(inside, v, 0.0), s), None, None


class LSQ(Quantizer):
    """Uniform grid whose step is trained with the weights.

    Forward: q = s * round(clip(x / s, -N, P)); signed N = 2^(n-1), P = N - 1; unsigned N = 0, P = 2^n - 1.
    Gradient: dx = g where -N < x/s < P, else 0; ds = k * sum g * (round(x/s) - x/s inside | -N below | P above),
        k = 1 / sqrt(count * P), count = elements a scale covers (activations: features of one sample).
    Grid: Uniform, zero is a level. Learned state: s, one for the tensor or one a channel.
    Initialisation: option `init`: "mean" s = 2 mean|x| / sqrt(P); "mse" the s of least squared error among 100 evenly
        spaced up to max|x| / P, for networks that are not trained on. Activations: mean over the calibration batches.
    Cost: one division, clip and round a value; backward keeps x / s and a mask.
    Fails: with one signed bit (P = 0; refused), and when weight decay is put on s.
    Source: Esser et al. 2020, Eq. 1-3; step gradient and k as there.

    Example:
        >>> q = LSQ(2)
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q.calibrate(w)
        ... float(q.scale.detach())
        1.0
    """

    card: ClassVar[Card] = Card(
        name="lsq", family="learned step", kind="WA", min_bits=1, min_signed_bits=2, learned="scale",
        paper="Esser 2020", equation="1-3",
    )  # fmt: skip
    must_be_positive: ClassVar[tuple[str, ...]] = ("scale",)

    def __init__(self, bits: int, *, init: str = "mean", **common: Any) -> None:
        super().__init__(bits, **common)
        if init not in ("mean", "mse"):
            raise ValueError(f"lsq's init is {init!r}, allowed are mean, mse")
        self.init = init
        if bits == 1 and self.signed:
            raise ValueError("lsq takes 2 or more bits where values are signed, got 1; for one bit use bwn or sign")
        self.scale = nn.Parameter(torch.tensor(1.0))

    def limits(self) -> tuple[int, int]:
        """Smallest and largest unit."""
        if self.signed:
            return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1

    def start(self, x: Tensor) -> None:
        high = self.limits()[1]
        if high == 0:
            raise ValueError("lsq with one bit met negative values; use two bits, or sign")
        if not self.signed:
            x = x.relu()  # what an unsigned grid sees of it, also where a ReLU was folded into it
        if self.init == "mse":
            self.average(self.scale, self.ungroup(self._nearest(self.groups(x).double())).clamp_min(1e-8))
            return
        mean = self.ungroup(self.mean_size(x))
        self.average(self.scale, (2 * mean / math.sqrt(high)).clamp_min(1e-8))

    def _nearest(self, x: Tensor) -> Tensor:
        """The scale of least squared error for each group: [groups, elements] -> [groups]."""
        low, high = self.limits()
        top = (x.abs() if self.signed else x).amax(1) / high
        return best(x, (top * (i / 100) for i in range(1, 101)), lambda v, s: rounded(divided(v, s)).clamp(low, high))

    def scales(self, x: Tensor) -> Tensor:
        per_sample = x.shape[0] if self.role != "weight" and x.ndim > 1 else 1
        count = x.numel() / per_sample / self.scale.numel()
        factor = 1 / math.sqrt(max(count, 1) * self.limits()[1])
        return ScaleGradient.apply(Positive.apply(self.scale), factor)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        if not torch.is_grad_enabled():  # the same numbers without the masks of the gradient, in place
            return (x / along(scales[0], x)).clamp_(*self.limits()).round_().add_(0.0)[None]
        return _Round.apply(x, scales[0], *self.limits())[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        return None if self.channel else FakeLSQ.apply(x, scales[0], *self.limits())

    @property
    def folds_relu(self) -> bool:
        return self.signed is False

    def grid(self, x: Tensor | None = None) -> Grid:
        return Uniform(bits=self.bits, signed=bool(self.signed), scale=number(self.scale.clamp_min(1e-8)))
