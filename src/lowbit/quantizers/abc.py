"""ABC-Net: several binary bases. Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import along, sign, straight


class ABC(Quantizer):
    """Weights as a least-squares sum of M shifted sign bases, activations as a learned sum of N shifted signs.

    Forward, weights: B_i = sgn(w - mean + u_i * std), u_i evenly spaced in [-1, 1] (one base: 0), q = sum alpha_i B_i
        with alpha the least-squares fit (pseudo-inverse, float64).
    Forward, activations: H_j = +1 where clip(x + v_j, 0, 1) >= 0.5, else -1; q = sum beta_j H_j.
    Gradient, weights: dx = g * sum alpha_i. Activations: dx = g * sum_j beta_j [0 <= x + v_j <= 1],
        d beta_j = sum g H_j, d v_j = beta_j * sum g [0 <= x + v_j <= 1].
    Grid: Planes. Learned state: activations v and beta. Initialisation: v evenly spaced in [-0.5, 0.5], beta = 1 / N.
    Cost: a small least-squares problem a filter and step; M * N binary products at inference.
    Fails: constant weights make the bases collinear; the pseudo-inverse shares the fit among them.
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
        bases, groups = self._bases(x).double().movedim(0, -1), self.groups(x.detach()).double()  # [G, N, M], [G, N]
        # for NaN the pseudo-inverse would raise; the whole group is NaN anyway
        clean = bases.nan_to_num() @ torch.eye(self.bits, dtype=torch.float64, device=x.device)
        alpha = (torch.linalg.pinv(clean) @ groups[..., None])[..., 0].to(x.dtype)
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
