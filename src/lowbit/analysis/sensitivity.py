"""How much the network's answers move when one tensor alone is quantized, at each width.

Source: Anwar, Hwang, Sung, "Fixed Point Optimization of Deep Convolutional Neural Networks for Object Recognition",
2015: layer-wise sensitivity analysis, with steps of least squared error where the method has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.samples import Samples
from lowbit.analysis.split import agreement
from lowbit.analysis.switches import layer_inputs, quantizing, weight_layers
from lowbit.layers import WeightLayer
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table
from lowbit.training.evaluate import logits, score

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
COLUMNS = ("layer", "quantized", "bits", "error", "loss", "agreement")


def relative_error(y: Tensor, reference: Tensor) -> float:
    """|y - reference|^2 / |reference|^2, at least 0; infinite where the reference is 0 and y is not.

    Example:
        >>> relative_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0]))
        0.5
    """
    noise = float((y.double() - reference.double()).square().sum())
    power = float(reference.double().square().sum())
    return noise / power if power else (float("inf") if noise else 0.0)


def sensitivity(
    model: nn.Module,
    data: Samples,
    *,
    widths: Sequence[int] = WIDTHS,
    roles: Sequence[str] = ("weights", "activations"),
    tick: Callable[[], Any] = lambda: None,
) -> Table:
    """Error of the logits, loss and agreement with the float network, with one tensor at one width, all else float.

    Every quantizer is built again with the width, by the method that the layer has, and calibrated. Widths that the
    method cannot have are left out, so that methods of a fixed width have one row.

    Args:
        model: prepared and calibrated; it is left as it was.
        data: labels may be missing, the loss is None then.
        widths: bits.
        roles: "weights", "activations" (inputs of layers with weights) or both.
        tick: called after each row.
    """
    reference = _real(model, data.x)
    with quantizing(model, weights=False, activations=False):
        given = layer_inputs(model, data.x)
    rows = []
    done: set[Quantizer] = set()
    for name, layer in weight_layers(model).items():
        for role in roles:
            quantizer = layer.weight_quantizer if role == "weights" else layer.input_quantizer
            if quantizer is None or quantizer in done or name not in given:
                continue
            done.add(quantizer)
            x = layer.weight if role == "weights" else torch.cat([part.flatten() for part in given[name]])
            for bits in legal_widths(quantizer, widths):
                with at_width(model, quantizer, bits, x):
                    only = ({name}, False) if role == "weights" else (False, {name})
                    with quantizing(model, *only):
                        y = logits(model, data.x)
                rows.append({
                    "layer": name, "quantized": role, "bits": bits, "error": relative_error(y, reference),
                    "loss": None if data.y is None else score(y, data.y.cpu()).loss,
                    "agreement": agreement(y, reference),
                })  # fmt: skip
                tick()
    return Table(COLUMNS, rows)


def legal_widths(quantizer: Quantizer, widths: Sequence[int]) -> list[int]:
    """Those that the quantizer's method can have for this tensor; its own width alone where it has one only."""
    card = quantizer.card
    least = card.min_signed_bits if quantizer.signed and card.min_signed_bits else card.min_bits
    if quantizer.spec is None or least == card.max_bits:
        return [quantizer.bits]
    return [bits for bits in widths if least <= bits <= card.max_bits] or [quantizer.bits]


@contextmanager
def at_width(model: nn.Module, quantizer: Quantizer, bits: int, x: Tensor) -> Iterator[None]:
    """Put a freshly calibrated quantizer of another width in all places of one, for the time of the block.

    Args:
        model: holds the quantizer.
        quantizer: of a weight or an input.
        bits: legal for its method.
        x: the tensor to calibrate on.
    """
    made = rebuilt(model, quantizer, bits, x)
    try:
        yield
    finally:
        _swap(model, made, quantizer)


def rebuilt(model: nn.Module, quantizer: Quantizer, bits: int, x: Tensor) -> Quantizer:
    """Put a freshly calibrated quantizer of another width in all places of one; arguments as `at_width`."""
    if quantizer.spec is None:
        return quantizer
    made: Quantizer = replace(quantizer.spec, bits=bits).build(quantizer.role, quantizer.signed)
    made.to(x.device)
    made.calibrate(x.detach())
    made.eval()
    made.where, made.replaces_relu = quantizer.where, quantizer.replaces_relu
    _swap(model, quantizer, made)
    return made


def _swap(model: nn.Module, old: Quantizer, new: Quantizer) -> None:
    for module in list(model.modules()):
        for key in ("weight_quantizer", "input_quantizer", "output_quantizer"):
            if getattr(module, key, None) is old:
                setattr(module, key, new)


def _real(model: nn.Module, x: Tensor) -> Tensor:
    with quantizing(model, weights=False, activations=False):
        return logits(model, x)


def macs(layer: WeightLayer) -> int:
    """Multiplications for one input; known once `calibrate` has run."""
    shape = getattr(layer, "lowbit_output_shape", ())
    positions = 1
    for size in shape:
        positions *= size
    return layer.fan_in * positions
