"""TBN: ternary activations for binary weights. Wan et al., "TBN: Convolutional Neural Network with Ternary Inputs and
Binary Weights", 2018."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, all_reduce_mean, number
from lowbit.quantizers.ste import straight
from lowbit.quantizers.xnor import magnitude

DECAY = 0.99


class TBN(Quantizer):
    """Ternary activations {-1, 0, 1}; the weights of the paper are `bwn`.

    Forward: D = t * m, m = running mean of |x|; q = 1 where x > D, -1 where x < -D, else 0.
    Gradient: dx = g where |x| <= 1, else 0 (hard tanh).
    Grid: Uniform, codes -1..1, from thresholds. Learned state: none; m is a buffer (decay 0.99, frozen in eval).
    Initialisation: m by calibration. Option `threshold`: t, default 0.4; option `magnitude`: whether the layer's
        output is multiplied by XNOR-Net's K, the mean |input| of each window.
    Cost: a mean and two compares a value. Fails: where activations are not centred, as behind a ReLU, a level is lost.
    Source: Wan et al. 2018, Eq. 4-8. The paper takes the mean of the tensor at hand, at inference too; a program has
        fixed thresholds, so the mean runs.

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = TBN(role="activation")
        ... q.calibrate(x)
        >>> q(x).tolist()
        [-1.0, -1.0, 0.0, 1.0, 1.0, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="tbn", family="ternary", kind="A", min_bits=2, max_bits=2, paper="Wan 2018", equation="4-8"
    )
    arithmetic: ClassVar[bool] = False
    mean: Tensor

    def __init__(
        self,
        bits: int = 2,
        *,
        threshold: float = 0.4,
        magnitude: bool = False,
        role: str = "activation",
        **common: Any,
    ) -> None:
        super().__init__(bits, role=role, **common)
        if not isinstance(magnitude, bool):
            raise ValueError(f"tbn's magnitude is {magnitude!r}, allowed are true and false")
        self.magnitude = magnitude
        if not isinstance(threshold, (int, float)) or not 0 <= threshold < 10:
            raise ValueError(f"tbn's threshold is {threshold!r}, allowed is a number from 0 to below 10")
        self.threshold = float(threshold)
        self.register_buffer("mean", torch.tensor(0.0))

    @property
    def max_unit(self) -> int:
        return 1

    @property
    def gain_kind(self) -> str | None:  # type: ignore[override]
        return "magnitude" if self.magnitude else None

    def gain(self, x: Tensor, layer: nn.Module) -> Tensor | None:
        return magnitude(x, layer) if self.magnitude else None

    def start(self, x: Tensor) -> None:
        self.average(self.mean, x.double().abs().mean())

    def track(self, x: Tensor) -> None:
        seen = all_reduce_mean(x.abs().mean()).to(self.mean)
        self.mean.lerp_(torch.where(seen.isfinite(), seen, self.mean), 1 - DECAY)  # one spoiled batch must not stay

    def scales(self, x: Tensor) -> Tensor:
        return torch.ones(1, dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        limit, v = (self.threshold * self.mean).to(x.dtype), x.detach()
        small = torch.where(v.isnan(), v, 0.0)
        units = torch.where(v > limit, 1.0, torch.where(v < -limit, -1.0, small)).to(x.dtype)
        # a running mean that met NaN has no threshold to compare with
        return straight(x, torch.where(limit.isnan(), limit, units), x.abs() <= 1)[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Uniform(bits=2, signed=True, low=-1, high=1, scale=number(torch.ones(())))
