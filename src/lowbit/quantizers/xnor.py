"""XNOR-Net: binary weights and activations with the magnitudes of both. Rastegari et al., "XNOR-Net", 2016."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import Replace, sign, straight
from lowbit.runtime.magnitude import FIXED, factor


@torch.no_grad()
def magnitude(x: Tensor, layer: nn.Module) -> Tensor:
    """K in fixed point: [.., 1, oh, ow] for a convolution of [.., C, h, w], [.., 1] for a linear layer of [.., C]."""
    fixed = (x.abs().double() * FIXED).round()
    if not isinstance(layer, nn.Conv2d):
        return (fixed.sum(-1, keepdim=True) * factor(x.shape[-1], 1)).to(wide(x).dtype)
    fixed = fixed.sum(-3, keepdim=True)
    kernel = torch.ones(1, 1, *layer.kernel_size, dtype=torch.float64, device=x.device)
    total = _windows(fixed, kernel, layer)
    return (total * factor(x.shape[-3], kernel.numel())).to(wide(x).dtype)


def _windows(planes: Tensor, kernel: Tensor, layer: nn.Conv2d) -> Tensor:
    left, right, top, bottom = layer.pads()  # type: ignore[operator]
    return F.conv2d(F.pad(planes, (left, right, top, bottom)), kernel, None, layer.stride, 0, layer.dilation)


def flowing(x: Tensor, layer: nn.Module) -> Tensor:
    """The same number with the gradient of mean|x|."""
    mean = wide(x).abs().mean(-3 if isinstance(layer, nn.Conv2d) else -1, keepdim=True)
    if isinstance(layer, nn.Conv2d):
        kernel = torch.ones(1, 1, *layer.kernel_size, dtype=mean.dtype, device=x.device)
        mean = _windows(mean, kernel / kernel.numel(), layer)
    return Replace.apply(mean, magnitude(x, layer))


class XNOR(Quantizer):
    """Signs of weights and activations; the output is scaled by a = mean|w| a filter and by K, the input's local size.

    Forward: out = (sgn(I) conv sgn(W)) * K * a, K = mean|I| over channels and window (linear: over features).
    Gradient: weights dx = g; activations dx = g where |x| <= 1, else 0; K and a are constants. Option
        ``magnitude="flows"``: the gradient of mean|I| passes through K as well.
    Grid: Planes, one plane; K is a `gain` of the layer in fixed point: rint(|I| * 2^16) summed as integers, times one
        float64 constant, so that every machine gets the same float32.
    Learned state: none. Initialisation: none; a follows the weights.
    Cost: a second, one-channel convolution a layer. Fails: like sign behind a ReLU. Padding adds the unit 0 (a real
        zero), so border outputs use fewer products, and K counts padded zeros, as a plain convolution of |I| does.
    Source: Rastegari et al. 2016, Eq. 7-11. Its block order is BatchNorm, sign, convolution, pool.

    Example:
        >>> q = XNOR(role="activation")
        ... q.calibrate(torch.zeros(1))
        >>> float(q.gain(torch.tensor([[1.0, -2.0, 3.0]]), nn.Linear(3, 1)))
        2.0
    """

    card: ClassVar[Card] = Card(
        name="xnor", family="binary", kind="WA", min_bits=1, max_bits=1, grid="Planes", paper="Rastegari 2016",
        equation="7-11", channel=True,
    )  # fmt: skip
    constant_behind_relu: ClassVar[bool] = True

    def __init__(self, bits: int = 1, *, magnitude: str = "constant", **common: Any) -> None:
        super().__init__(bits, **common)
        if magnitude not in ("constant", "flows"):
            raise ValueError(f"xnor's magnitude is {magnitude!r}, allowed are 'constant' and 'flows'")
        self.flows = magnitude == "flows"

    @property
    def gain_kind(self) -> str | None:  # type: ignore[override]
        return "magnitude" if self.role == "activation" else None

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        if self.role != "weight":
            return torch.ones(1, dtype=x.dtype, device=x.device)
        mean = self.mean_size(x)
        return self.ungroup(mean.where(mean.isfinite(), torch.nan)).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        return straight(x, sign(x), None if self.role == "weight" else x.abs() <= 1)[None]

    def gain(self, x: Tensor, layer: nn.Module) -> Tensor | None:
        if self.role == "weight":
            return None
        return (flowing if self.flows else magnitude)(x, layer)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.role != "weight":
            return Planes(bits=1, scales=np.ones(1, np.float32))
        if x is None:
            raise ValueError("xnor computes its scale from the weight: call grid(weight)")
        return Planes(bits=1, scales=number(self.scales(wide(x))))
