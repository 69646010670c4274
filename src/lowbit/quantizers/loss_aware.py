"""Loss-aware binary and ternary weights. Hou, Yao, Kwok, "Loss-aware Binarization of Deep Networks", 2017; Hou, Kwok,
"Loss-aware Weight Quantization of Deep Networks", 2018.

lab, lat and laq minimise sum d (w - q)^2, the proximal Newton step with a diagonal Hessian d = sqrt(v) + 1e-8, where v
is Adam's second moment of the weight's gradient. A training procedure passes v on with `follow`; until then d is 1,
which makes lab the scaled sign and lat the exact ternary form. Factors of d cancel, so bias correction and learning
rate do not matter.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Levels, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import along, sign, straight


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


class LAT(LossAware):
    """Ternary weights of least weighed squared error, exactly.

    Forward: q = a * sgn(w) where |w| > a / 2, else 0. With |w| in falling order and c_k = sum_k(d |w|) / sum_k(d) / 2
        over the first k, k is admissible where |w|_k > c_k >= |w|_(k+1); a = 2 c_k for the admissible k of largest
        c_k^2 * sum_k(d). Gradient: dx = g.
    Grid: Levels (-1, 0, 1). Learned state: none; d is a buffer. Initialisation: d = 1 until `follow` is called.
    Cost: a sort a step; `laq` with two bits is the approximate solution by alternation.
    Fails: as twn; weights belong in [-1, 1] (`weight_limit`).
    Source: Hou and Kwok 2018, Eq. 8-9 and Algorithm 1. An admissible k always exists unless all weights are 0.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = LAT()
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-0.8, 0.0, 0.0, 0.8, 0.8, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="lat", family="loss-aware", kind="W", min_bits=2, max_bits=2, grid="Levels", paper="Hou 2018",
        equation="8-9",
    )  # fmt: skip

    def __init__(self, bits: int = 2, **common: Any) -> None:
        super().__init__(bits, **common)

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        size, d = self.weighed(x)
        ranked, order = size.sort(1, descending=True)
        d = d.gather(1, order)
        mass = d.cumsum(1)
        c = (d * ranked).cumsum(1) / mass / 2
        following = torch.cat([ranked[:, 1:], torch.zeros_like(ranked[:, :1])], 1)
        admissible = (ranked > c) & (c >= following)
        k = torch.where(admissible, c * c * mass, -1.0).argmax(1, keepdim=True)
        a = 2 * c.gather(1, k)[:, 0]
        spoiled = size.sum(1)  # NaN and infinity make NaN of their group
        return self.ungroup(a + (spoiled - spoiled)).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        limit = along((self.scales(x) if scales is None else scales)[0], x) / 2
        units = torch.where(x > limit, 1.0, torch.where(x < -limit, -1.0, 0.0)).to(x.dtype)
        return straight(x, units)[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        if x is None:
            raise ValueError("lat computes its scale from the weight: call grid(weight)")
        return Levels(bits=2, scale=number(self.scales(wide(x))[0]), table=(-1, 0, 1))
