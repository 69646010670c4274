"""HWGQ: the best steps for a half Gaussian. Cai et al., "Deep Learning with Low Precision by Half-Wave Gaussian
Quantization", 2017."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.fused import clip_backward, half_wave, uniform
from lowbit.quantizers.ste import rounded, straight

STEPS = {
    False: {1: 0.798, 2: 0.538, 3: 0.322, 4: 0.184},
    True: {1: 1.224, 2: 0.651, 3: 0.353, 4: 0.193},
}
"""zero_bin: bits: published step of least squared error for the positive half of N(0, 1)."""
SMALLEST = 2.0**-149
"""The smallest positive float32 number: x >= SMALLEST is x > 0."""
BACKWARD = ("clipped", "relu", "log")


def half_gaussian_error(step: float, bits: int, zero_bin: bool) -> float:
    """Mean squared error of the quantizer on the positive half of N(0, 1), in closed form for each level."""
    level = step * torch.arange(0 if zero_bin else 1, 2**bits, dtype=torch.float64)
    edges = torch.cat([torch.zeros(1), (level[1:] + level[:-1]) / 2, torch.full((1,), torch.inf)]).double()
    below, density = torch.special.ndtr(edges), torch.exp(-(edges**2) / 2) / (2 * torch.pi) ** 0.5
    mass, moment = below.diff(), -density.diff()
    return float(1 + 2 * (level**2 @ mass) - 4 * (level @ moment))


@cache
def best_step(bits: int, zero_bin: bool) -> float:
    """The step of least squared error: as published up to 4 bits, found numerically above."""
    if bits in STEPS[zero_bin]:
        return STEPS[zero_bin][bits]
    from scipy.optimize import minimize_scalar  # here, since few need it and every import of lowbit would pay

    bounds = (1 / 2**bits, 8 / 2**bits)
    found = minimize_scalar(half_gaussian_error, bounds=bounds, args=(bits, zero_bin), method="bounded")
    return float(found.x)


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
        level. Option `zero_bin`: small positive x may give 0 too (other D).
    Gradient, option `backward`: "clipped" dx = g where 0 < x <= q_max, q_max = (2^n - 1) D; "relu" dx = g where x > 0;
        "log" as clipped, and g / (x - q_max + 1) beyond q_max.
    Grid: Uniform; without `zero_bin` codes come from thresholds, since the first one is 0 and not D / 2.
    Learned state: none. Initialisation: none; D depends on the bits alone.
    Cost: as lsq. Fails: where activations are not close to N(0, 1): it needs a BatchNorm without scale and shift in
        front.
    Source: Cai et al. 2017, Eq. 7-13. Uniform levels; D for 5 bits and more is found by us.

    Example:
        >>> q = HWGQ(2, role="activation")
        ... q.calibrate(torch.zeros(1))
        >>> [round(v, 3) for v in q(torch.tensor([-1.0, 0.2, 0.9, 2.0])).tolist()]
        [0.0, 0.538, 1.076, 1.614]
    """

    card: ClassVar[Card] = Card(
        name="hwgq", family="fixed step", kind="A", min_bits=1, paper="Cai 2017", equation="7-13"
    )
    arithmetic: ClassVar[bool] = False

    def __init__(
        self,
        bits: int,
        *,
        zero_bin: bool = False,
        backward: str = "clipped",
        role: str = "activation",
        **common: Any,
    ) -> None:
        super().__init__(bits, role=role, **common)
        if backward not in BACKWARD:
            raise ValueError(f"hwgq's backward is {backward!r}, allowed are {', '.join(BACKWARD)}")
        self.zero_bin, self.surrogate, self.step = zero_bin, backward, best_step(bits, zero_bin)

    def scales(self, x: Tensor) -> Tensor:
        return torch.tensor([self.step], dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scale = (self.scales(x) if scales is None else scales)[0]
        v, top = x.detach(), 2**self.bits - 1
        units = rounded(v / scale).clamp(0 if self.zero_bin else 1, top)
        units = torch.where(v <= 0, 0.0, units)
        inside = (x > 0) & (x <= scale * top)
        if self.surrogate == "relu":
            return straight(x, units, x > 0)[None]
        if self.surrogate == "log":
            beyond = v > scale * top
            tail = 1 / torch.where(beyond, v - (scale * top - 1), 1.0)
            return straight(x, units, torch.where(beyond, tail, inside.to(x.dtype)))[None]
        return straight(x, units, inside)[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.surrogate == "log":
            return None
        scale, top = scales[0], 2**self.bits - 1
        last = float(scale * top) if self.surrogate == "clipped" else torch.inf
        return _HalfWave.apply(x, float(scale), top, last, self.zero_bin)

    @property
    def folds_relu(self) -> bool:
        return True

    def grid(self, x: Tensor | None = None) -> Grid:
        return Uniform(bits=self.bits, scale=number(self.scales(torch.zeros(1))[0]))
