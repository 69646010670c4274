"""Min-max: the whole range in equal steps. As defined in "DNN Quantization with Attention", Eq. 9-10."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.fused import FakeClip, FakeRange
from lowbit.quantizers.ranges import RunningRange
from lowbit.quantizers.ste import along, rounded, straight


class MinMax(Quantizer):
    """2^n levels from the smallest to the largest value.

    Forward, weights: lo = min w, hi = max w, S = (hi - lo) / (2^n - 1), q = lo + S * round((w - lo) / S).
    Forward, activations: the range is a running one (decay 0.99) that includes 0, and its offset is nudged to an
        integer zero point, so that zero padding is on the grid (see `lowbit.quantizers.ranges`).
    Gradient: dx = g (nothing is clipped). Grid: Uniform, weights with a real offset.
    Learned state: none; activations keep lo and hi. Initialisation: weights every forward; activations by calibration.
    Cost: a minimum and a maximum a tensor; at inference one more accumulator (the sum of the inputs).
    Fails: one outlier stretches every step; a constant tensor has one level and is returned as it is.
    Source: DQA Eq. 9-10. Its Eq. 13 leaves the offset out of the rounding, which contradicts Eq. 9; Eq. 9 is used.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = MinMax(2)
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-1.0, -0.3667, 0.2667, 0.2667, 0.9, -0.3667]
    """

    card: ClassVar[Card] = Card(name="minmax", family="range", kind="WA", min_bits=1, paper="DQA", equation="9-10")

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.range = RunningRange() if self.role != "weight" else None

    def start(self, x: Tensor) -> None:
        if self.range is not None:
            self.range.observe(x, first=self._batches == 0)

    def _bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """lo and S of each group of a weight."""
        groups = self.groups(x.detach())
        lo, hi = groups.amin(1), groups.amax(1)
        return self.ungroup(lo), self.ungroup((hi - lo) / (2**self.bits - 1))

    def track(self, x: Tensor) -> None:
        if self.range is not None:
            self.range.observe(x)

    @property
    def max_unit(self) -> int:
        return 2**self.bits

    def scales(self, x: Tensor) -> Tensor:
        if self.range is None:
            return self._bounds(x)[1][None]
        return self.range.scale(self.bits)[None].to(x.dtype)

    def offset(self, x: Tensor) -> Tensor | None:
        return None if self.range is not None else self._bounds(x)[0]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        top = 2**self.bits - 1
        scales = self.scales(x) if scales is None else scales
        if self.range is not None:
            zero = self.range.zero(self.bits).to(x.dtype)
            return straight(x, (rounded(x.detach() / scales[0]) + zero).clamp(0, top) - zero)[None]
        lo = along(self._bounds(x)[0], x)
        step = along(scales[0], x)
        steps = torch.where(step > 0, (x.detach() - lo) / torch.where(step > 0, step, 1.0), (x.detach() - lo) * 0.0)
        return straight(x, rounded(steps).clamp(0, top))[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.range is None:
            step = scales[0]
            if self.channel or not 0 < float(step) < math.inf:  # constant, or spoiled: the plain form knows
                return None
            return FakeRange.apply(x, float(x.detach().amin()), float(step), 2**self.bits - 1)
        s, zero, top = scales[0], self.range.zero(self.bits), 2**self.bits - 1
        if zero.isnan():  # a range that met NaN has no integer limits; the plain form makes NaN of everything
            return None
        limits = (-int(zero), top - int(zero))
        return FakeClip.apply(x, float(s), limits, (-math.inf, math.inf), None, False)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.range is not None:
            return self.range.grid(self.bits)
        if x is None:
            raise ValueError("minmax computes its range from the weight: call grid(weight)")
        lo, step = self._bounds(wide(x))
        return Uniform(bits=self.bits, scale=number(step), offset=number(lo))
