"""Signal over quantization noise: of every weight and activation, predicted for the output, and measured there.

gamma = E x^2 / E (x - q)^2, in dB 10 log10 gamma. Noise of independent sources adds, each relative to the signal:
1 / gamma_out = sum over all weights and activations of 1 / gamma_i.

Source: Lin, Talathi, Annapureddy, "Fixed Point Quantization of Deep Convolutional Networks", 2016, Eq. 5-9; Athar's
overview, Eq. 1, which drops the reciprocal on the left. The prediction leaves out what nonlinearities cut off, and that
noise of one layer is correlated with the next one's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lowbit.analysis.switches import evaluating, layer_inputs, layer_outputs, quantizing, weight_layers
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table

COLUMNS = ("layer", "weight", "activation", "weights so far", "activations so far", "predicted", "measured")


def sqnr(signal: Tensor, quantized: Tensor) -> float | None:
    """Signal to quantization noise in dB, 10 log10(sum x^2 / sum (x - q)^2); None without signal or without noise.

    Example:
        >>> round(sqnr(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.5])), 2)
        13.01
    """
    signal, quantized = signal.double(), quantized.double()
    noise = float(((signal - quantized) ** 2).sum())
    power = float((signal**2).sum())
    return None if noise == 0 or power == 0 else 10 * math.log10(power / noise)


def together(parts: Iterable[float | None]) -> float | None:
    """SQNR in dB of what several independent noise sources give; None where none has noise.

    Args:
        parts: dB of each source, None for one without noise.

    Example:
        >>> round(together([20.0, 20.0]), 2), round(together([20.0, 20.0, 20.0, 20.0]), 2), together([None])
        (16.99, 13.98, None)
    """
    noise = sum(10 ** (-part / 10) for part in parts if part is not None)
    return -10 * math.log10(noise) if noise else None


def real_part(x: Tensor, quantizer: Quantizer) -> Tensor:
    """What a quantizer stands for: an unsigned one for the ReLU before it too, and what that cuts off is no error."""
    return x.clamp_min(0) if quantizer.signed is False else x


def sqnr_table(model: nn.Module, x: Tensor) -> Table:
    """SQNR of every layer with weights, in dB, in the order of execution.

    Columns: `weight` and `activation` (the layer's input) compare a tensor of the float network with itself quantized;
    `... so far` join those of the layers up to this one by the reciprocal sum, `predicted` both; `measured` compares
    the layer's output with all quantizers on and off. None: no quantizer, no noise, or no signal (see the notes).

    Args:
        model: prepared and calibrated; modes and switches are put back.
        x: inputs [N, ...].

    Returns:
        A table; its totals are `predicted` and `measured` of the network's output.

    Example:
        >>> import lowbit
        >>> torch.manual_seed(0) and None
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), example=torch.randn(64, 8))
        >>> table = sqnr_table(net, torch.randn(64, 8))
        >>> [row["layer"] for row in table.rows], table.totals["measured"] > 20
        (['0', '1'], True)
    """
    layers = weight_layers(model)
    with quantizing(model, weights=False, activations=False):
        given, (real, expected) = layer_inputs(model, x), layer_outputs(model, x)
    with quantizing(model):
        made, y = layer_outputs(model, x)
    rows, notes = [], []
    weights: list[float | None] = []
    activations: list[float | None] = []
    seen: set[Quantizer] = set()
    with evaluating(model):
        for name in real:
            layer = layers[name]
            wq, xq = layer.weight_quantizer, layer.input_quantizer
            signal = torch.cat([part.flatten() for part in real[name]])
            if float(signal.std()) == 0:
                notes.append(f"{name}: its float output is constant, so there is no signal to compare with")
            weight = None if wq is None else sqnr(layer.weight, wq(layer.weight))
            activation = None
            if xq is not None:
                x_real = torch.cat([real_part(part, xq).flatten() for part in given[name]])
                activation = sqnr(x_real, torch.cat([xq(part).flatten() for part in given[name]]))
            weights.append(weight)
            # a tensor that several layers read is one source of noise
            activations.append(None if xq in seen else activation)
            if xq is not None:
                seen.add(xq)
            rows.append(
                {
                    "layer": name,
                    "weight": weight,
                    "activation": activation,
                    "weights so far": together(weights),
                    "activations so far": together(activations),
                    "predicted": together([*weights, *activations]),
                    "measured": sqnr(signal, torch.cat([part.flatten() for part in made[name]])),
                }
            )
    totals = {"predicted": together([*weights, *activations]), "measured": sqnr(expected, y)}
    return Table(COLUMNS, rows, notes=notes, totals=totals)


def layer_errors(model: nn.Module, x: Tensor) -> dict[str, dict[str, float | None]]:
    """SQNR of the weight and of the input of every layer, in dB, by module path.

    Returns:
        `weight_sqnr` and `activation_sqnr`; None where there is no quantizer or no error.
    """
    return {
        row["layer"]: {"weight_sqnr": row["weight"], "activation_sqnr": row["activation"]}
        for row in sqnr_table(model, x).rows
    }
