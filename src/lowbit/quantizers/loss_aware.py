"""Loss-aware weights: what lab, lat and laq share, and lab. Hou, Yao, Kwok, "Loss-aware Binarization of Deep
Networks", 2017; Hou, Kwok, "Loss-aware Weight Quantization of Deep Networks", 2018.

lab, lat and laq minimise sum d (w - q)^2, the proximal Newton step with a diagonal Hessian d = sqrt(v) + 1e-8, where v
is Adam's second moment of the weight's gradient. A training procedure passes v on with `follow`; until then d is 1,
which makes lab the scaled sign and lat the exact ternary form. Factors of d cancel, so bias correction and learning
rate do not matter.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import sign, straight


class LossAware(Quantizer):
    """What the three methods share: the curvature d of each weight."""

    curvature: Tensor
    weight_limit: ClassVar[float] = 1.0
    """The trained weight belongs in [-weight_limit, weight_limit] after each step of the optimizer."""

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.register_buffer("curvature", torch.ones(0))  # empty: 1 everywhere

    @torch.no_grad()
    def follow(self, second_moment: Tensor) -> None:
        """Take over Adam's second moment of the weight: ``optimizer.state[weight]["exp_avg_sq"]``."""
        self.curvature = second_moment.sqrt() + 1e-8

    def weighed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """|w| and d, float64 [groups, elements]."""
        size = self.groups(x.detach()).double().abs()
        return size, torch.ones_like(size) if self.curvature.numel() == 0 else self.groups(self.curvature).double()


class LAB(LossAware):
    """Binary weights, each weighed by its curvature.

    Forward: q = a * sgn(w), a = sum(d |w|) / sum(d). Gradient: dx = g.
    Grid: Planes, one plane. Learned state: none; d is a buffer. Initialisation: d = 1 until `follow` is called.
    Cost: two sums a step. Fails: as bwn; weights belong in [-1, 1] (`weight_limit`).
    Source: Hou et al. 2017, Eq. 5-8 and Proposition 3.1.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = LAB()
        ... q.calibrate(w)
        ... q.follow(torch.tensor([1.0, 16, 1, 1, 1, 1]))
        >>> round(float(q(w)[2]), 4)
        0.4333
    """

    card: ClassVar[Card] = Card(
        name="lab", family="loss-aware", kind="W", min_bits=1, max_bits=1, grid="Planes", paper="Hou 2017",
        equation="5-8",
    )  # fmt: skip

    def __init__(self, bits: int = 1, **common: Any) -> None:
        super().__init__(bits, **common)

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        size, d = self.weighed(x)
        mean = (d * size).sum(1) / d.sum(1)
        # signs of infinity are finite: a scale of infinity must not make levels of them
        return self.ungroup(mean.where(mean.isfinite(), torch.nan)).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, sign(x))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        if x is None:
            raise ValueError("lab computes its scale from the weight: call grid(weight)")
        return Planes(bits=1, scales=number(self.scales(wide(x))))
