"""Widths that are trained: what a network costs at them, and how they become whole numbers within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowbit.calibrate import quantizer_paths
from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.bitpruning import BitPruning
from lowbit.quantizers.dqdnn import DQDNN

Learned = BitPruning | DQDNN
Bits = Callable[[Quantizer], Tensor | float]


def learned(model: nn.Module) -> dict[str, Learned]:
    """The quantizers whose width is trained, by layer and role."""
    return {f"{path}.{q.role}": q for q, path in quantizer_paths(model).items() if isinstance(q, (BitPruning, DQDNN))}


def whole(q: Learned) -> int:
    """The width of its grid in eval."""
    return math.ceil(float(q.width.detach().clamp(1, 16))) if isinstance(q, BitPruning) else int(q.grid().bits)


def lowest(q: Learned) -> int:
    """The narrowest grid it can have."""
    return 1 if isinstance(q, BitPruning) else 1 + bool(q.signed)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What a layer costs: number of weights, products for one input (None: not known), and its quantizers."""

    weights: int
    products: int | None
    weight: Quantizer | None
    activation: Quantizer | None


class Cost:
    """Bytes of all weights, and bit operations of one input: sum of products * weight bits * activation bits.

    Args:
        model: prepared; products are known once it was calibrated. Floats count as 32 bits.

    Example:
        >>> import lowbit
        >>> net = nn.Sequential(nn.Linear(4, 4))
        >>> net = lowbit.prepare(net, "lsq:2", "lsq:3", first="same", last="same", example=torch.ones(2, 4))
        >>> cost = Cost(net)
        >>> float(cost.size(lambda q: q.bits)), float(cost.operations(lambda q: q.bits))
        (4.0, 96.0)
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = [_layer(m) for m in model.modules() if isinstance(m, WeightLayer)]

    def size(self, bits: Bits) -> Tensor:
        """Bytes of the weights where `bits` gives the width of each quantizer."""
        return _sum([_of(bits, layer.weight) * (layer.weights / 8) for layer in self.layers])

    def operations(self, bits: Bits) -> Tensor:
        """Bit operations of one input where `bits` gives the width of each quantizer.

        Raises:
            InvalidInput: the model was not calibrated.
        """
        return _sum(
            [_of(bits, layer.weight) * _of(bits, layer.activation) * self.products(layer) for layer in self.layers]
        )

    @staticmethod
    def products(layer: Layer) -> int:
        """Products of one input.

        Raises:
            InvalidInput: the model was not calibrated.
        """
        if layer.products is None:
            raise InvalidInput("the number of operations is not known; run lowbit.calibrate(model, batches) before")
        return layer.products


def _layer(module: WeightLayer) -> Layer:
    shape = getattr(module, "lowbit_output_shape", None)
    return Layer(
        weights=module.weight.numel(),
        products=None if shape is None else module.fan_in * math.prod(shape),
        weight=module.weight_quantizer,
        activation=module.input_quantizer,
    )


def _of(bits: Bits, q: Quantizer | None) -> Tensor | float:
    return 32.0 if q is None else bits(q)


def _sum(parts: list[Tensor | float]) -> Tensor:
    return torch.stack([torch.as_tensor(part, dtype=torch.float64).cpu() for part in parts]).sum()


def current(q: Quantizer) -> Tensor | float:
    """The trained width, differentiable, or the fixed one."""
    return q.smooth_bits() if isinstance(q, (BitPruning, DQDNN)) else float(q.bits)


def rounded_widths(
    model: nn.Module, widest: int = 8, size: float | None = None, operations: float | None = None
) -> dict[Learned, int]:
    """Whole widths: each rounded up, then one at a time lower, where rounding added most, until the budgets hold.

    Args:
        model: prepared.
        widest: no width is above it.
        size: bytes of the weights at most, or None.
        operations: bit operations of one input at most, or None.

    Raises:
        InvalidInput: a budget cannot be met with the narrowest grids.
    """
    cost = Cost(model)
    found = list(learned(model).values())
    wanted = {q: float(q.smooth_bits().detach()) for q in found}
    bits = {q: max(lowest(q), min(widest, whole(q))) for q in found}

    def at(q: Quantizer) -> float:
        return bits[q] if isinstance(q, (BitPruning, DQDNN)) else float(q.bits)

    while True:
        too_large = size is not None and float(cost.size(at)) > size
        too_many = operations is not None and float(cost.operations(at)) > operations
        if not too_large and not too_many:
            return bits
        free = [q for q in found if bits[q] > lowest(q) and (too_many or q.role == "weight")]
        if not free:
            what = f"size of {size:g} bytes" if too_large else f"{operations:g} bit operations"
            least = float(cost.size(at)) if too_large else float(cost.operations(at))
            raise InvalidInput(f"bit-learning: a {what} cannot be met, the narrowest grids take {least:g}; allow more")
        bits[max(free, key=lambda q: bits[q] - wanted[q])] -= 1


def shares(model: nn.Module, by: str) -> Mapping[Learned, float]:
    """The weight of each width in the penalty, sum 1: equal, by number of weights, or by products.

    Args:
        model: prepared and calibrated.
        by: ``"tensors"``, ``"weights"`` (activations then have none) or ``"operations"``.
    """
    mass: dict[Learned, float] = dict.fromkeys(learned(model).values(), 1.0 if by == "tensors" else 0.0)
    if by != "tensors":
        for layer in Cost(model).layers:
            for q in (layer.weight, layer.activation):
                if isinstance(q, (BitPruning, DQDNN)) and (by == "operations" or q.role == "weight"):
                    mass[q] += Cost.products(layer) if by == "operations" else layer.weights
    total = sum(mass.values())
    return {q: value / total for q, value in mass.items()} if total else mass
