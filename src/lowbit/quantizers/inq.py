"""INQ: powers of two. Zhou et al., "Incremental Network Quantization", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Levels
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.search import divided, nearest
from lowbit.quantizers.ste import along, straight


class INQ(Quantizer):
    """Weights {0, +-2^n2, ..., +-2^n1}: products are shifts.

    Forward: n1 = floor(log2(4 max|w| / 3)), n2 = n1 + 1 - 2^(n-2), both fixed at the start; with lo < hi neighbouring
        sizes, |w| in [(lo + hi) / 2, 1.5 hi) gives hi, below half of the smallest size 0. Gradient: dx = g.
    Grid: Levels of powers of two. Learned state: none; 2^n2 is a buffer.
    Initialisation: from the largest weight; starts from a trained network.
    Cost: one search among 2^(n-2) + 1 sizes a weight. Fails: n1 follows one outlier; near the largest size the levels
        are wide apart. At 6 bits sizes span 2^15; 7 bits would need 2^31, so 6 is the widest.
    Source: Zhou et al. 2017, Eq. 1-4. Freezing the largest weights step by step is a procedure.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = INQ(3)
        ... q.calibrate(w)
        >>> q(w).tolist()
        [-1.0, -0.5, 0.0, 0.5, 1.0, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="inq", family="powers of two", kind="W", min_bits=2, max_bits=6, grid="Levels", paper="Zhou 2017",
        equation="1-4",
    )  # fmt: skip
    smallest: Tensor

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.sizes = (0, *(2**i for i in range(2 ** (bits - 2))))
        self.register_buffer("smallest", torch.tensor(0.0))

    @property
    def max_unit(self) -> int:
        return self.sizes[-1]

    def start(self, x: Tensor) -> None:
        top = self.groups(x).double().abs().amax(1)
        exponent = torch.frexp(4 * top / 3).exponent - 1  # floor(log2), exactly
        smallest = torch.ldexp(torch.ones_like(top), exponent + 1 - 2 ** (self.bits - 2))
        self.average(self.smallest, self.ungroup(torch.where(top > 0, smallest, 0.0)))

    def scales(self, x: Tensor) -> Tensor:
        return self.smallest.to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        v = divided(x.detach(), along(self.smallest.to(x.dtype), x))
        return straight(x, nearest(v, self.sizes, up=True))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        table = (*(-size for size in reversed(self.sizes[1:])), *self.sizes)
        return Levels(bits=self.bits, scale=number(self.smallest), table=table)
