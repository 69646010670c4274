"""How many decibels of SQNR a tensor gains by one more bit.

10 log10 gamma = kappa * bits + constant, for uniform quantization with the step of least squared error: 6.02 for
uniform data, 4.9 to 5.4 for Gaussian, less for heavy tails. Source: Lin, Talathi, Annapureddy 2016, Eq. 2 and
Fig. 1; we fit it by least squares over 2 to 8 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowbit.analysis.sqnr import real_part, sqnr
from lowbit.analysis.switches import layer_inputs, quantizing, weight_layers
from lowbit.table import Table

BITS = range(2, 9)
ELEMENTS = 16384
"""Of a tensor, taken at even distances; the fit moves by less than 0.05 dB a bit with more."""


def optimal_sqnr(x: Tensor, bits: int) -> float | None:
    """SQNR in dB of the best uniform quantization of x with 2^bits levels; None without signal.

    Levels are (k + 0.5) * step on both sides of 0, or, where nothing is negative, k * step from 0.

    Example:
        >>> x = torch.linspace(-1, 1, 4097)
        >>> round(optimal_sqnr(x, 3), 1)
        18.1
    """
    x = x.detach().double().flatten()
    top = float(x.abs().max()) if len(x) else 0.0
    if top == 0:
        return None
    half = 2 ** (bits - 1)
    signed = bool((x < 0).any())
    whole = top / half if signed else top / (2 * half - 1)

    def values(step: Tensor) -> Tensor:
        if signed:
            return (torch.floor(x / step).clamp(-half, half - 1) + 0.5) * step
        return (x / step).round().clamp(0, 2 * half - 1) * step

    def errors(steps: Tensor) -> Tensor:
        return torch.stack([(x - values(step)).square().mean() for step in steps])

    steps = whole * torch.logspace(-1.6, 0.1, 40, dtype=torch.float64)
    best = steps[errors(steps).argmin()]
    fine = best * torch.linspace(0.92, 1.08, 17, dtype=torch.float64)
    return sqnr(x, values(fine[errors(fine).argmin()]))


def kappa(x: Tensor) -> float | None:
    """Decibels a bit of a tensor, fitted over 2 to 8 bits; None where it has no signal or no noise.

    Example:
        >>> round(kappa(torch.linspace(-1, 1, 4097)), 2)
        6.02
    """
    flat = x.detach().flatten()
    flat = flat[:: max(1, -(-len(flat) // ELEMENTS))].cpu()
    found = [optimal_sqnr(flat, bits) for bits in BITS]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return None
    bits, mean = torch.tensor(list(BITS), dtype=torch.float64), sum(values) / len(values)
    centred = bits - bits.mean()
    return float((centred * (torch.tensor(values, dtype=torch.float64) - mean)).sum() / centred.square().sum())


def kappa_table(model: nn.Module, x: Tensor) -> Table:
    """kappa of every layer's weight and input in the float network, dB a bit.

    Args:
        model: prepared and calibrated.
        x: inputs [N, ...].
    """
    with quantizing(model, weights=False, activations=False):
        given = layer_inputs(model, x)
    rows = []
    for name, layer in weight_layers(model).items():
        if name in given:
            quantizer = layer.input_quantizer
            parts = [part if quantizer is None else real_part(part, quantizer) for part in given[name]]
            everything = torch.cat([part.flatten() for part in parts])
            rows.append({"layer": name, "weight": kappa(layer.weight), "activation": kappa(everything)})
    return Table(("layer", "weight", "activation"), rows)
