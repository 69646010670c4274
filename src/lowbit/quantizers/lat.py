"""LAT: loss-aware ternary weights. Hou, Kwok, "Loss-aware Weight Quantization of Deep Networks", 2018."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Codebook, Grid, Levels
from lowbit.quantizers.base import Card, number, wide
from lowbit.quantizers.loss_aware import LossAware
from lowbit.quantizers.ste import along, straight

SOLUTIONS = ("exact", "approximate")


def exact(size: Tensor, d: Tensor) -> Tensor:
    """The level a of least sum d (|w| - a b)^2 over b in {0, 1}: size, d [groups, elements] -> [groups]."""
    ranked, order = size.sort(1, descending=True)
    d = d.gather(1, order)
    mass = d.cumsum(1)
    c = (d * ranked).cumsum(1) / mass / 2
    following = torch.cat([ranked[:, 1:], torch.zeros_like(ranked[:, :1])], 1)
    admissible = (ranked > c) & (c >= following)
    k = torch.where(admissible, c * c * mass, -1.0).argmax(1, keepdim=True)
    return 2 * c.gather(1, k)[:, 0]


def approximate(size: Tensor, d: Tensor) -> Tensor:
    """The same by alternation, at most ten turns from the weighed mean: b = (|w| > a / 2), a = mean over b."""
    a = (d * size).sum(1) / d.sum(1)
    for _ in range(10):
        kept = d * (size > a[:, None] / 2)
        power = kept.sum(1)
        better = torch.where(power > 0, (kept * size).sum(1) / torch.where(power > 0, power, 1.0), a)
        if torch.equal(better, a):
            break
        a = better
    return a


class _Chosen(Function):
    """One 0/1 tensor for each level; backward the gradient of the value, which all of them receive, once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, chosen: Tensor) -> Tensor:
        return chosen.view_as(chosen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[0], None


class LAT(LossAware):
    """Ternary weights of least weighed squared error.

    Forward: q = a * sgn(w) where |w| > a / 2, else 0. With |w| in falling order and c_k = sum_k(d |w|) / sum_k(d) / 2
        over the first k, k is admissible where |w|_k > c_k >= |w|_(k+1); a = 2 c_k for the admissible k of largest
        c_k^2 * sum_k(d). Option ``solution="approximate"``: b = (|w| > a / 2) and a = sum(b d |w|) / sum(b d) in turn,
        at most ten turns. Option ``scales=2``: an a for the positive weights and one for the negative ones.
    Gradient: dx = g.
    Grid: Levels (-1, 0, 1); with two scales Codebook. Learned state: none; d is a buffer.
    Initialisation: d = 1 until `follow` is called. Cost: a sort a step; approximate: a few sums.
    Fails: as twn; weights belong in [-1, 1] (`weight_limit`).
    Source: Hou and Kwok 2018, Eq. 8-9 and Algorithm 1 (exact, approximate), section 3.2 (two scales). An admissible k
        always exists unless all weights are 0.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = LAT()
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-0.8, 0.0, 0.0, 0.8, 0.8, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="lat", family="loss-aware", kind="W", min_bits=2, max_bits=2, grid="Levels/Codebook", paper="Hou 2018",
        equation="8-9",
    )  # fmt: skip

    def __init__(self, bits: int = 2, *, solution: str = "exact", scales: int = 1, **common: Any) -> None:
        super().__init__(bits, **common)
        if solution not in SOLUTIONS:
            raise ValueError(f"lat's solution is {solution!r}, allowed are {', '.join(SOLUTIONS)}")
        if scales not in (1, 2) or isinstance(scales, bool):
            raise ValueError(f"lat's scales are {scales!r}, allowed are 1 and 2")
        self.solve = exact if solution == "exact" else approximate
        self.two = scales == 2

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        size, d = self.weighed(x)
        spoiled = size.sum(1)  # NaN and infinity make NaN of their group
        spoiled = spoiled - spoiled
        if not self.two:
            return self.ungroup(self.solve(size, d) + spoiled).to(x.dtype)[None]
        positive = self.groups(x.detach()) > 0
        sides = [self.solve(size * side, torch.where(side, d, 0.0).clamp_min(1e-30)) for side in (~positive, positive)]
        low, high = (self.ungroup(a + spoiled) for a in sides)
        return torch.stack([0.0 - low, torch.zeros_like(low), high]).to(x.dtype)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        low, high = (-scales[0], scales[0]) if not self.two else (scales[0], scales[2])
        below, above = x < along(low, x) / 2, x > along(high, x) / 2
        if self.two:
            chosen = torch.stack([below, ~(below | above), above]).to(x.dtype)
            return _Chosen.apply(x, chosen + along(high - high, x))
        units = torch.where(above, 1.0, torch.where(below, -1.0, 0.0)).to(x.dtype)
        return straight(x, units)[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        if x is None:
            raise ValueError("lat computes its scale from the weight: call grid(weight)")
        scales = number(self.scales(wide(x)))
        return Codebook(bits=2, table=scales) if self.two else Levels(bits=2, scale=scales[0], table=(-1, 0, 1))
