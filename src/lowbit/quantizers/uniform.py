"""Uniform quantization with a step that is chosen once. Boo et al., "Quantized Neural Networks", 2021, Eq. 1."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.fused import FakeClip
from lowbit.quantizers.gradient import largest
from lowbit.quantizers.search import divided, search
from lowbit.quantizers.ste import ROUNDINGS, along, checked_rounding, straight

LEVELS = ("midtread", "midrise", "twos_complement")


class FixedStep(Quantizer):
    """Equal steps of a fixed size D, with zero as a level (mid-tread) or between two (mid-rise); gradients by sample.

    Forward: mid-tread q = D * clip(round(x / D), -m, m), m = 2^(n-1) - 1; unsigned activations
        D * clip(round(x / D), 0, 2^n - 1). Option `levels`: "midrise" q = D * (clip(round(x / D - 1/2), -2^(n-1),
        2^(n-1) - 1) + 1/2); "twos_complement" as mid-tread with one more level below, -(m + 1) D.
        Gradients: mid-tread with D = max|g| / m of each sample, rounded stochastically (in eval half to even).
    Gradient: weights dx = g; activations dx = g between the outermost levels, both included, else 0.
    Grid: Uniform; mid-rise over odd units with scale D / 2. Learned state: none; D is a buffer and stays.
    Initialisation: option `step`: "l2" the D of least squared error (200 starts, then alternation), "max" the D that
        just covers max|x|, or a number. Activations: averaged over the calibration batches.
    Cost: as lsq; calibration by "l2" reads its tensor 200 times.
    Fails: "max" with outliers; mid-tread with one signed bit has no level but 0 (refused; mid-rise has two).
    Source: Boo et al. 2021, Eq. 1, which rounds by floor(x + 0.5): that is option ``rounding="half_up"``; here half to
        even, as everywhere, or "half_away" or "stochastic" (floor(x + u), u in [0, 1); in eval half to even). Its
        "2-bit" weights are ternary except on ImageNet, where they have four levels: that is mid-rise.

    Example:
        >>> q = FixedStep(2, step=0.8)
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q.calibrate(w)
        >>> [round(v, 1) for v in q(w).tolist()]
        [-0.8, 0.0, 0.0, 0.8, 0.8, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="uniform", family="fixed step", kind="WAG", min_bits=1, min_signed_bits=2, paper="Boo 2021", equation="1"
    )
    step: Tensor

    def __init__(
        self,
        bits: int,
        *,
        levels: str = "midtread",
        step: str | float = "l2",
        rounding: str | None = None,
        **common: Any,
    ) -> None:
        super().__init__(bits, **common)
        gradient = self.role == "gradient"
        if levels not in LEVELS:
            raise ValueError(f"uniform's levels are {levels!r}, allowed are {', '.join(LEVELS)}")
        if step not in ("l2", "max") and not (
            isinstance(step, (int, float)) and step is not True and 0 < step < torch.inf
        ):
            raise ValueError(f"uniform's step is {step!r}, allowed are 'l2', 'max' or a positive number")
        if gradient and (levels != "midtread" or step not in ("l2", "max")):
            raise ValueError("uniform takes neither levels nor step for gradients: mid-tread levels up to max|g|")
        usual = "stochastic" if gradient else "half_even"
        self.rounding = checked_rounding("uniform", usual if rounding is None else rounding)
        self.odd, self.lopsided, self.rule = levels == "midrise", levels == "twos_complement", step
        if not gradient:
            self.register_buffer("step", torch.tensor(0.0))
        self._check()

    @property
    def arithmetic(self) -> bool:  # type: ignore[override]
        """Runtimes round half to even; other roundings are encoded by thresholds."""
        return self.rounding in ("half_even", "stochastic")

    def _check(self) -> None:
        if self.signed and self.bits == 1 and not self.odd:
            raise ValueError(
                "uniform takes 2 or more bits where values are signed, got 1; use levels='midrise', bwn or sign"
            )
        if self.odd and self.signed is False:
            raise ValueError("uniform's levels 'midrise' are symmetric about 0; unsigned activations take 'midtread'")

    def limits(self) -> tuple[int, int]:
        """Smallest and largest unit."""
        if self.odd:
            return 1 - 2**self.bits, 2**self.bits - 1
        high = 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1
        return (-high - self.lopsided if self.signed else 0), high

    def _units(self, x: Tensor, scale: Tensor, draws: bool = False) -> Tensor:
        """Units of x; scale is the distance of units, half a step on odd grids."""
        nearest = ROUNDINGS["half_even" if self.rounding == "stochastic" and not draws else self.rounding]
        if self.odd:
            return (2 * nearest(divided(x, 2 * scale) - 0.5) + 1).clamp(*self.limits())
        return nearest(divided(x, scale)).clamp(*self.limits())

    def start(self, x: Tensor) -> None:
        if self.role == "gradient":
            return
        self._check()
        w = self.groups(x if self.signed else x.relu()).double()
        top = w.abs().amax(1) / self.limits()[1]
        if self.rule == "l2":
            scale = search(w, 1.5 * top, self._units)
        else:
            scale = top if self.rule == "max" else torch.full_like(top, float(self.rule) / (2 if self.odd else 1))
        if self.role != "weight":
            scale = scale.clamp_min(1e-8)  # x is divided by it at run time
        self.average(self.step, self.ungroup(scale * (2 if self.odd else 1)))

    @property
    def max_unit(self) -> int:
        return 2**self.bits

    def scales(self, x: Tensor) -> Tensor:
        if self.role == "gradient":
            return (largest(self.groups(x.detach())) / self.limits()[1])[None]
        return (self.step / 2 if self.odd else self.step).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scale = (self.scales(x) if scales is None else scales)[0]
        low, high = self.limits()
        inside = None if self.role in ("weight", "gradient") else (x >= scale * low) & (x <= scale * high)
        return straight(x, self._units(x.detach(), along(scale, x), self.training), inside)[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.role in ("weight", "gradient") or self.odd or self.rounding != "half_even":
            return None
        scale, (low, high) = scales[0], self.limits()
        return FakeClip.apply(x, float(scale), (low, high), (float(scale * low), float(scale * high)), None, False)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.role == "gradient" and x is None:
            raise ValueError("uniform computes its scale from the gradient: call grid(gradient)")
        scale = number(self.scales(self.step if x is None else wide(x))[0])
        if self.odd or not self.signed:
            return Uniform(bits=self.bits, odd=self.odd, scale=scale)
        low, high = self.limits()
        return Uniform(bits=self.bits, signed=True, low=low, high=high, scale=scale)
