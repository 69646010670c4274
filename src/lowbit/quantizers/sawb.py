"""SAWB: statistics-aware weight binning. Choi et al. 2019, "Accurate and Efficient 2-bit Quantized Neural Networks"."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.ste import along, straight

CLOSED_FORM = {2: (3.12, 2.064), 3: (7.509, 6.892), 4: (12.68, 12.80), 5: (17.74, 18.64), 8: (31.76, 35.04)}
"""bits: (c1, c2) of a = c1 * sqrt(E w^2) - c2 * E|w|."""


class SAWB(Quantizer):
    """2^n levels from -a to a without a zero level, a chosen for least squared error.

    Forward: levels -a + i * 2a / (2^n - 1), q = the nearest one.
    Option `estimator`: "mse" minimises mean (w - q)^2 (64 candidates in (0, 1.2 max|w|], then alternation of codes and
        a to convergence; later training steps: two alternations from the last a); "closed" is the paper's
        a = c1 * sqrt(E w^2) - c2 * E|w| where it has constants (2, 3, 4, 5, 8 bits) and 0 < a <= 1.2 max|w|,
        else "mse".
    Option `clip`: gradient only where |w| <= a. Gradient: dx = g.
    Grid: Uniform over odd units, scale a / (2^n - 1). Learned state: none; a is kept in a buffer, frozen in eval.
    Initialisation: the full search on the weights.
    Cost: "mse" two passes a step, "closed" two means. Fails: closed form on near-constant |w| at 4 bits and more
        (c1 < c2 makes a negative), hence the fallback above.
    Source: Choi et al. 2019, Eq. 5; DQA Eq. 11-12 define the minimiser itself.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = SAWB(2)
        ... q.calibrate(w)
        >>> round(float(q.alpha), 5)
        0.92727
    """

    card: ClassVar[Card] = Card(name="sawb", family="range", kind="W", min_bits=1, paper="Choi 2019", equation="5")
    alpha: Tensor

    def __init__(self, bits: int, *, estimator: str = "mse", clip: bool = False, **common: Any) -> None:
        super().__init__(bits, **common)
        if estimator not in ("mse", "closed"):
            raise ValueError(f"sawb's estimator is {estimator!r}, allowed are mse, closed")
        self.estimator, self.clip = estimator, clip
        self.register_buffer("alpha", torch.tensor(0.0))

    def _units(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Odd units of x; alpha broadcasts. A zero alpha gives +-1 units, whose value is 0."""
        top = 2**self.bits - 1
        step = 2 * (alpha / top)
        v = x / torch.where(step > 0, step, 1.0)
        return (2 * torch.round(v - 0.5) + 1).clamp(-top, top)

    def _refine(self, w: Tensor, alpha: Tensor, rounds: int) -> Tensor:
        """Alternate codes and least-squares alpha, each of which never raises the error. w [G, N], alpha [G]."""
        top = 2**self.bits - 1
        for _ in range(rounds):
            c = self._units(w, alpha[:, None]) / top
            refined = ((w * c).sum(1) / (c * c).sum(1)).clamp_min(0)
            if torch.equal(refined, alpha):
                break
            alpha = refined
        return alpha

    def _search(self, w: Tensor) -> Tensor:
        """Least-squares alpha of each group. w [G, N] float64 -> [G]."""
        limit = 1.2 * w.abs().amax(1)
        best, error = limit.clone(), torch.full_like(limit, float("inf"))
        for i in range(1, 65):
            alpha = limit * (i / 64)
            e = ((self._units(w, alpha[:, None]) * (alpha / (2**self.bits - 1))[:, None] - w) ** 2).mean(1)
            best, error = torch.where(e < error, alpha, best), torch.minimum(e, error)
        return self._refine(w, best, 100)

    def _estimate(self, x: Tensor) -> Tensor:
        w = self.groups(x.detach()).double()
        if self.estimator == "mse" or self.bits not in CLOSED_FORM:
            return self._search(w)
        c1, c2 = CLOSED_FORM[self.bits]
        a = c1 * (w * w).mean(1).sqrt() - c2 * w.abs().mean(1)
        usable = (a > 0) & (a <= 1.2 * w.abs().amax(1))
        return a if bool(usable.all()) else torch.where(usable, a, self._search(w))

    def start(self, x: Tensor) -> None:
        self.average(self.alpha, self.ungroup(self._estimate(x)))

    def track(self, x: Tensor) -> None:
        """Let alpha follow the weights by two alternations, without a data-dependent branch."""
        w = self.groups(x)
        alpha = self.alpha.reshape(-1).to(w)
        if self.estimator == "closed" and self.bits in CLOSED_FORM:
            c1, c2 = CLOSED_FORM[self.bits]
            a = c1 * (w * w).mean(1).sqrt() - c2 * w.abs().mean(1)
            usable = (a > 0) & (a <= 1.2 * w.abs().amax(1))
        else:
            a, usable = alpha, torch.zeros_like(alpha, dtype=torch.bool)
        top = 2**self.bits - 1
        for _ in range(2):
            c = self._units(w, alpha[:, None]) / top
            alpha = ((w * c).sum(1) / (c * c).sum(1)).clamp_min(0)
        self.alpha.copy_(self.ungroup(torch.where(usable, a, alpha)))

    @property
    def max_unit(self) -> int:
        return 2**self.bits

    def scales(self, x: Tensor) -> Tensor:
        return (self.alpha / (2**self.bits - 1)).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        alpha = along(self.alpha, x).to(x.dtype)
        return straight(x, self._units(x.detach(), alpha), x.abs() <= alpha if self.clip else None)[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Uniform(bits=self.bits, odd=True, scale=number(self.alpha / (2**self.bits - 1)))
