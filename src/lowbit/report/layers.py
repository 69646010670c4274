"""Per-layer errors of a quantized network: how far weights and activations are from the reals they stand for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lowbit.layers.base import WeightLayer


def sqnr(signal: Tensor, quantized: Tensor) -> float | None:
    """Signal to quantization noise in dB, 10 log10(sum x^2 / sum (x - q)^2); None without signal or without noise.

    Example:
        >>> round(sqnr(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.5])), 2)
        13.01
    """
    signal, quantized = signal.double(), quantized.double()
    noise = float(((signal - quantized) ** 2).sum())
    power = float((signal**2).sum())
    if noise == 0 or power == 0:
        return None
    return float(10 * torch.log10(torch.tensor(power / noise)))


@torch.no_grad()
def layer_errors(model: nn.Module, x: Tensor) -> dict[str, dict[str, float | None]]:
    """SQNR of the weight and of the input of every quantized layer, in dB.

    The weight is compared with the float weight that training keeps, the input with the same tensor before its
    quantizer, in the quantized network.

    Args:
        model: prepared and calibrated; its mode is put back.
        x: a batch of inputs.

    Returns:
        By module path: `weight_sqnr` and `activation_sqnr`; None where there is no quantizer or no error.
    """
    found: dict[str, dict[str, float | None]] = {}
    handles = []

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            assert isinstance(layer, WeightLayer)
            weight, activation = layer.weight_quantizer, layer.input_quantizer
            # An unsigned quantizer stands for the ReLU before it too: what that cuts off is no error.
            real = args[0].clamp_min(0) if activation is not None and activation.signed is False else args[0]
            found[name] = {
                "weight_sqnr": None if weight is None else sqnr(layer.weight, weight(layer.weight)),
                "activation_sqnr": None if activation is None else sqnr(real, activation(args[0])),
            }

        return hook

    modes = {module: module.training for module in model.modules()}
    for name, module in model.named_modules():
        if isinstance(module, WeightLayer):
            handles.append(module.register_forward_pre_hook(watch(name)))
    try:
        model.eval()(x)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return found
