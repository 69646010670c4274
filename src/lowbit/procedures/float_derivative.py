"""Derivatives of activation functions at the pre-activations of the float weights.

Source: Hwang and Sung 2014, section III: with ternary weights the pre-activations of saturating units jump, and the
derivative there says little about the float weights, which get the update.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer

ACTIVATIONS = (
    nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU,
    nn.ELU, nn.Softplus, nn.Softsign,
)  # fmt: skip


class _Swap(Function):
    """y = act(z) forward; dz = dy * slope."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.saved_tensors[0], None, None


class FloatDerivative:
    """While it is on, act(z) of the quantized z has the derivative act'(W x + b) of the float W, for the same x.

    Only activation modules that read a layer's output directly; `matched` counts them in the last training forward.

    Args:
        model: prepared.

    Raises:
        InvalidInput: an activation module works in place.
    """

    def __init__(self, model: nn.Module) -> None:
        self.matched = 0
        self._pending: tuple[Tensor, Tensor] | None = None
        self._handles: list[Any] = []
        for module in model.modules():
            if isinstance(module, WeightLayer) and module.weight_quantizer is not None:
                self._handles.append(module.register_forward_hook(self._note))
            elif isinstance(module, ACTIVATIONS):
                if getattr(module, "inplace", False):
                    raise InvalidInput(
                        f"{type(module).__name__}(inplace=True) overwrites the pre-activation, whose derivative is "
                        "wanted; use inplace=False"
                    )
                self._handles.append(module.register_forward_hook(self._replace))
        self._handles.append(model.register_forward_pre_hook(self._begin))

    def remove(self) -> None:
        """Switch it off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _begin(self, model: nn.Module, args: Any) -> None:
        if model.training:
            self.matched = 0

    @torch.no_grad()
    def _note(self, layer: Any, args: tuple[Tensor, ...], z: Tensor) -> None:
        if layer.training:
            x = args[0] if layer.input_quantizer is None else _value(layer.input_quantizer, args[0])
            self._pending = z, layer.multiply(x, layer.weight, layer.bias)

    def _replace(self, activation: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
        pending, self._pending = self._pending, None
        if pending is None or pending[0] is not args[0] or not args[0].requires_grad:
            return y
        self.matched += 1
        with torch.enable_grad():
            at = pending[1].detach().requires_grad_()
            # called past its hooks, of which this is one
            slope = torch.autograd.grad(activation.forward(at).sum(), at)[0]
        return _Swap.apply(args[0], y.detach(), slope)


def _value(quantizer: nn.Module, x: Tensor) -> Tensor:
    training = quantizer.training
    try:
        return quantizer.eval()(x)
    finally:
        quantizer.train(training)
