"""The grids of ADMM quantization. Leng et al., "Extremely Low Bit Neural Network: Squeeze the Last Bit Out with
ADMM", 2018."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Levels
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.search import alternate, best, divided, nearest, refined
from lowbit.quantizers.ste import along, straight

SETS = {1: (-1, 1), 2: (-1, 0, 1), 3: (-4, -2, -1, 0, 1, 2, 4)}
"""bits: levels in units of the scale; three bits also take (-2, -1, 0, 1, 2)."""


class ADMM(Quantizer):
    """Weights projected onto a symmetric integer set times one scale: the projection step of ADMM.

    Forward: q = a * nearest(w / a), a middle going towards zero. Gradient: dx = g.
    Grid: Levels. Option `levels`: the set, symmetric integers, e.g. (-2, -1, 0, 1, 2); by default (-1, 1), (-1, 0, 1),
        (-4, -2, -1, 0, 1, 2, 4) for 1, 2, 3 bits. Learned state: none; a is a buffer.
    Initialisation: from a = max|w| / max level and from a = mean|w|, at most 20 turns of q = nearest(w / a) and
        a = sum(w q) / sum(q^2); the better of the two. While training, two turns a step.
    Cost: two passes over the weights a step. Fails: the alternation has local minima.
    Source: Leng et al. 2018, Eq. 11-13. The training itself (extragradient steps with a dual variable) is a procedure
        that calls this projection.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = ADMM(3)
        ... q.calibrate(w)
        >>> round(float(q.alpha), 5)
        0.23947
    """

    card: ClassVar[Card] = Card(
        name="admm", family="least squares", kind="W", min_bits=1, max_bits=3, grid="Levels", paper="Leng 2018",
        equation="11-13",
    )  # fmt: skip
    alpha: Tensor

    def __init__(self, bits: int, *, levels: Sequence[int] | None = None, **common: Any) -> None:
        super().__init__(bits, **common)
        self.levels = _checked(SETS[bits] if levels is None else levels, bits)
        self.sizes = tuple(level for level in self.levels if level >= 0)
        self.register_buffer("alpha", torch.tensor(0.0))

    @property
    def max_unit(self) -> int:
        return self.levels[-1]

    def _units(self, w: Tensor, scale: Tensor) -> Tensor:
        return nearest(divided(w, scale), self.sizes)

    def start(self, x: Tensor) -> None:
        w = self.groups(x).double()
        starts = (w.abs().amax(1) / self.levels[-1], w.abs().mean(1))
        found = best(w, [alternate(w, start, self._units, 20) for start in starts], self._units)
        self.average(self.alpha, self.ungroup(found))

    def track(self, x: Tensor) -> None:
        w = self.groups(x)
        scale = self.alpha.reshape(-1).to(w)
        for _ in range(2):
            scale = refined(w, scale, self._units)
        self.keep(self.alpha, self.ungroup(scale))

    def scales(self, x: Tensor) -> Tensor:
        return self.alpha.to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, self._units(x.detach(), along(self.alpha.to(x.dtype), x)))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Levels(bits=self.bits, scale=number(self.alpha), table=self.levels)


def _checked(levels: Any, bits: int) -> tuple[int, ...]:
    try:
        table = tuple(levels)
    except TypeError:
        table = ()
    whole = all(isinstance(level, int) and not isinstance(level, bool) for level in table)
    ascending = whole and all(a < b for a, b in pairwise(table))
    if not ascending or not 2 <= len(table) <= 2**bits or any(-level not in table for level in table):
        raise ValueError(
            f"admm's levels are {levels!r}, allowed are 2 to {2**bits} ascending integers, symmetric about 0, "
            "such as (-2, -1, 0, 1, 2)"
        )
    return table
