"""BitPruning: a trained number of bits. Nikolić et al., "BitPruning: Learning Bitlengths", 2020."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ranges import RunningRange
from lowbit.quantizers.ste import Within, along, rounded, straight


class BitPruning(Quantizer):
    """Min-max quantization with a trained real number of bits, between the grids of the two integers around it.

    Forward, training: q = (1 - f) Q_b + f Q_(b+1), width n = b + f, Q the min-max quantizer; eval: Q of ceil(n) bits.
    Gradient: dx = g; dn = sum g * (Q_(b+1) - Q_b).
    Grid: Uniform of ceil(n) bits, as minmax. Learned state: `width` n, kept in [1, 16]; a penalty on it shrinks it.
        Activations keep lo and hi. Initialisation: n = the bits asked for.
    Cost: two roundings a value in training. Fails: without a penalty n grows; eval differs from training until n is an
        integer (`unfinished`).
    Source: Nikolić et al. 2020, Eq. 2-5.

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = BitPruning(2)
        ... q.calibrate(x)
        >>> [round(v, 4) for v in q(x).tolist()]
        [-1.0, -0.3667, 0.2667, 0.2667, 0.9, -0.3667]
    """

    card: ClassVar[Card] = Card(
        name="bitpruning", family="learned bits", kind="WA", min_bits=1, learned="width", paper="Nikolić 2020",
        equation="2-5",
    )  # fmt: skip
    mixes: ClassVar[bool] = True

    def __init__(self, bits: int, **common: Any) -> None:
        super().__init__(bits, **common)
        self.width = nn.Parameter(torch.tensor(float(bits)))
        self.range = RunningRange() if self.role != "weight" else None

    def start(self, x: Tensor) -> None:
        if self.range is not None:
            self.range.observe(x, first=self._batches == 0)

    def track(self, x: Tensor) -> None:
        if self.range is not None:
            self.range.observe(x)

    @property
    def max_unit(self) -> int:
        return 2**17

    def unfinished(self) -> float:
        """Share of the training value that does not come from the grid of eval: 0 where n is an integer."""
        n = float(self.width.detach().clamp(1, 16))
        return math.ceil(n) - n

    @torch.no_grad()
    def harden(self) -> None:
        """Round the width up."""
        self.width.clamp_(1, 16).ceil_()

    @torch.no_grad()
    def set_bits(self, bits: int) -> None:
        """Give it a whole width."""
        self.width.fill_(bits)

    def smooth_bits(self) -> Tensor:
        """n within its bounds, differentiable."""
        return self.width.clamp(1, 16)

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """lo and hi of each group: [] or [channels]."""
        if self.range is not None:
            return self.range.lo.to(x.dtype), self.range.hi.to(x.dtype)
        groups = self.groups(x.detach())
        return self.ungroup(groups.amin(1)), self.ungroup(groups.amax(1))

    def _tops(self) -> tuple[Tensor, ...]:
        """2^b - 1 of the grids in use: one in eval, two in training."""
        n = wide(self.width.detach()).clamp(1, 16)
        widths = (n.floor(), n.floor() + 1) if self.training else (n.ceil(),)
        return tuple(torch.ldexp(torch.ones_like(b), b.int()) - 1 for b in widths)

    def _steps(self, x: Tensor) -> list[Tensor]:
        lo, hi = self._ends(x)
        steps = [(hi - lo) / top.to(x.dtype) for top in self._tops()]
        return steps if self.range is None else [step.clamp_min(1e-8) for step in steps]

    def scales(self, x: Tensor) -> Tensor:
        steps = self._steps(x)
        if not self.training:
            return torch.stack(steps)
        n = Within.apply(self.width, torch.ones_like(self.width), torch.full_like(self.width, 16))
        f = (n - n.detach().floor()).to(x.dtype)
        return torch.stack([(1 - f) * steps[0], f * steps[1]])

    def offset(self, x: Tensor) -> Tensor | None:
        return None if self.range is not None else self._ends(x)[0]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        v, (lo, _) = x.detach(), self._ends(x)
        found = []
        for step, top in zip(self._steps(x), self._tops(), strict=True):
            high = top.to(x.dtype)
            if self.range is not None:
                zero = torch.minimum(rounded(-lo / step), high)
                found.append(torch.minimum((rounded(v / step) + zero).clamp_min(0), high) - zero)
            else:
                wide_step = along(step, x)
                shifted = v - along(lo, x)
                steps = torch.where(wide_step > 0, shifted / torch.where(wide_step > 0, wide_step, 1.0), shifted * 0.0)
                found.append(torch.minimum(rounded(steps).clamp_min(0), high))
        # the gradient of the value enters once, through the first term
        return torch.stack([straight(x, found[0]), *found[1:]])

    def grid(self, x: Tensor | None = None) -> Grid:
        bits = math.ceil(float(self.width.detach().clamp(1, 16)))
        if self.range is not None:
            return self.range.grid(bits)
        if x is None:
            raise ValueError("bitpruning computes its range from the weight: call grid(weight)")
        lo, hi = self._ends(wide(x))
        return Uniform(bits=bits, scale=number((hi - lo) / (2**bits - 1)), offset=number(lo))
