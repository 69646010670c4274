"""What is lost from the updates of weights when gradients are quantized.

A gradient below half a step of its grid is nothing that rounding can show, so that the update it stands for would
vanish; stochastic rounding keeps it on average and pays with noise.

Source: Liu, "Quantized Neural Networks", section 2.3.3; the grid is DoReFa-Net's (Zhou et al., 2016, Eq. 12).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lowbit.quantizers.catalog as catalog
from lowbit.analysis.samples import Samples
from lowbit.analysis.sqnr import sqnr
from lowbit.analysis.switches import evaluating, weight_layers
from lowbit.layers import WeightLayer
from lowbit.table import Table

WIDTHS = (2, 3, 4, 6, 8)
COLUMNS = ("layer", "gradient", "below", "sqnr", "cosine")
Gradient = Callable[[Tensor], Tensor]


def below_half_a_step(gradient: Tensor, bits: int) -> float:
    """Share of |g| < D / 2, where D = 2 max|g| / (2^bits - 1) is the step of each sample's grid.

    Args:
        gradient: [samples, ...]; its zeros count too.
        bits: at least 1.

    Example:
        >>> below_half_a_step(torch.tensor([[3.0, 0.9, -1.1, 0.0]]), bits=2)  # D = 2
        0.5
    """
    flat = gradient.reshape(len(gradient), -1).abs().double()
    return float((flat < flat.amax(1, keepdim=True) / (2**bits - 1)).double().mean())


def gradient_table(model: nn.Module, data: Samples, widths: Sequence[int] = WIDTHS) -> Table:
    """Gradients of the weights with quantized gradients, as they are in training, against those with float ones.

    Args:
        model: prepared and calibrated; what it has for gradients is put back. Statistics of BatchNorm stay as they are.
        data: without labels, the classes that the network gives stand for them.
        widths: bits of DoReFa's gradients, in all layers at once.

    Returns:
        A row for each layer and method of gradients: `below` (share of the gradients at the layer's output that are
        under half a step), `sqnr` (dB) and `cosine` (-1 to 1) of the gradient of its weight against the float one's.
        Where the model quantizes gradients itself, rows `own` have its method, without `below`. Where no weight is
        trained, no rows.
    """
    layers = {name: layer for name, layer in weight_layers(model).items() if layer.weight.requires_grad}
    if not layers:
        return Table(COLUMNS, [])
    with evaluating(model):
        y = model(data.x).argmax(1) if data.y is None else data.y.to(data.x.device)
    real = _updates(model, data.x, y, dict.fromkeys(layers))
    rows: list[dict[str, Any]] = []
    own = {name: layer.gradient_quantizer for name, layer in layers.items() if layer.gradient_quantizer is not None}
    if own:
        rows += _rows("own", real, _updates(model, data.x, y, {**dict.fromkeys(layers), **own}), {})
    for bits in widths:
        seen: dict[str, list[float]] = {}
        made = _updates(model, data.x, y, {name: _watched(bits, seen.setdefault(name, [])) for name in layers})
        rows += _rows(
            f"dorefa:{bits}", real, made, {name: sum(parts) / len(parts) for name, parts in seen.items() if parts}
        )
    order = {name: index for index, name in enumerate(layers)}
    return Table(COLUMNS, sorted(rows, key=lambda row: order[row["layer"]]))


def _watched(bits: int, seen: list[float]) -> Gradient:
    quantizer = catalog.quantizer(f"dorefa:{bits}", role="gradient")

    def quantize(gradient: Tensor) -> Tensor:
        seen.append(below_half_a_step(gradient, bits))
        made: Tensor = quantizer(gradient)
        return made

    return quantize


def _rows(
    method: str, real: Mapping[str, Tensor], made: Mapping[str, Tensor], below: Mapping[str, float]
) -> list[dict[str, Any]]:
    return [
        {
            "layer": name, "gradient": method, "below": below.get(name), "sqnr": sqnr(update, made[name]),
            "cosine": float(F.cosine_similarity(update.flatten().double(), made[name].flatten().double(), dim=0)),
        }
        for name, update in real.items()
    ]  # fmt: skip


def _updates(model: nn.Module, x: Tensor, y: Tensor, methods: Mapping[str, Gradient | None]) -> dict[str, Tensor]:
    """Gradient of the mean cross-entropy by the weight of each layer, in eval mode; random numbers from seed 0."""
    layers = weight_layers(model)
    weights = {name: layers[name].weight for name in methods}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    for method in methods.values():
        if isinstance(method, nn.Module):
            method.train()  # rounds at random, as it will in training
    try:
        with torch.random.fork_rng(), torch.enable_grad(), _replaced({layers[n]: m for n, m in methods.items()}):
            torch.manual_seed(0)
            loss = F.cross_entropy(model(x), y)
            found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return {
        name: torch.zeros_like(weights[name]) if update is None else update
        for name, update in zip(weights, found, strict=True)
    }


@contextmanager
def _replaced(methods: Mapping[WeightLayer, Gradient | None]) -> Iterator[None]:
    # Straight into __dict__, which is looked at before the modules: a registered quantizer stays where it is.
    before = {layer: layer.__dict__.get("gradient_quantizer") for layer in methods}
    registered = {layer for layer in methods if "gradient_quantizer" not in layer.__dict__}
    try:
        for layer, method in methods.items():
            layer.__dict__["gradient_quantizer"] = method
        yield
    finally:
        for layer, old in before.items():
            if layer in registered:
                del layer.__dict__["gradient_quantizer"]
            else:
                layer.__dict__["gradient_quantizer"] = old
