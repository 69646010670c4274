"""HWGQ: the best steps for a half Gaussian. Cai et al., "Deep Learning with Low Precision by Half-Wave Gaussian
Quantization", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Levels, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.fused import clip_backward, half_wave, uniform
from lowbit.quantizers.half_gaussian import UNIT, best_step, lloyd
from lowbit.quantizers.ste import rounded, straight

SMALLEST = 2.0**-149
"""The smallest positive float32 number: x >= SMALLEST is x > 0."""
BACKWARD = ("clipped", "relu", "log")


class _HalfWave(Function):
    """The value and gradient in one pass over memory each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: float, top: int, last: float, zero_bin: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.last = last
        return uniform(x, step, 0, top) if zero_bin else half_wave(x, step, top)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        return clip_backward(grad, ctx.saved_tensors[0], SMALLEST, ctx.last)[0], None, None, None, None


class HWGQ(Quantizer):
    """Activations that come from a BatchNorm, N(0, 1), in fixed steps that are best for their positive half.

    Forward: x <= 0 gives 0; x > 0 the nearest of D, 2 D, ..., (2^n - 1) D, so that every positive x has a positive
        level. Option `zero_bin`: small positive x may give 0 too (other D). Option ``levels="lloyd"``, up to 4 bits:
        the best uneven levels instead, rounded to 1/127 of the highest.
    Gradient, option `backward`: "clipped" dx = g where 0 < x <= q_max, q_max = (2^n - 1) D; "relu" dx = g where x > 0;
        "log" as clipped, and g / (x - q_max + 1) beyond q_max.
    Grid: Uniform ("lloyd": Levels); codes come from thresholds, since the first one is 0 and not D / 2.
    Learned state: none. Initialisation: none; D depends on the bits alone.
    Cost: as lsq. Fails: where activations are not close to N(0, 1): it needs a BatchNorm without scale and shift in
        front.
    Source: Cai et al. 2017, Eq. 7-13. D for 5 bits and more is found by us.

    Example:
        >>> q = HWGQ(2, role="activation")
        ... q.calibrate(torch.zeros(1))
        >>> [round(v, 3) for v in q(torch.tensor([-1.0, 0.2, 0.9, 2.0])).tolist()]
        [0.0, 0.538, 1.076, 1.614]
    """

    card: ClassVar[Card] = Card(
        name="hwgq", family="fixed step", kind="A", min_bits=1, grid="Uniform/Levels", paper="Cai 2017", equation="7-13"
    )
    arithmetic: ClassVar[bool] = False
    middles: Tensor
    table: tuple[int, ...] | None

    def __init__(
        self,
        bits: int,
        *,
        zero_bin: bool = False,
        levels: str = "uniform",
        backward: str = "clipped",
        role: str = "activation",
        **common: Any,
    ) -> None:
        super().__init__(bits, role=role, **common)
        if backward not in BACKWARD:
            raise ValueError(f"hwgq's backward is {backward!r}, allowed are {', '.join(BACKWARD)}")
        if levels not in ("uniform", "lloyd"):
            raise ValueError(f"hwgq's levels are {levels!r}, allowed are uniform, lloyd")
        if levels == "lloyd" and bits > 4:
            raise ValueError(f"hwgq with lloyd levels takes 1 to 4 bits, got {bits}")
        self.zero_bin, self.surrogate, self.table = zero_bin, backward, None
        if levels == "lloyd":
            self.step, self.table = lloyd(bits, zero_bin)
            positive = torch.tensor(self.table if zero_bin else self.table[1:], dtype=torch.float64)
            self.register_buffer("middles", (positive[1:] + positive[:-1]) / 2, persistent=False)
        else:
            self.step = best_step(bits, zero_bin)

    @property
    def top(self) -> int:
        """The highest unit."""
        return 2**self.bits - 1 if self.table is None else UNIT

    @property
    def max_unit(self) -> int:
        return self.top

    def _nearest(self, v: Tensor) -> Tensor:
        """Units of positive v / step."""
        if self.table is None:
            return rounded(v).clamp(0 if self.zero_bin else 1, self.top)
        table = torch.tensor(self.table if self.zero_bin else self.table[1:], dtype=v.dtype, device=v.device)
        return torch.where(v.isnan(), v, table[torch.bucketize(v.contiguous(), self.middles.to(v.dtype))])

    def scales(self, x: Tensor) -> Tensor:
        return torch.tensor([self.step], dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scale = (self.scales(x) if scales is None else scales)[0]
        v, top = x.detach(), self.top
        units = torch.where(v <= 0, 0.0, self._nearest(v / scale))
        inside = (x > 0) & (x <= scale * top)
        if self.surrogate == "relu":
            return straight(x, units, x > 0)[None]
        if self.surrogate == "log":
            beyond = v > scale * top
            tail = 1 / torch.where(beyond, v - (scale * top - 1), 1.0)
            return straight(x, units, torch.where(beyond, tail, inside.to(x.dtype)))[None]
        return straight(x, units, inside)[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.surrogate == "log" or self.table is not None:
            return None
        scale, top = scales[0], self.top
        last = float(scale * top) if self.surrogate == "clipped" else torch.inf
        return _HalfWave.apply(x, float(scale), top, last, self.zero_bin)

    @property
    def folds_relu(self) -> bool:
        return True

    def grid(self, x: Tensor | None = None) -> Grid:
        scale = number(self.scales(torch.zeros(1))[0])
        if self.table is None:
            return Uniform(bits=self.bits, scale=scale)
        return Levels(bits=self.bits, scale=scale, table=self.table)
