"""What all layers with weights share: values while training, integer codes in eval.

In `train()` a layer multiplies values, scale * units, as any quantization-aware training does. In `eval()` it
multiplies integer units and then scales, by the arithmetic that the program, the reference and every kernel share:

    y = float32(acc0) * c0, then + float32(acc1) * c1, ..., then + bias;  c = float32(scale_x * scale_w[channel])

so that the evaluated model is the shipped model, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lowbit.quantizers.base import Quantizer, wide
from lowbit.quantizers.gradient import QuantizeGradient
from lowbit.quantizers.ste import Replace

EXACT_FLOAT32 = 2**24
"""Integer sums up to here are exact in float32, whatever the order of additions."""


class WeightLayer(nn.Module):
    """Mixin of QuantConv2d and QuantLinear; the other base class brings `weight` and `bias`.

    Attributes:
        weight_quantizer, input_quantizer, output_quantizer, gradient_quantizer: quantizers, or None for floats. The
            input quantizer may be shared with other readers of the same tensor. The output quantizer acts on W x + b,
            the gradient quantizer on the gradient that arrives there, before weights and inputs get theirs.
    """

    weight: Tensor
    bias: Tensor | None
    weight_quantizer: Quantizer | None
    input_quantizer: Quantizer | None
    output_quantizer: Quantizer | None
    gradient_quantizer: Quantizer | None

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The float operation of the layer."""
        raise NotImplementedError

    @property
    def fan_in(self) -> int:
        """Products in one accumulator."""
        return self.weight[0].numel()

    @property
    def exact(self) -> bool:
        """Whether both operands are integers, so that eval equals the converted program bit for bit."""
        return self.weight_quantizer is not None and self.input_quantizer is not None

    def attach(
        self,
        weight: Quantizer | None,
        activation: Quantizer | None,
        output: Quantizer | None = None,
        gradient: Quantizer | None = None,
    ) -> None:
        """Set the four quantizers."""
        self.weight_quantizer, self.input_quantizer = weight, activation
        self.output_quantizer, self.gradient_quantizer = output, gradient

    def forward(self, x: Tensor) -> Tensor:
        """Values in training, integer arithmetic in eval; both with the training gradient."""
        wq, xq = self.weight_quantizer, self.input_quantizer
        if self.training or wq is None or xq is None or not (wq.enabled and xq.enabled):
            y = self._values(x)
        elif torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad):
            y = Replace.apply(self._values(x), self._integers(x, wq, xq))
        else:
            y = self._integers(x, wq, xq)
        if self.gradient_quantizer is not None and y.requires_grad:
            y = QuantizeGradient.apply(y, self.gradient_quantizer)
        return y if self.output_quantizer is None else self.output_quantizer(y)

    def _gains(self, x: Tensor) -> list[Tensor]:
        """Factors of the output: of the activation method (XNOR-Net's K), then of the weight method.

        They stand for magnitudes that a grid has not, so a quantizer that is switched off has none.
        """
        found = [q.gain(x, self) for q in (self.input_quantizer, self.weight_quantizer) if q is not None and q.enabled]
        return [factor for factor in found if factor is not None]

    def _values(self, x: Tensor) -> Tensor:
        weight = self.weight if self.weight_quantizer is None else self.weight_quantizer(self.weight)
        operand, gains = x if self.input_quantizer is None else self.input_quantizer(x), self._gains(x)
        if not gains:
            return self.multiply(operand, weight, self.bias)
        y = self.multiply(operand, weight, None)
        for factor in gains:
            y = y * factor
        return y if self.bias is None else y + self.bias.reshape(-1, *(1,) * (self.weight.ndim - 2))

    @torch.no_grad()
    def _integers(self, x: Tensor, wq: Quantizer, xq: Quantizer) -> Tensor:
        wq.require()
        xq.require()
        dtype = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            x, weight = wide(x), wide(self.weight)
            sx, sw = xq.scales(x), wq.scales(weight)
            ux, uw = xq.units(x, sx), wq.units(weight, sw)
            offset = wq.offset(weight)
            if offset is not None:  # the offset multiplies the plain sum of the input units
                uw, sw = torch.cat([uw, torch.ones_like(uw[:1])]), torch.cat([sw, offset[None]])
            bound = self.fan_in * xq.max_unit * wq.max_unit
            # float64 is exact to 2^53 and has neither TF32 nor Winograd algorithms on any device
            precision = torch.float64 if bound > EXACT_FLOAT32 or x.is_cuda else x.dtype
            channels = (-1, *(1,) * (self.weight.ndim - 2))
            y = None
            for weight_unit, weight_scale in zip(uw.to(precision), sw, strict=True):
                for input_unit, input_scale in zip(ux.to(precision), sx, strict=True):
                    acc = self.multiply(input_unit, weight_unit, None).to(x.dtype)
                    c = weight_scale * input_scale
                    term = acc * (c.reshape(channels) if c.ndim else c)
                    y = term if y is None else y + term
            assert y is not None
            for factor in self._gains(x):
                y = y * factor
            return (y if self.bias is None else y + wide(self.bias).reshape(channels)).to(dtype)


def adopt(layer: Any, source: nn.Module, parameters: tuple[str, ...], buffers: tuple[str, ...] = ()) -> None:
    """Let `layer` share Parameters, buffers, mode and hooks-free state of the module that it replaces."""
    for name in parameters:
        setattr(layer, name, getattr(source, name))
    for name in buffers:
        layer.register_buffer(name, getattr(source, name))
    layer.train(source.training)
