"""BNN: plain signs for weights and activations. Courbariaux et al., "Binarized Neural Networks", 2016."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.fused import FakeSign
from lowbit.quantizers.ste import sign, straight


class Sign(Quantizer):
    """Signs without a scale; a BatchNorm before each activation gives it a range.

    Forward: q = +1 where x >= 0, else -1. Gradient: dx = g where |x| <= 1, else 0 (hard tanh).
    Grid: Planes, one plane of scale 1. Learned state: none. Initialisation: none.
    Cost: one compare a value. Fails: behind a ReLU it is constant, so `prepare` removes a ReLU whose only readers
        are signs and warns where it cannot.
    Source: Courbariaux et al. 2016, Eq. 1 and 4. sgn(0) = +1.

    Example:
        >>> q = Sign(role="activation")
        ... q.calibrate(torch.zeros(1))
        >>> q(torch.tensor([-2.0, -0.5, 0.0, 0.5])).tolist()
        [-1.0, -1.0, 1.0, 1.0]
    """

    card: ClassVar[Card] = Card(
        name="sign", family="binary", kind="WA", min_bits=1, max_bits=1, grid="Planes", paper="Courbariaux 2016",
        equation="1, 4", per_channel=False,
    )  # fmt: skip
    constant_behind_relu: ClassVar[bool] = True

    def __init__(self, bits: int = 1, *, role: str = "weight", channel: bool = False, **common: Any) -> None:
        if channel:
            raise ValueError("sign has no scale, so nothing to have for each channel; use bwn for scaled signs")
        super().__init__(bits, role=role, **common)

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        return torch.ones(1, dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, sign(x), x.abs() <= 1)[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        return FakeSign.apply(x)

    def grid(self, x: Tensor | None = None) -> Grid:
        return Planes(bits=1, scales=np.ones(1, np.float32))
