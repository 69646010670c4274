"""Steps of weights refined layer by layer, so that the network's answers stay near to those of the float network.

Source: Hwang and Sung 2014, "Fixed-point Feedforward Deep Neural Network Design Using Weights +1, 0, and -1", section
III: an initial step for each layer by least squared error of the weights, then a search on the output error.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lowbit.layers import WeightLayer
from lowbit.quantizers.base import all_reduce_mean
from lowbit.quantizers.l2 import L2

FACTORS = tuple(round(0.05 * i, 2) for i in range(10, 31))
"""0.5, 0.55, ..., 1.5."""


def l2_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """The layers whose weights are by l2, in the model's order."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, WeightLayer) and isinstance(layer.weight_quantizer, L2)
    }


@torch.no_grad()
def output_error(model: nn.Module, x: Tensor, expected: Tensor) -> float:
    """L2 distance between the model's outputs in eval mode and `expected`, both [N, ...]; modes are put back.

    Its square is averaged over the processes of a distributed run, so that all of them decide alike.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        return float(all_reduce_mean((model(x).double() - expected.double()).square().sum()).sqrt())
    finally:
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def refine(model: nn.Module, x: Tensor, expected: Tensor, factors: Sequence[float] = FACTORS) -> tuple[float, float]:
    """Try every factor of each l2 step, first layer to last, all layers quantized, and keep the best.

    Steps of a layer with one a channel share the factor. The factor 1 wins ties.

    Args:
        model: prepared and calibrated.
        x: a calibration batch.
        expected: answers of the float network to it.
        factors: positive numbers.

    Returns:
        The output error before and after; it never rises.

    Example:
        >>> import lowbit
        >>> torch.manual_seed(0) and None
        >>> net, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(32, 8)
        >>> expected = net(x)
        >>> net = lowbit.prepare(net, "l2:3", "lsq:8", first="same", last="same", example=x)
        >>> before, after = refine(net, x, expected)
        >>> after < before
        True
    """
    before = best = output_error(model, x, expected)
    for layer in l2_layers(model).values():
        assert isinstance(layer.weight_quantizer, L2)
        step = layer.weight_quantizer.step
        start = step.clone()
        chosen = start
        for factor in factors:
            step.copy_(start * factor)
            error = output_error(model, x, expected)
            if error < best:
                best, chosen = error, step.clone()
        step.copy_(chosen)
    return before, best
