"""ABC-Net: several binary bases. Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import along, sign, straight


def fit(bases: Tensor, groups: Tensor) -> Tensor:
    """Least-squares scales of sign bases that switch on one after the other, of smallest norm: [groups, M] float64.

    bases [M, groups, elements], +1 or -1, where B_i = +1 implies B_{i+1} = +1; groups [groups, elements] float64.

    The bases cut the numbers into M + 1 cells, and sum alpha_i B_i has one level a cell: l_0 = -sum alpha below all
    thresholds, two alphas more a cell, l_M = +sum alpha above. So alpha is free to choose M levels, and the best are
    the means of the cells, with 0 and M taken as one cell of which 0 is negated. Cells without numbers leave their
    level open; the smallest alphas then interpolate along the ring ... l_{M-1}, l_M = -l_0, -l_1 ... This is
    pinv(B) w without LAPACK, which rounds one matrix in two ways, by where it lies in memory.
    """
    count = len(bases)
    cell = (bases > 0).sum(0)  # how many bases are on
    turned = torch.where(cell == count, -groups, groups)
    cell = cell % count
    here = torch.stack([cell == k for k in range(count)], 1)  # [G, M, N]
    size = here.sum(2)
    mean = torch.where(here, turned[:, None], 0.0).sum(2) / size
    ring = torch.cat([-mean, mean, -mean], 1)  # l at -M .. 2M - 1
    known = (size > 0).repeat(1, 3)
    at = torch.arange(3 * count, device=groups.device).expand_as(known)
    before = torch.where(known, at, 0).cummax(1).values[:, count : 2 * count + 1]
    after = torch.where(known, at, 3 * count - 1).flip(1).cummin(1).values.flip(1)[:, count : 2 * count + 1]
    low, high = ring.gather(1, before), ring.gather(1, after)
    part = (at[:, count : 2 * count + 1] - before).double() / (after - before).clamp_min(1)
    level = low + (high - low) * part
    return (level.diff(dim=1) / 2).flip(1)


class ABC(Quantizer):
    """Weights as a least-squares sum of M shifted sign bases, activations as a learned sum of N shifted signs.

    Forward, weights: B_i = sgn(w - mean + u_i * std), u_i evenly spaced in [-1, 1] (one base: 0), q = sum alpha_i B_i
        with alpha the least-squares fit of smallest norm (float64).
    Forward, activations: H_j = +1 where clip(x + v_j, 0, 1) >= 0.5, else -1; q = sum beta_j H_j.
    Gradient, weights: dx = g * sum alpha_i. Activations: dx = g * sum_j beta_j [0 <= x + v_j <= 1],
        d beta_j = sum g H_j, d v_j = beta_j * sum g [0 <= x + v_j <= 1].
    Grid: Planes. Learned state: activations v and beta. Initialisation: v evenly spaced in [-0.5, 0.5], beta = 1 / N.
    Cost: a small least-squares problem a filter and step; M * N binary products at inference.
    Fails: constant weights make the bases collinear; as the pseudo-inverse does, the fit is shared among them.
    Source: Lin et al. 2017, Eq. 1-9.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = ABC(3)
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-0.95, -0.25, 0.3, 0.3, 0.95, -0.25]
    """

    card: ClassVar[Card] = Card(
        name="abc", family="planes", kind="WA", min_bits=1, max_bits=8, grid="Planes", learned="shifts, scales",
        paper="Lin 2017", equation="1-9", channel=True,
    )  # fmt: skip
    arithmetic: ClassVar[bool] = False

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        if self.role != "weight":
            self.shift = nn.Parameter(torch.linspace(-0.5, 0.5, bits) if bits > 1 else torch.zeros(1))
            self.beta = nn.Parameter(torch.full((bits,), 1 / bits))

    @property
    def max_unit(self) -> int:
        return 1

    def _bases(self, x: Tensor) -> Tensor:
        """Sign bases of a weight: [bits, groups, elements], in x's dtype."""
        groups = self.groups(x.detach())
        wide64 = groups.double()
        mean, std = wide64.mean(1, keepdim=True), wide64.std(1, keepdim=True, correction=0)
        shifts = [2 * i / (self.bits - 1) - 1 for i in range(self.bits)] if self.bits > 1 else [0.0]
        return torch.stack([sign((wide64 - mean + u * std).to(x.dtype)) for u in shifts])

    def scales(self, x: Tensor) -> Tensor:
        if self.role != "weight":
            return self.beta
        alpha = fit(self._bases(x), self.groups(x.detach()).double()).to(x.dtype)
        return alpha.T if self.channel else alpha[0]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        if self.role == "weight":
            units = self._bases(x).reshape(self.bits, *x.shape)
            total = scales.sum(0)
            first = straight(x, units[0], along(torch.where(total == 0, 1.0, total), x))  # zeros must still train
            return torch.cat([first[None], units[1:]])
        planes = []
        for v, beta in zip(self.shift, scales.detach(), strict=True):
            t = x + v
            unit = torch.where(t.detach() >= 0.5, 1.0, torch.where(t.detach() < 0.5, -1.0, t.detach())).to(x.dtype)
            planes.append(straight(t, unit, ((t >= 0) & (t <= 1)) * beta))
        return torch.stack(planes)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.role == "weight":
            if x is None:
                raise ValueError("abc fits its scales to the weight: call grid(weight)")
            return Planes(bits=self.bits, scales=number(self.scales(wide(x))))
        # codes count the planes that x has switched on, in the order of their thresholds
        order = self.shift.detach().argsort(descending=True, stable=True).tolist()
        patterns = [sum(1 << j for j in order[:k]) for k in range(self.bits + 1)]
        return Planes(bits=self.bits, scales=number(self.beta), patterns=tuple(patterns))
