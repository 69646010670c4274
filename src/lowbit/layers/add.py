"""Residual addition and concatenation whose inputs share one grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.ste import Replace


class Add(nn.Module):
    """a + b. With a quantizer both inputs are on its grid and eval adds integer units, then scales once.

    Without one the sum stays a float32 stream.
    """

    def __init__(self, input_quantizer: Quantizer | None = None) -> None:
        super().__init__()
        self.input_quantizer = input_quantizer

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum of two tensors of one shape."""
        q = self.input_quantizer
        if q is None:
            return a + b
        if self.training or not q.enabled:
            return q(a) + q(b)
        with torch.no_grad():
            q.require()
            scales = q.scales(a)
            y = (q.units(a, scales)[0] + q.units(b, scales)[0]) * scales[0]
        return Replace.apply(q(a) + q(b), y) if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad) else y


class Concat(nn.Module):
    """Concatenation along the channels; with a quantizer all inputs are on its grid."""

    def __init__(self, input_quantizer: Quantizer | None = None) -> None:
        super().__init__()
        self.input_quantizer = input_quantizer

    def forward(self, *tensors: Tensor) -> Tensor:
        """Join tensors along axis 1."""
        q = self.input_quantizer
        return torch.cat(tensors if q is None else [q(t) for t in tensors], 1)
