"""How much a layer can amplify a change of its input, and how far its weights are from orthogonal ones.

Source: Boo, Shin, Sung, section 4.3 and Eq. 8: the Lipschitz constant of a layer is the largest singular value of its
operator; the penalty L_Lip pulls W^T W, W of the shape (k k c_in, c_out), towards the identity.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.switches import evaluating, layer_inputs, weight_layers
from lowbit.layers import WeightLayer
from lowbit.procedures.lipschitz import gap
from lowbit.table import Table

ROUNDS = 200
TOLERANCE = 1e-6


def spectral_norm(layer: WeightLayer, weight: Tensor, shape: torch.Size, seed: int = 0) -> float:
    """Largest singular value of a layer's linear operator, by power iteration on the operator itself.

    Args:
        layer: convolution or linear layer; its geometry counts, padding included.
        weight: to use in place of the layer's own, same shape.
        shape: of one input, without the batch.
        seed: of the first vector.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(2, 2)))
        >>> round(spectral_norm(net[0], torch.diag(torch.tensor([3.0, 1.0])), torch.Size([2])), 4)
        3.0
    """
    weight = weight.detach().double()
    v = torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(weight.device)
    found = 0.0
    for _ in range(ROUNDS):
        v = (v / v.norm().clamp_min(1e-300)).requires_grad_()
        with torch.enable_grad():
            u = layer.multiply(v, weight, None)
            (v_next,) = torch.autograd.grad(u, v, u.detach())
        before, found = found, float(u.detach().norm())
        if abs(found - before) <= TOLERANCE * found:
            break
        v = v_next.detach()
    return found


def lipschitz_table(model: nn.Module, x: Tensor) -> Table:
    """The Lipschitz constant of every layer with float and with quantized weights, and its penalty.

    Columns: `float`, `quantized` (None where weights are float), `penalty` (0.5 * ||W^T W - I||_F^2 of the float
    weights). The totals hold the products of the constants, bounds of what the layers together amplify, and
    `L_Lip`, the sum of the penalties.

    Args:
        model: prepared and calibrated.
        x: some inputs [N, ...], for the sizes of the layers' inputs.
    """
    given = layer_inputs(model, x[:1])
    rows: list[dict[str, Any]] = []
    real, made, penalties = 1.0, 1.0, 0.0
    for name, layer in weight_layers(model).items():
        if name not in given:
            continue
        shape = given[name][0].shape[1:]
        with evaluating(model):
            weight = None if layer.weight_quantizer is None else layer.weight_quantizer(layer.weight)
        constant, penalty = spectral_norm(layer, layer.weight, shape), float(gap(layer.weight.detach()))
        quantized = None if weight is None else spectral_norm(layer, weight, shape)
        rows.append({"layer": name, "float": constant, "quantized": quantized, "penalty": penalty})
        real, made = real * constant, made * (constant if quantized is None else quantized)
        penalties += penalty
    totals = {"float": real, "quantized": made, "L_Lip": penalties}
    return Table(("layer", "float", "quantized", "penalty"), rows, totals=totals)
