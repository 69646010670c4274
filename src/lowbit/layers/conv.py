"""Quantized 2-d convolution, depthwise and grouped ones included."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lowbit.layers.base import WeightLayer, adopt
from lowbit.quantizers.base import Quantizer


class QuantConv2d(WeightLayer, nn.Conv2d):
    """A Conv2d that shares the Parameters of the one it replaces; state_dict keys stay.

    Input float [batch, in, h, w], output float [batch, out, oh, ow]. Every padding mode of torch; the *codes* are
    padded: zeros are the unit 0 (on grids without a zero level too), other modes repeat codes.
    """

    @classmethod
    def replace(
        cls,
        conv: nn.Conv2d,
        weight: Quantizer | None,
        activation: Quantizer | None,
        output: Quantizer | None = None,
        gradient: Quantizer | None = None,
    ) -> QuantConv2d:
        """Build from a float convolution; None leaves that operand float."""
        keys = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
        geometry: dict[str, Any] = {key: getattr(conv, key) for key in keys}
        layer = cls(conv.in_channels, conv.out_channels, bias=conv.bias is not None, device="meta", **geometry)
        adopt(layer, conv, ("weight", "bias"))
        layer.attach(weight, activation, output, gradient)
        return layer

    def pads(self) -> tuple[int, int, int, int]:
        """Padding left, right, top, bottom in pixels, also for "same" and "valid"."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in totals)
            return left, right, top, bottom
        top, left = int(self.padding[0]), int(self.padding[1])
        return left, left, top, top

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Plain convolution with this layer's geometry."""
        left, right, top, bottom = self.pads()
        padding: tuple[int, int] = (top, left)
        if self.padding_mode != "zeros" or left != right or top != bottom:
            x = F.pad(x, (left, right, top, bottom), "constant" if self.padding_mode == "zeros" else self.padding_mode)
            padding = (0, 0)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)
