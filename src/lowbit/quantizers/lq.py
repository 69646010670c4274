"""LQ-Nets: a learned basis of planes. Zhang et al., "LQ-Nets", 2018."""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, all_reduce_mean, number
from lowbit.quantizers.ste import straight

KEEP = 0.9
EPS = 1e-4
SAMPLE = 2**16  # values of an activation that calibration fits


class LQ(Quantizer):
    """Values v . e with e in {-1, 1}^n (weights) or {0, 1}^n (activations); the basis v follows the data (QEM).

    Forward: q = the nearest of all v . e; a tie takes the smaller value.
    Gradient: weights dx = g; activations dx = g where x <= the largest level, else 0.
    Grid: Planes. Learned state: v, one basis a filter for weights (``@tensor``: one for the layer), one for
        activations; kept in a buffer, updated once a training forward by v <- 0.9 v + 0.1 v_new,
        v_new = (B^T B + 1e-4 I)^-1 B^T x with the codes B of the current v; frozen in eval.
    Initialisation: weights v_j = 2^j * 0.6745 * sqrt(2 / n_out) / 2^(n-1), n_out = kernel area * output channels, then
        activations v_j = 2^j * 1.349 / (2^n - 1); then QEM to convergence, averaged over calibration batches.
    Cost: a search among 2^n levels a value and a small least-squares problem a filter. Fails: more than 4 bits get
        slow; a plane that nothing uses keeps its v_j.
    Source: Zhang et al. 2018, Eq. 3-9, Algorithm 1. The update never raises the squared error for its codes, and
        nearest codes never raise it for their basis, so QEM descends.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = LQ(2)
        ... q.calibrate(w)
        >>> [round(v, 3) for v in q(w).tolist()]
        [-0.95, -0.275, 0.275, 0.275, 0.95, -0.275]
    """

    card: ClassVar[Card] = Card(
        name="lq", family="planes", kind="WA", min_bits=1, max_bits=4, grid="Planes", learned="basis",
        paper="Zhang 2018", equation="3-9", channel=True,
    )  # fmt: skip
    arithmetic: ClassVar[bool] = False
    basis: Tensor

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.register_buffer("basis", torch.zeros(1, bits))
        low = -1.0 if self.role == "weight" else 0.0
        self.signs = torch.tensor(list(product((low, 1.0), repeat=bits)))[:, range(bits - 1, -1, -1)]  # [2^n, n]

    @property
    def max_unit(self) -> int:
        return 1

    def _levels(self, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of each basis in ascending order, and their rows of `signs`. basis [G, n] -> [G, 2^n] twice."""
        signs = self.signs.to(basis)
        # term by term and in order, as values are computed everywhere
        levels = signs[:, 0] * basis[:, :1]
        for j in range(1, self.bits):
            levels = levels + signs[:, j] * basis[:, j : j + 1]
        ordered = levels.sort(dim=1, stable=True)
        return ordered.values, ordered.indices

    def _nearest(self, x: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Rank of the nearest level and its signs. x [G, N], basis [G, n] -> [G, N], [G, N, n]."""
        levels, order = self._levels(basis)
        edges = (levels[:, 1:] + levels[:, :-1]) / 2
        rank = torch.searchsorted(edges.contiguous(), x.contiguous())
        return rank, self.signs.to(x)[order.gather(1, rank)]

    def _fit(self, x: Tensor, basis: Tensor) -> Tensor:
        """Least-squares basis for the codes of the current one; unused planes keep theirs. Float64."""
        signs = self._nearest(x, basis)[1].double()
        normal = signs.transpose(1, 2) @ signs + EPS * torch.eye(self.bits, device=x.device)
        fitted = torch.linalg.solve(normal, signs.transpose(1, 2) @ x.double()[..., None])[..., 0]
        used = signs.abs().sum(1) > 0
        return torch.where(used & fitted.isfinite(), fitted, basis.double()).to(basis)

    def start(self, x: Tensor) -> None:
        groups = self.groups(x) if self.role == "weight" else x.reshape(1, -1)
        powers = 2.0 ** torch.arange(self.bits, device=x.device)
        if self.role == "weight":
            outputs = x.shape[0] * (x[0, 0].numel() if x.ndim > 2 else 1)
            basis = powers * 0.6745 * (2 / outputs) ** 0.5 / 2 ** (self.bits - 1)
        else:
            basis = powers * 1.349 / (2**self.bits - 1)
            groups = groups[:, :: max(1, groups.shape[1] // SAMPLE)]
        basis = basis.expand(len(groups), -1).to(x)
        for _ in range(100):
            fitted = self._fit(groups, basis)
            if torch.equal(fitted, basis):
                break
            basis = fitted
        self.average(self.basis, basis)

    def track(self, x: Tensor) -> None:
        groups = self.groups(x) if self.role == "weight" else x.reshape(1, -1)
        fitted = all_reduce_mean(self._fit(groups, self.basis.to(x)))
        self.basis.lerp_(fitted.to(self.basis), 1 - KEEP)

    def scales(self, x: Tensor) -> Tensor:
        basis = self.basis.to(x.dtype)
        return basis.T if self.channel and self.role == "weight" else basis[0]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        groups = self.groups(x.detach()) if self.role == "weight" else x.detach().reshape(1, -1)
        basis = self.basis.to(x.dtype)
        signs = self._nearest(groups, basis)[1].movedim(-1, 0).reshape(self.bits, *x.shape)
        signs = torch.where(x.isnan(), x, signs)
        top = None if self.role == "weight" else x <= self._levels(basis)[0][0, -1]
        first = straight(x, signs[0], top)
        # one value-domain gradient in all: it enters through the first plane
        return torch.cat([first[None], signs[1:]])

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.role == "weight":
            return Planes(bits=self.bits, scales=number(self.scales(self.basis)))
        order = self._levels(self.basis)[1][0].tolist()
        patterns = [int(sum((1 << j) for j in range(self.bits) if self.signs[row, j] > 0)) for row in order]
        return Planes(bits=self.bits, scales=number(self.basis[0]), zero_one=True, patterns=tuple(patterns))
