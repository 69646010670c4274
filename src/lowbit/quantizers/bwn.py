"""BWN: binary weights with the best scale. Rastegari et al., "XNOR-Net", 2016, section 3.1."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Planes
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.ste import sign, straight

SCALE_GRADIENTS = ("identity", "exact", "xnor_paper")


class _Exact(Function):
    """sgn(w) with the gradient that also runs through b = mean|w|."""

    @staticmethod
    def forward(ctx: Any, groups: Tensor, b: Tensor, paper: bool) -> Tensor:  # groups [G, N], b [G, 1]
        units = sign(groups)
        ctx.save_for_backward(groups, b, units)
        ctx.paper = paper
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        groups, b, units = ctx.saved_tensors
        inside = b * grad * (groups.abs() <= 1)
        if ctx.paper:
            return grad / groups.shape[1] + inside, None, None
        return units * (grad * units).mean(1, keepdim=True) + inside, None, None


class BWN(Quantizer):
    """Binary weights: sign times mean absolute value.

    Forward: q = b * sgn(w), b = mean|w| of the filter (``@tensor``: of the layer); sgn(0) = +1.
    Gradient, `scale_grad`: "identity" dx = g;
        "exact" dx_i = sgn(w_i) * mean_j(g_j sgn(w_j)) + b * g_i * [|w_i| <= 1];
        "xnor_paper" dx_i = g_i * (1/N + b * [|w_i| <= 1]).
    Grid: Planes, one plane. Learned state: none. Initialisation: b follows the weights (float64 mean, then float32).
    Cost: one mean and one compare a value. Fails: a filter of zeros gives zeros (b = 0); small nets lose most here.
    Source: XNOR-Net Eq. 1-6; b is the least-squares optimum. The paper's own backward ("xnor_paper") drops the cross
        terms of db/dw; "exact" keeps them.

    Example:
        >>> BWN(1).channel, BWN(1, channel=True).channel
        (False, True)
    """

    card: ClassVar[Card] = Card(
        name="bwn", family="binary", kind="W", min_bits=1, max_bits=1, grid="Planes", paper="Rastegari 2016",
        equation="1-6", channel=True,
    )  # fmt: skip

    def __init__(self, bits: int = 1, *, scale_grad: str = "identity", **common: Any) -> None:
        super().__init__(bits, **common)
        if scale_grad not in SCALE_GRADIENTS:
            raise ValueError(f"bwn's scale_grad is {scale_grad!r}, allowed are {', '.join(SCALE_GRADIENTS)}")
        self.scale_grad = scale_grad

    @property
    def max_unit(self) -> int:
        return 1

    def scales(self, x: Tensor) -> Tensor:
        mean = self.mean_size(x)
        # signs of infinity are finite: a scale of infinity must not make levels of them
        return self.ungroup(mean.where(mean.isfinite(), torch.nan)).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        if self.scale_grad == "identity":
            return straight(x, sign(x))[None]
        scales = self.scales(x) if scales is None else scales
        paper = self.scale_grad == "xnor_paper"
        return _Exact.apply(self.groups(x), scales[0].reshape(-1, 1), paper).reshape(1, *x.shape)

    def grid(self, x: Tensor | None = None) -> Grid:
        if x is None:
            raise ValueError("bwn computes its scale from the weight: call grid(weight)")
        return Planes(bits=1, scales=number(self.scales(wide(x))))
