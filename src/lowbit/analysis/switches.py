"""A prepared network with some of its quantizers on: the float network, weights only, activations only, one layer."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lowbit.layers import WeightLayer
from lowbit.quantizers.base import Quantizer

Places = bool | Container[str]
"""All, none, or those of the modules with these paths."""


def weight_layers(model: nn.Module) -> dict[str, WeightLayer]:
    """Layers with weights by module path, in the order of definition.

    Example:
        >>> import lowbit
        >>> list(weight_layers(lowbit.prepare(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))))
        ['0', '1']
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, WeightLayer)}


def activation_quantizers(model: nn.Module) -> dict[Quantizer, list[str]]:
    """Quantizers of activations and outputs, each with the paths of all modules that it belongs to."""
    found: dict[Quantizer, list[str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Quantizer):
            continue
        for child in module.children():
            if isinstance(child, Quantizer) and child.role in ("activation", "output"):
                found.setdefault(child, []).append(name)
    return found


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; modes are put back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def quantizing(model: nn.Module, weights: Places = True, activations: Places = True) -> Iterator[None]:
    """Switch quantizers on and off for the time of the block.

    With both off it is the float network of the same weights. A quantizer that several modules share is on where one
    of them is named.

    Args:
        model: prepared and calibrated.
        weights: paths of the layers whose weights are quantized, or all, or none.
        activations: paths of the modules whose inputs (and outputs, where these have a quantizer) are.

    Example:
        >>> import lowbit
        >>> net, x = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), torch.ones(1, 2)
        >>> y = net(x)
        >>> net = lowbit.prepare(net, example=x)
        >>> with quantizing(net, weights=False, activations=False):
        ...     torch.equal(net(x), y)
        True
    """
    wanted = {
        layer.weight_quantizer: _holds(weights, name)
        for name, layer in weight_layers(model).items()
        if layer.weight_quantizer is not None
    }
    for quantizer, paths in activation_quantizers(model).items():
        wanted[quantizer] = any(_holds(activations, path) for path in paths)
    before = {quantizer: quantizer.enabled for quantizer in wanted}
    for quantizer, on in wanted.items():
        quantizer.enabled = on
    try:
        yield
    finally:
        for quantizer, on in before.items():
            quantizer.enabled = on


def _holds(places: Places, path: str) -> bool:
    return places if isinstance(places, bool) else path in places


def layer_outputs(model: nn.Module, x: Tensor) -> tuple[dict[str, list[Tensor]], Tensor]:
    """What every layer with weights gives, by path in the order of the first call, and what the model gives.

    Args:
        model: prepared and calibrated, in the state that is to be measured.
        x: inputs [N, ...].

    Returns:
        By path one output for each call of the layer; the model's output.
    """
    return _recorded(model, x, inputs=False)


def layer_inputs(model: nn.Module, x: Tensor) -> dict[str, list[Tensor]]:
    """What every layer with weights is given, before its quantizer, by path in the order of the first call."""
    return _recorded(model, x, inputs=True)[0]


def _recorded(model: nn.Module, x: Tensor, *, inputs: bool) -> tuple[dict[str, list[Tensor]], Tensor]:
    found: dict[str, list[Tensor]] = {}

    def keep(name: str) -> object:
        def hook(_: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
            found.setdefault(name, []).append((given[0] if inputs else made).detach())

        return hook

    handles = [layer.register_forward_hook(keep(name)) for name, layer in weight_layers(model).items()]  # type: ignore[arg-type]
    try:
        with evaluating(model):
            y = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found, y
