"""Affine 8-bit-style quantization with a zero point. Jacob et al. 2018; Krishnamoorthi 2018."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.fused import FakeClip, FakeUniform
from lowbit.quantizers.ranges import RunningRange
from lowbit.quantizers.ste import ROUNDINGS, along, checked_rounding, straight


class Affine(Quantizer):
    """Symmetric weights, activations with an integer zero point over a running range: what 8-bit tools do.

    Forward, weights: S = max|w| / m, m = 2^(n-1) - 1, q = S * clip(round(w / S), -m, m).
    Forward, activations: S and Z of the running range, q = S * (clip(round(x / S) + Z, 0, 2^n - 1) - Z); 0 is exact.
    Gradient: dx = g where S * (0 - Z) <= x <= S * (2^n - 1 - Z), else 0; weights are never clipped.
    Grid: Uniform. Learned state: none; activations keep lo and hi (decay 0.99, frozen in eval).
    Initialisation: weights every forward; activations by calibration. Option `delay`: that many training forwards pass
        values unchanged while the ranges settle (quant delay); eval is on the grid throughout.
    Cost: a minimum and a maximum a tensor. Fails: below 4 bits, since outliers set the step.
    Source: Jacob et al. 2018, Eq. 12; Krishnamoorthi 2018, section 2. Liu's survey leaves out the clip and the way
        back to reals; both are here. Rounding is half to even; Jacob's, ties away from zero, is option
        ``rounding="half_away"``.

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = Affine(8, role="activation")
        ... q.calibrate(x)
        >>> q.encode(x).tolist()
        [0, 94, 147, 201, 255, 107]
    """

    card: ClassVar[Card] = Card(
        name="affine", family="range", kind="WA", min_bits=1, min_signed_bits=2, paper="Jacob 2018", equation="12"
    )

    waited: Tensor

    def __init__(self, bits: int, *, delay: int = 0, rounding: str = "half_even", **common: Any) -> None:
        super().__init__(bits, **common)
        if bits == 1 and self.role == "weight":
            raise ValueError("affine takes 2 or more bits for weights, got 1; for one bit use bwn, sign or sawb")
        if isinstance(delay, bool) or not isinstance(delay, int) or delay < 0:
            raise ValueError(f"affine's delay is {delay!r}, allowed is a number of steps from 0")
        self.delay, self.rounding = delay, checked_rounding("affine", rounding)
        if delay:
            self.register_buffer("waited", torch.tensor(0))
        self.range = RunningRange() if self.role != "weight" else None

    @property
    def arithmetic(self) -> bool:  # type: ignore[override]
        """Runtimes round half to even; other roundings are encoded by thresholds."""
        return self.rounding in ("half_even", "stochastic")

    def _round(self, v: Tensor) -> Tensor:
        return ROUNDINGS["half_even" if self.rounding == "stochastic" and not self.training else self.rounding](v)

    def _value(self, x: Tensor) -> Tensor:
        y = super()._value(x)
        return torch.where(self.waited <= self.delay, x, y) if self.delay and self.training else y

    def unfinished(self) -> float:
        """1 until the delay is over."""
        return float(self.waited < self.delay) if self.delay else 0.0

    def harden(self) -> None:
        """End the delay."""
        if self.delay:
            self.waited.fill_(self.delay)

    def start(self, x: Tensor) -> None:
        if self.range is not None:
            self.range.observe(x, first=self._batches == 0)

    def track(self, x: Tensor) -> None:
        if self.delay:
            self.waited += 1
        if self.range is not None:
            self.range.observe(x)

    def scales(self, x: Tensor) -> Tensor:
        if self.range is None:
            groups = self.groups(x.detach())
            top = self.ungroup(torch.maximum(-groups.amin(1), groups.amax(1)))
            return (top / (2 ** (self.bits - 1) - 1))[None]
        return self.range.scale(self.bits)[None].to(x.dtype)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        if self.range is None:
            top = 2 ** (self.bits - 1) - 1
            step = along(scales[0], x)
            steps = x.detach() / torch.where(step > 0, step, 1.0)
            return straight(x, self._round(steps).clamp(-top, top))[None]
        zero, top = self.range.zero(self.bits).to(x.dtype), 2**self.bits - 1
        inside = (x >= scales[0] * -zero) & (x <= scales[0] * (top - zero))
        return straight(x, (self._round(x.detach() / scales[0]) + zero).clamp(0, top) - zero, inside)[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.rounding != "half_even":
            return None
        if self.range is None:
            top = 2 ** (self.bits - 1) - 1
            if self.channel or not 0 < float(scales[0]) < math.inf:  # all zero, or spoiled: the plain form knows
                return None
            return FakeUniform.apply(x, float(scales[0]), -top, top)
        s, zero, top = scales[0], self.range.zero(self.bits), 2**self.bits - 1
        if zero.isnan():  # a range that met NaN has no integer limits; the plain form makes NaN of everything
            return None
        limits = (-int(zero), top - int(zero))
        return FakeClip.apply(x, float(s), limits, (float(s * -zero), float(s * (top - zero))), None, False)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.range is not None:
            return self.range.grid(self.bits)
        if x is None:
            raise ValueError("affine computes its scale from the weight: call grid(weight)")
        top = 2 ** (self.bits - 1) - 1
        return Uniform(bits=self.bits, signed=True, low=-top, high=top, scale=number(self.scales(wide(x))[0]))
