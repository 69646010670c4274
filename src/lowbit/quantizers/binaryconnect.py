"""BinaryConnect: plain signs of the weights. Courbariaux, Bengio, David, "BinaryConnect", 2015."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.ste import sign, straight


class BinaryConnect(Quantizer):
    """Weights become their signs; the real weights are trained and should be kept within [-1, 1].

    Forward: q = +1 where w >= 0, else -1. Gradient: dx = g.
    Grid: Planes, one plane of scale 1. Learned state: none. Initialisation: none.
    Cost: one compare a value. Fails: without a BatchNorm behind the layer, since signs have no scale; and where weights
        are not clipped to [-1, 1] after each step (`weight_limit`): they grow until no step turns their sign.
    Source: Courbariaux et al. 2015, Eq. 1 and Algorithm 1. sgn(0) = +1.

    Example:
        >>> q = BinaryConnect()
        ... q.calibrate(torch.ones(1))
        >>> q(torch.tensor([-1.0, -0.3, 0.1, 0.0])).tolist()
        [-1.0, -1.0, 1.0, 1.0]
    """

    card: ClassVar[Card] = Card(
        name="binaryconnect", family="binary", kind="W", min_bits=1, max_bits=1, grid="Planes",
        paper="Courbariaux 2015", equation="1", per_channel=False,
    )  # fmt: skip
    weight_limit: ClassVar[float] = 1.0
    """The trained weight belongs in [-weight_limit, weight_limit] after each step of the optimizer."""

    def __init__(self, bits: int = 1, *, channel: bool = False, **common: Any) -> None:
        if channel:
            raise ValueError(f"{self.card.name} has no scale, so nothing to have for each channel; use bwn")
        super().__init__(bits, **common)

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        return torch.ones(1, dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, sign(x))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        return Planes(bits=1, scales=np.ones(1, np.float32))


class StochasticBinaryConnect(BinaryConnect):
    """BinaryConnect that draws each sign in training: +1 with probability clip((w + 1) / 2, 0, 1).

    Forward: training as above, from torch's global generator (saved by checkpoints); eval: sgn(w).
    Gradient: dx = g. Grid: Planes, one plane of scale 1. Learned state: none. Initialisation: none.
    Option `eval_weights`: "sign", or "float" for the real weights in eval, which the paper uses with stochastic
        training; such a network does not convert until it is hardened, which is to take the signs.
    Cost: one random number a value. Fails: eval uses signs that training never saw together.
    Source: Courbariaux et al. 2015, Eq. 2-3.

    Example:
        >>> q = StochasticBinaryConnect()
        ... q.calibrate(torch.ones(1))
        >>> q(torch.tensor([-2.0, 2.0])).tolist(), q.eval()(torch.tensor([-0.1, 0.1])).tolist()
        ([-1.0, 1.0], [-1.0, 1.0])
    """

    card: ClassVar[Card] = Card(
        name="binaryconnect-stochastic", family="binary", kind="W", min_bits=1, max_bits=1, grid="Planes",
        paper="Courbariaux 2015", equation="2-3", per_channel=False,
    )  # fmt: skip

    def __init__(self, bits: int = 1, *, eval_weights: str = "sign", **common: Any) -> None:
        self._on = True
        super().__init__(bits, **common)
        if eval_weights not in ("sign", "float"):
            raise ValueError(
                f"binaryconnect-stochastic's eval_weights are {eval_weights!r}, allowed are 'sign' and 'float'"
            )
        self.eval_weights = eval_weights

    @property
    def enabled(self) -> bool:
        """Whether weights become signs: in eval not with ``eval_weights="float"``."""
        return self._on and (self.training or self.eval_weights == "sign")

    @enabled.setter
    def enabled(self, on: bool) -> None:
        self._on = on

    def unfinished(self) -> float:
        """1 while eval uses the real weights."""
        return float(self.eval_weights == "float")

    def harden(self) -> None:
        """Use the signs in eval."""
        self.eval_weights = "sign"

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        if not self.training:
            return super().units(x, scales)
        chance = ((x.detach() + 1) / 2).clamp(0, 1)
        up = torch.rand_like(chance) < chance  # u is in [0, 1): a chance of 1 is certain, one of 0 impossible
        return straight(x, torch.where(chance.isnan(), chance, torch.where(up, 1.0, -1.0)).to(x.dtype))[None]
