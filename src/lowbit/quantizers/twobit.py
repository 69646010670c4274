"""Two-bit weights without zero. Meng et al., "Two-bit networks for deep learning on resource-constrained embedded
devices", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Levels
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.search import divided, nearest, refined, search
from lowbit.quantizers.ste import Positive, along, straight


def _units(w: Tensor, scale: Tensor) -> Tensor:
    return nearest(divided(w, scale), (1, 2))


class TwoBit(Quantizer):
    """Weights {-2 a, -a, a, 2 a}: shifts and signs only, no zero.

    Forward: q = a * sgn(w) * (2 where |w| > 1.5 a, else 1). Gradient: dx = g; with `learned`, da = sum g * unit.
    Grid: Levels (-2, -1, 1, 2). Learned state: none, or a with option `learned`; else a is a buffer.
    Initialisation: the best of 200 a up to 1.2 max|w|, then a = sum(|w| c) / sum(c^2) and c in {1, 2} in turn; while
        training, two such turns a step.
    Cost: two passes over the weights a step. Fails: weights near 0 become +-a: sparse layers lose.
    Source: Meng et al. 2017, section 3. For N(0, 1) the best a is 0.651, its error 8.01 dB below the signal.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = TwoBit()
        ... q.calibrate(w)
        >>> round(float(q.alpha), 4)
        0.4083
    """

    card: ClassVar[Card] = Card(
        name="twobit", family="least squares", kind="W", min_bits=2, max_bits=2, grid="Levels", paper="Meng 2017",
        equation="section 3", channel=True,
    )  # fmt: skip
    must_be_positive: ClassVar[tuple[str, ...]] = ("alpha",)
    alpha: Tensor

    def __init__(self, bits: int = 2, *, learned: bool = False, **common: Any) -> None:
        super().__init__(bits, **common)
        self.learned = learned
        if learned:
            self.alpha = nn.Parameter(torch.tensor(1.0))
        else:
            self.register_buffer("alpha", torch.tensor(0.0))

    def start(self, x: Tensor) -> None:
        w = self.groups(x).double()
        found = search(w, 1.2 * w.abs().amax(1), _units)
        self.average(self.alpha, self.ungroup(found.clamp_min(1e-8) if self.learned else found))

    def track(self, x: Tensor) -> None:
        if not self.learned:
            w = self.groups(x)
            scale = self.alpha.reshape(-1).to(w)
            for _ in range(2):
                scale = refined(w, scale, _units)
            self.keep(self.alpha, self.ungroup(scale))

    def scales(self, x: Tensor) -> Tensor:
        return (Positive.apply(self.alpha) if self.learned else self.alpha).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scale = (self.scales(x) if scales is None else scales)[0].detach()
        return straight(x, _units(x.detach(), along(scale, x)))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Levels(bits=2, scale=number(self.scales(self.alpha)[0]), table=(-2, -1, 1, 2))
