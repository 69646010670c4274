"""LAQ: loss-aware weights of several bits. Hou, Kwok, "Loss-aware Weight Quantization of Deep Networks", 2018."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Levels, Uniform
from lowbit.quantizers.base import Card, number
from lowbit.quantizers.loss_aware import LossAware
from lowbit.quantizers.search import Units, divided, nearest, refined, search
from lowbit.quantizers.ste import along, rounded, straight


class LAQ(LossAware):
    """Weights on 2 N + 1 levels, N = 2^(n-1) - 1, of small weighed squared error.

    Forward: q = a * b, b the nearest to w / a among k / N (``spacing="linear"``) or 0, +-1, +-1/2, ...,
        +-2^-(N-1) ("log").
    Gradient: dx = g. Grid: Uniform, or Levels of powers of two ("log", up to 5 bits).
    Learned state: none; a and d are buffers. Initialisation: the best of 200 a, then b = nearest(w / a) and
        a = sum(b d w) / sum(d b^2) in turn; while training, two turns a step.
    Cost: two passes over the weights a step. Fails: the alternation has local minima; weights belong in [-1, 1].
    Source: Hou and Kwok 2018, Eq. 10-12, Algorithm 2. Public code divides by sum(|b| d), which minimises nothing.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = LAQ(3)
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-0.9, -0.3, 0.0, 0.6, 0.9, -0.3]
    """

    card: ClassVar[Card] = Card(
        name="laq", family="loss-aware", kind="W", min_bits=2, grid="Uniform/Levels", paper="Hou 2018", equation="10-12"
    )
    alpha: Tensor

    def __init__(self, bits: int, *, spacing: str = "linear", **common: Any) -> None:
        super().__init__(bits, **common)
        if spacing not in ("linear", "log"):
            raise ValueError(f"laq's spacing is {spacing!r}, allowed are linear, log")
        self.top = 2 ** (bits - 1) - 1
        if spacing == "log" and bits > 5:
            raise ValueError(f"laq with spacing 'log' takes 2 to 5 bits, got {bits}: the next needs units of 2^30")
        self.sizes = (0, *(2**i for i in range(self.top))) if spacing == "log" else None
        self.register_buffer("alpha", torch.tensor(0.0))  # the distance of units: a / N, or a / 2^(N-1)

    @property
    def max_unit(self) -> int:
        return self.top if self.sizes is None else self.sizes[-1]

    @property
    def _units(self) -> Units:
        sizes, top = self.sizes, self.top
        if sizes is None:
            return lambda w, scale: rounded(divided(w, scale)).clamp(-top, top)
        return lambda w, scale: nearest(divided(w, scale), sizes)

    def start(self, x: Tensor) -> None:
        w, (size, d) = self.groups(x).double(), self.weighed(x)
        limit = 1.5 * size.amax(1) / self.max_unit
        self.average(self.alpha, self.ungroup(search(w, limit, self._units, weight=d)))

    def track(self, x: Tensor) -> None:
        w, d = self.groups(x).double(), self.weighed(x)[1]
        scale = self.alpha.reshape(-1).double()
        for _ in range(2):
            scale = refined(w, scale, self._units, d)
        self.keep(self.alpha, self.ungroup(scale))

    def scales(self, x: Tensor) -> Tensor:
        return self.alpha.to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, self._units(x.detach(), along(self.alpha.to(x.dtype), x)))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.sizes is not None:
            table = (*(-size for size in reversed(self.sizes[1:])), *self.sizes)
            return Levels(bits=self.bits, scale=number(self.alpha), table=table)
        return Uniform(bits=self.bits, signed=True, low=-self.top, high=self.top, scale=number(self.alpha))
