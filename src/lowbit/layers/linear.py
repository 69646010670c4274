"""Quantized linear layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lowbit.layers.base import WeightLayer, adopt
from lowbit.quantizers.base import Quantizer


class QuantLinear(WeightLayer, nn.Linear):  # type: ignore[misc]  # torch annotates bias differently
    """A Linear that shares the Parameters of the one it replaces. Input float [..., in], output [..., out]."""

    @classmethod
    def replace(
        cls,
        linear: nn.Linear,
        weight: Quantizer | None,
        activation: Quantizer | None,
        output: Quantizer | None = None,
        gradient: Quantizer | None = None,
    ) -> QuantLinear:
        """Build from a float layer; None leaves that operand float."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        adopt(layer, linear, ("weight", "bias"))
        layer.attach(weight, activation, output, gradient)
        return layer

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Plain matrix product."""
        return F.linear(x, weight, bias)
