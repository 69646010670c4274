"""XNOR-Net++: binary layers with one learned output scale. Bulat and Tzimiropoulos, "XNOR-Net++", 2019."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.grid import Grid, Planes
from lowbit.infer import window
from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.ste import sign, straight

SHAPES = {1: "out", 2: "out x h x w", 3: "out, h x w", 4: "out, h, w"}


class XNORPlus(Quantizer):
    """Signs of weights and activations; the output is scaled by a learned Gamma instead of computed magnitudes.

    Forward: out = (sgn(I) conv sgn(W)) * Gamma. Option `case`, the shape of Gamma: 1 one factor an output channel;
        2 a full map [out, h, w]; 3 channel factors times a map [h, w]; 4 (default) channel factors times row factors
        times column factors.
    Gradient: signs dx = g where |x| <= 1, else 0; Gamma by autograd.
    Grid: Planes of scale 1; Gamma is a constant `gain` map of the program. Learned state: the factors of Gamma.
    Initialisation: ones; `init="mean"`: channel factors mean|w|, the rest ones.
    Cost: one multiplication an output. Fails: cases 2 to 4 fix the output size at the first forward pass
        (`lowbit.calibrate` runs one); other sizes are refused.
    Source: Bulat and Tzimiropoulos 2019, Eq. 4-8.

    Example:
        >>> q = XNORPlus()
        ... q.calibrate(torch.ones(2, 3))
        ... list(q.gain(torch.ones(1, 3), nn.Linear(3, 2)).shape)
        [1, 2]
    """

    card: ClassVar[Card] = Card(
        name="xnor++", family="binary", kind="WA", min_bits=1, max_bits=1, grid="Planes", learned="Gamma",
        paper="Bulat 2019", equation="4-8", per_channel=False,
    )  # fmt: skip
    constant_behind_relu: ClassVar[bool] = True

    def __init__(
        self, bits: int = 1, *, case: int = 4, init: str = "ones", channel: bool = False, **common: Any
    ) -> None:
        if case not in SHAPES or init not in ("ones", "mean"):
            raise ValueError(f"xnor++ takes case 1 to 4 and init 'ones' or 'mean', got case {case!r} and init {init!r}")
        if channel:
            raise ValueError("xnor++ has Gamma instead of weight scales, nothing to have for each channel")
        super().__init__(bits, **common)
        self.case, self.init = case, init
        self.sized = False  # whether Gamma has got the shape of the layer's outputs
        if self.role == "weight":
            for i in range(len(SHAPES[case].split(","))):
                self.register_parameter(f"gamma{i}", nn.Parameter(torch.ones(1)))

    @property
    def factors(self) -> list[nn.Parameter]:
        """The factors of Gamma: channels (or the whole map) first."""
        return list(self.parameters(recurse=False))

    @property
    def gain_kind(self) -> str | None:  # type: ignore[override]
        return "map" if self.role == "weight" else None

    @property
    def max_unit(self) -> int:
        return 1

    def start(self, x: Tensor) -> None:
        if self.role == "weight":
            mean = x.abs().reshape(len(x), -1).mean(1) if self.init == "mean" else torch.ones(len(x))
            self.factors[0].data = mean.reshape(-1, *(1,) * (2 if self.case == 2 else 0)).to(x)

    def scales(self, x: Tensor) -> Tensor:
        return torch.ones(1, dtype=x.dtype, device=x.device)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, sign(x), x.abs() <= 1)[None]

    def gain(self, x: Tensor, layer: nn.Module) -> Tensor | None:
        if self.role != "weight":
            return None
        h, w = self._size(x, layer)
        cases: dict[int, list[tuple[int, ...]]] = {
            1: [(-1,)], 2: [(-1, h, w)], 3: [(-1,), (h, w)], 4: [(-1,), (h,), (w,)]
        }  # fmt: skip
        shapes = cases[self.case]
        for factor, shape in zip(self.factors, shapes, strict=True):
            wanted = (factor.shape[0] if shape[0] == -1 else shape[0], *shape[1:])
            if tuple(factor.shape) != wanted:
                if self.sized:
                    raise InvalidInput(
                        f"{self.where}: xnor++ case {self.case} learned Gamma for outputs of {list(factor.shape)}, "
                        f"this input gives {h} x {w}; use case 1 for varying sizes"
                    )
                factor.data = factor.data.expand(wanted).clone()
        self.sized = True
        gamma = self.factors[0].reshape(1, -1, *self.factors[0].shape[1:])
        if gamma.ndim == 2 and isinstance(layer, nn.Conv2d):
            gamma = gamma[..., None, None]
        if not isinstance(layer, nn.Conv2d):
            return gamma.reshape(1, -1) * self._rest().reshape(-1)[0]
        return gamma * self._rest()

    def _rest(self) -> Tensor:
        """Product of the spatial factors: [h, w], or 1."""
        if self.case == 4:
            return self.factors[1][:, None] * self.factors[2]
        return self.factors[1] if self.case == 3 else torch.ones((), device=self.factors[0].device)

    @staticmethod
    def _size(x: Tensor, layer: nn.Module) -> tuple[int, int]:
        """Output height and width of the layer."""
        if not isinstance(layer, nn.Conv2d):
            return 1, 1
        left, right, top, bottom = layer.pads()  # type: ignore[operator]
        sides = ((x.shape[2] + top + bottom, 0), (x.shape[3] + left + right, 1))
        h, w = (window(n, layer.kernel_size[i], layer.stride[i], 0, layer.dilation[i]) for n, i in sides)
        return h, w

    def grid(self, x: Tensor | None = None) -> Grid:
        return Planes(bits=1, scales=np.ones(1, np.float32))
