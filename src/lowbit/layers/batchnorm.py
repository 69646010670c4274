"""BatchNorm whose eval is two rounded float32 operations, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowbit.layers.base import adopt
from lowbit.quantizers.ste import Replace


class _Exact:
    """Mixin: y = x * A, then + B, in eval; torch's BatchNorm while training.

    A = float32(weight / sqrt(var + eps)), B = float32(bias - mean * weight / sqrt(var + eps)), from float64.
    torch's own eval kernel differs between instruction sets in 23 to 62 % of its values.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    eps: float
    training: bool

    def coefficients(self) -> tuple[Tensor, Tensor]:
        """A and B, float32 [channels]."""
        assert self.running_mean is not None and self.running_var is not None
        deviation = (self.running_var.double() + self.eps).sqrt()
        weight = torch.ones_like(deviation) if self.weight is None else self.weight.double()
        bias = torch.zeros_like(deviation) if self.bias is None else self.bias.double()
        a, b = weight / deviation, bias - self.running_mean.double() * weight / deviation
        dtype = self.running_mean.dtype
        return a.to(dtype), b.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x [batch, channels, ...]."""
        if self.training or self.running_mean is None:
            return super().forward(x)  # type: ignore[misc]
        with torch.no_grad():
            a, b = (t.reshape(-1, *(1,) * (x.ndim - 2)) for t in self.coefficients())
            y = x * a
            y = y + b
        if torch.is_grad_enabled() and (x.requires_grad or (self.weight is not None and self.weight.requires_grad)):
            return Replace.apply(super().forward(x), y)  # type: ignore[misc]
        return y


class QuantBatchNorm2d(_Exact, nn.BatchNorm2d):  # type: ignore[misc]
    """BatchNorm2d that shares Parameters and buffers of the one it replaces."""


class QuantBatchNorm1d(_Exact, nn.BatchNorm1d):  # type: ignore[misc]
    """BatchNorm1d that shares Parameters and buffers of the one it replaces."""


def replace(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> QuantBatchNorm1d | QuantBatchNorm2d:
    """Build the exact counterpart of a BatchNorm."""
    cls = QuantBatchNorm2d if isinstance(norm, nn.BatchNorm2d) else QuantBatchNorm1d
    layer = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
    adopt(layer, norm, ("weight", "bias"), ("running_mean", "running_var", "num_batches_tracked"))
    return layer
