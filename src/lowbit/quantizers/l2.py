"""Weights with the step of least squared error. Hwang and Sung 2014; Shin, Hwang and Sung 2016."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.search import divided, exact_ternary, refined, search
from lowbit.quantizers.ste import along, rounded, straight


class L2(Quantizer):
    """Symmetric uniform weights whose step minimises the squared error once and then stays.

    Forward: q = D * clip(round(w / D), -m, m), m = 2^(n-1) - 1. Gradient: dx = g.
    Grid: Uniform without the lowest code. Learned state: none; D is a buffer.
    Initialisation: two bits: the exact ternary optimum by sorting; else the best of 200 steps in (0, 1.5 max|w| / m],
        then z = clip(round(w / D), -m, m) and D = sum(w z) / sum(z^2) in turn until they repeat.
    Cost: calibration reads the weights 200 times, a step once. Fails: D stays behind weights that move far; see
        adaptive-l2.
    Source: Hwang and Sung 2014, section III. Athar's survey starts every layer from one step; here each layer (or
        filter) has its own start, as in Boo et al., and many of them, since the alternation has local minima.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = L2(3)
        ... q.calibrate(w)
        >>> round(float(q.step), 4)
        0.3
    """

    card: ClassVar[Card] = Card(
        name="l2", family="fixed step", kind="W", min_bits=2, paper="Hwang 2014", equation="7-9"
    )
    step: Tensor

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.top = 2 ** (bits - 1) - 1
        self.register_buffer("step", torch.tensor(0.0))

    def _units(self, w: Tensor, step: Tensor) -> Tensor:
        return rounded(divided(w, step)).clamp(-self.top, self.top)

    def start(self, x: Tensor) -> None:
        w = self.groups(x).double()
        size = w.abs()
        if self.top == 1:
            kept = size > exact_ternary(size)
            step = (size * kept).sum(1) / kept.sum(1).clamp_min(1)
        else:
            step = search(w, 1.5 * size.amax(1) / self.top, self._units)
        self.average(self.step, self.ungroup(step))

    def nearer(self, x: Tensor, rounds: int = 3) -> Tensor:
        """D after some alternations from the current one on x: [] or [channels]."""
        w = self.groups(x.detach())
        step = self.step.reshape(-1).to(w)
        for _ in range(rounds):
            step = refined(w, step, self._units)
        return self.ungroup(step).to(self.step)

    def scales(self, x: Tensor) -> Tensor:
        return self.step.to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, self._units(x.detach(), along(self.step.to(x.dtype), x)))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Uniform(bits=self.bits, signed=True, low=-self.top, high=self.top, scale=number(self.step))


class AdaptiveL2(L2):
    """As l2, but the step follows the weights while they are trained.

    Forward, Gradient, Grid: as l2. Learned state: none; D and a count of training steps are buffers.
    Initialisation: as l2. Every `interval` training steps (default 100), up to three alternations from the current D.
    Cost: three passes over the weights a step. Fails: as l2 for weights that jump within an interval.
    Source: Shin, Hwang and Sung 2016, section 3. The paper re-estimates once an epoch; a quantizer sees steps, so
        `interval` counts steps.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = AdaptiveL2(3, interval=1)
        ... q.calibrate(w)
        >>> round(float((q(-1.1 * w), q.step)[1]), 4)
        0.33
    """

    card: ClassVar[Card] = Card(
        name="adaptive-l2", family="fixed step", kind="W", min_bits=2, paper="Shin 2016", equation="section 3"
    )
    count: Tensor

    def __init__(self, bits: int, *, interval: int = 100, **common: Any) -> None:
        super().__init__(bits, **common)
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f"adaptive-l2's interval is {interval!r}, allowed is a number of steps from 1")
        self.interval = interval
        self.register_buffer("count", torch.tensor(0))

    def track(self, x: Tensor) -> None:
        self.count += 1
        # chosen without a branch, which a compiled training step could not follow
        self.keep(self.step, torch.where(self.count % self.interval == 0, self.nearer(x), self.step))
