"""What tensors make of their levels: range, clipping, dead levels, histogram, entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowbit.analysis.sqnr import real_part
from lowbit.analysis.switches import evaluating, layer_inputs, quantizing, weight_layers
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table

COLUMNS = ("layer", "role", "bits", "levels", "lowest", "highest", "range used", "clipped", "dead", "entropy")


@dataclass(frozen=True, kw_only=True, eq=False)
class Usage:
    """How a tensor uses its grid.

    Attributes:
        bits: of a code.
        levels: of the grid.
        lowest, highest: of the tensor.
        used: share, 0 to 1, of the way from the grid's lowest to its highest level that the tensor covers.
        clipped: share of elements beyond the outermost levels by more than half of the step next to them.
        dead: levels without any element.
        entropy: of the codes, in bits; `bits` where all levels are equally frequent.
        counts: elements of each code, in the order of the levels' values.
        values: the levels; of the first channel where there are several.
    """

    bits: int
    levels: int
    lowest: float
    highest: float
    used: float
    clipped: float
    dead: int
    entropy: float
    counts: list[int]
    values: list[float]


@torch.no_grad()
def usage(x: Tensor, quantizer: Quantizer) -> Usage:
    """Measure a tensor on the grid of its quantizer.

    Args:
        x: what the quantizer gets.
        quantizer: calibrated.

    Example:
        >>> import lowbit
        >>> q = lowbit.quantizer({"method": "uniform", "bits": 2, "step": 1.0}, role="weight")
        >>> x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 5.0])
        >>> q.calibrate(x)
        >>> found = usage(x, q)
        >>> found.counts, found.clipped
        ([2, 1, 2], 0.4)
    """
    grid = quantizer.grid(x)
    low, high = grid.code_range
    channels = len(x) if quantizer.channel else 1
    levels = grid.values(np.tile(np.arange(low, high + 1), (channels, 1)))
    order = np.argsort(levels[0], kind="stable")
    levels = np.sort(levels, axis=1)
    codes = quantizer.encode(x).cpu().numpy()
    counts = np.bincount(codes.ravel() - low, minlength=high - low + 1)[order]
    real = real_part(x, quantizer).detach().double().cpu().numpy().reshape(channels, -1)
    bottom, top = levels[:, :1], levels[:, -1:]
    step = levels[:, 1:2] - bottom, top - levels[:, -2:-1]
    clipped = (real < bottom - 0.5 * step[0]) | (real > top + 0.5 * step[1])
    cover = np.minimum(real.max(1), top[:, 0]) - np.maximum(real.min(1), bottom[:, 0])
    share = counts[counts > 0] / counts.sum()
    return Usage(
        bits=grid.bits,
        levels=len(counts),
        lowest=float(real.min()),
        highest=float(real.max()),
        used=float(np.clip(cover / np.maximum(top - bottom, 1e-30)[:, 0], 0, 1).mean()),
        clipped=float(clipped.mean()),
        dead=int((counts == 0).sum()),
        entropy=float(-(share * np.log2(share)).sum()) + 0.0,
        counts=[int(count) for count in counts],
        values=[float(value) for value in levels[0]],
    )


def usage_table(model: nn.Module, x: Tensor) -> Table:
    """Usage of every layer's weight and of its input, as the quantized network has them.

    Args:
        model: prepared and calibrated.
        x: inputs [N, ...].

    Returns:
        A table; its rows also hold `counts` and `values`, the histogram.
    """
    with quantizing(model):
        given = layer_inputs(model, x)
    rows: list[dict[str, Any]] = []
    layers = weight_layers(model)
    with evaluating(model):
        for name, inputs in given.items():
            wq, xq = layers[name].weight_quantizer, layers[name].input_quantizer
            if wq is not None:
                rows.append(_row(name, "weight", usage(layers[name].weight, wq)))
            if xq is not None:
                rows.append(_row(name, "activation", usage(torch.cat([part.flatten() for part in inputs]), xq)))
    return Table(COLUMNS, rows)


def _row(layer: str, role: str, found: Usage) -> dict[str, Any]:
    return {
        "layer": layer, "role": role, "bits": found.bits, "levels": found.levels, "lowest": found.lowest,
        "highest": found.highest, "range used": found.used, "clipped": found.clipped, "dead": found.dead,
        "entropy": found.entropy, "counts": found.counts, "values": found.values,
    }  # fmt: skip
