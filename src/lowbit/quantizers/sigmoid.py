"""Quantization Networks: a soft sum of sigmoids that hardens. Yang et al., "Quantization Networks", 2019."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Levels
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.kmeans import centers
from lowbit.quantizers.ste import Positive, Replace, WeightGradient, Within

SETS = {1: (-1, 1), 2: (-1, 0, 1), 3: (-4, -2, -1, 0, 1, 2, 4)}
"""bits: levels of weights where the paper names a set; other widths take all integers of n bits but the lowest."""
SAMPLE = 1 << 14


class Sigmoid(Quantizer):
    """Any set of integer levels Y, approached by a sum of sigmoids of growing temperature T.

    Forward, training: q = a * (sum_i s_i * sigmoid(T (b x - c_i)) + Y_1), s_i = Y_(i+1) - Y_i; eval: steps instead of
        sigmoids, 1 where b x >= c_i.
    Gradient: of the soft form, in eval too. With G_i = a s_i sigmoid(T (b x - c_i)) and
        h = sum_i T / (a s_i) * G_i * (a s_i - G_i): dx = g * b * h, db = sum g * x * h, da = sum g * q / a; biases c_i
        are fixed, or with option `learn_biases` dc_i = -sum g * T / (a s_i) * G_i * (a s_i - G_i). Option `bwd_T`: the
        T of h, by default 1 for two levels and T itself for more.
    Grid: Levels. Option `levels`: Y, ascending integers; by default (-1, 1), (-1, 0, 1), (-4, -2, -1, 0, 1, 2, 4), then
        all integers of n bits for weights, 0 .. 2^n - 1 for activations. Learned state: `scale` a; `slope` b,
        kept above 0, since levels ascend with x.
    Initialisation: b = 5 max|Y| / (4 max|x|), a = 1 / b; c_i between the k-means centers of b x, option
        ``biases="linear"`` (and for binary weights): between the levels. A training schedule raises `temperature`,
        which starts at 1, and calls `harden`, after which training uses the steps too, still with the gradient of the
        soft form.
        Option `clamp`: limits T (b x - c_i) to +-clamp, beyond which the sigmoid has no gradient; off by default.
    Cost: one sigmoid a level and value in training. Fails: started from random weights, or with T raised too fast.
    Source: Yang et al. 2019, Eq. 3-10. Its G in Eq. 6 is the bare sigmoid, which contradicts Eq. 7-10; the k-means runs
        on b x, which is what biases are compared with, not on x.

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = Sigmoid(2, biases="linear")
        ... q.calibrate(x)
        >>> [round(v, 1) for v in q.eval()(x).tolist()]
        [-0.8, 0.0, 0.0, 0.8, 0.8, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="sigmoid", family="soft", kind="WA", min_bits=1, max_bits=8, grid="Levels", learned="scale, slope",
        paper="Yang 2019", equation="3-10", per_channel=False,
    )  # fmt: skip
    mixes: ClassVar[bool] = True
    arithmetic: ClassVar[bool] = False
    must_be_positive: ClassVar[tuple[str, ...]] = ("slope",)
    biases: Tensor
    temperature: Tensor
    ended: Tensor

    def __init__(
        self,
        bits: int,
        *,
        levels: Sequence[int] | None = None,
        biases: str = "kmeans",
        learn_biases: bool = False,
        clamp: float | None = None,
        bwd_T: float | None = None,
        channel: bool = False,
        **common: Any,
    ) -> None:
        if channel:
            raise ValueError("sigmoid has one set of biases for the tensor, not one for each channel")
        super().__init__(bits, **common)
        if biases not in ("kmeans", "linear"):
            raise ValueError(f"sigmoid's biases are {biases!r}, allowed are kmeans, linear")
        if clamp is not None and not (isinstance(clamp, (int, float)) and 0 < clamp < torch.inf):
            raise ValueError(f"sigmoid's clamp is {clamp!r}, allowed is a number above 0, or none")
        self.clamp = clamp
        self.levels = _checked(self._default() if levels is None else levels, bits)
        if bwd_T is not None and not bwd_T > 0:
            raise ValueError(f"sigmoid's bwd_T is {bwd_T!r}, allowed are numbers above 0, or none")
        self.bwd_T = 1.0 if bwd_T is None and len(self.levels) == 2 else bwd_T
        self.rule = biases
        self.scale, self.slope = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
        middles = torch.tensor([(a + b) / 2 for a, b in pairwise(self.levels)])
        if learn_biases:
            self.biases = nn.Parameter(middles)
        else:
            self.register_buffer("biases", middles)
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("ended", torch.tensor(False))

    def _default(self) -> tuple[int, ...]:
        if self.role != "weight":
            return tuple(range(2**self.bits))
        top = 2 ** (self.bits - 1) - 1
        return SETS.get(self.bits, tuple(range(-top, top + 1)))

    @property
    def max_unit(self) -> int:
        return max(map(abs, self.levels))

    def start(self, x: Tensor) -> None:
        top = x.abs().max().double()
        slope = torch.where(top > 0, 5 * self.max_unit / (4 * top.clamp_min(1e-30)), 1.0)
        biases = torch.tensor([(a + b) / 2 for a, b in pairwise(self.levels)], device=x.device).double()
        binary = self.role == "weight" and self.levels == (-1, 1)  # the paper sets the bias of binary weights to 0
        if self.rule == "kmeans" and bool(top > 0) and not binary:
            flat = x.reshape(-1)
            found = centers(flat[:: -(-len(flat) // SAMPLE)].double() * slope, len(self.levels))
            biases = (found[1:] + found[:-1]) / 2
        self.average(self.biases, biases)
        self.average(self.slope, slope)
        self.average(self.scale, torch.where(top > 0, 1 / slope, 0.0))

    def scales(self, x: Tensor) -> Tensor:
        # zeros have the scale 0, except in eval for activations: programs take no such scale
        least = torch.full_like(self.scale, 0.0 if self.role == "weight" or self.training else 1e-8)
        return Within.apply(self.scale, least, torch.full_like(least, torch.inf)).to(x.dtype)[None]

    def _soft(self, x: Tensor, temperature: Tensor | float) -> Tensor:
        """The sum of sigmoids, in levels."""
        v, biases = Positive.apply(self.slope).to(x.dtype) * x, self.biases.to(x.dtype)
        soft = torch.full_like(x, float(self.levels[0]))
        for bias, (low, high) in zip(biases, pairwise(self.levels), strict=True):
            steepness = temperature * (v - bias)
            if self.clamp is not None:
                steepness = steepness.clamp(-self.clamp, self.clamp)
            soft = soft + (high - low) * torch.sigmoid(steepness)
        return soft

    @torch.no_grad()
    def _steps(self, x: Tensor) -> Tensor:
        """The sum of steps, in levels."""
        v, biases = Positive.apply(self.slope).to(x.dtype) * x, self.biases.to(x.dtype)
        hard = torch.full_like(x, float(self.levels[0]))
        for bias, (low, high) in zip(biases, pairwise(self.levels), strict=True):
            hard = hard + torch.where(v >= bias, float(high - low), 0.0)
        return torch.where(x.isnan(), x, hard)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scale = (self.scales(x) if scales is None else scales)[0].detach()
        scale = torch.where(scale == 0, 1.0, scale)  # zeros must still train
        temperature = self.temperature.to(x.dtype)
        # the units' gradient becomes that of the value, dL/dq
        trained = WeightGradient.apply(self._soft(x, temperature if self.bwd_T is None else self.bwd_T), scale)
        if not self.training:
            return Replace.apply(trained, self._steps(x))[None]
        with torch.no_grad():
            shown = trained if self.bwd_T is None else self._soft(x, temperature)
            shown = torch.where(self.ended, self._steps(x), shown)
        return Replace.apply(trained, shown)[None]

    def unfinished(self) -> float:
        """How far the soft form is from a step half a unit beside it, as a share of the step."""
        return 0.0 if bool(self.ended) else float(torch.sigmoid(-self.temperature / 2))

    def harden(self) -> None:
        """Use steps in training too."""
        self.ended.fill_(True)

    def grid(self, x: Tensor | None = None) -> Grid:
        return Levels(bits=self.bits, scale=number(self.scales(self.scale)[0]), table=self.levels)


def _checked(levels: Any, bits: int) -> tuple[int, ...]:
    try:
        table = tuple(levels)
    except TypeError:
        table = ()
    whole = all(isinstance(level, int) and not isinstance(level, bool) for level in table)
    if not whole or not 2 <= len(table) <= 2**bits or any(a >= b for a, b in pairwise(table)):
        raise ValueError(
            f"sigmoid's levels are {levels!r}, allowed are 2 to {2**bits} integers in ascending order without repeats"
        )
    return table
