"""The loss around the weights, along two random directions: smooth for the float network, stepped for the low-bit one.

Each direction is Gaussian, every filter of it as long as that of the weights; biases and BatchNorm stay. The loss is
taken at w + a d1 + b d2, and quantization acts after the shift.

Source: Li et al., "Visualizing the Loss Landscape of Neural Nets", 2018 (filter normalization); DNN Quantization with
Attention, Figure 4. The two figures of roughness are this library's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from lowbit.analysis.samples import Samples
from lowbit.analysis.switches import quantizing, weight_layers
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.mixture import Mixture
from lowbit.table import Table
from lowbit.training.evaluate import logits, score

POINTS = 13
REACH = 1.0
Directions = list[dict[str, Tensor]]
"""Two shifts, each by layer."""


def directions(model: nn.Module, seed: int = 0) -> Directions:
    """Two random shifts of all weights of layers, normalized filter by filter.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(4, 2)))
        >>> shift = directions(net)[0]["0"]
        >>> torch.allclose(shift.norm(dim=1), net[0].weight.detach().norm(dim=1))
        True
    """
    generator = torch.Generator().manual_seed(seed)
    made: Directions = []
    for _ in range(2):
        shift = {}
        for name, layer in weight_layers(model).items():
            weight = layer.weight.detach()
            drawn = torch.randn(weight.shape, generator=generator).to(weight)
            axes = tuple(range(1, weight.ndim))
            wanted, drawn_length = (t.square().sum(axes, keepdim=True).sqrt() for t in (weight, drawn))
            shift[name] = drawn * (wanted / drawn_length.clamp_min(1e-12))
        made.append(shift)
    return made


def roughness(losses: Tensor) -> float:
    """Mean size of the discrete Laplacian over the range of the values; 0 for a plane, and for a constant.

    Args:
        losses: [rows, columns], each at least 3.

    Example:
        >>> roughness(torch.tensor([[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]))
        0.0
    """
    losses = losses.double()
    span = float(losses.max() - losses.min())
    middle = losses[1:-1, 1:-1]
    laplacian = losses[:-2, 1:-1] + losses[2:, 1:-1] + losses[1:-1, :-2] + losses[1:-1, 2:] - 4 * middle
    return float(laplacian.abs().mean()) / span if span else 0.0


def minima(losses: Tensor) -> int:
    """Inner points that are lower than all of their eight neighbors.

    Example:
        >>> minima(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]))
        1
    """
    rows, columns = losses.shape
    middle = losses[1:-1, 1:-1]
    lower = torch.ones_like(middle, dtype=torch.bool)
    for i in range(3):
        for j in range(3):
            if (i, j) != (1, 1):
                lower &= middle < losses[i : rows - 2 + i, j : columns - 2 + j]
    return int(lower.sum())


def loss_surface(
    model: nn.Module, data: Samples, *, points: int = POINTS, reach: float = REACH, seed: int = 0
) -> Table:
    """Loss of the float network, of the low-bit one, and, where quantizers mix levels, of the mixture.

    A mixture that has ended is taken as it began, with equal shares, since its own would be those of the low-bit one.

    Args:
        model: prepared and calibrated; its weights are put back.
        data: without labels, the classes that the float network gives stand for them.
        points: on each axis, odd numbers have the weights themselves in the middle; at least 3.
        reach: the axes go from -reach to reach.
        seed: of the directions.

    Returns:
        A row for each network: `roughness`, `minima`, `lowest`, `highest`, and `axis` [points] and `losses`
        [points][points] (rows: first direction).
    """
    with quantizing(model, weights=False, activations=False):
        y = logits(model, data.x).argmax(1) if data.y is None else data.y.cpu()
    modes = [("float", False, False), ("low-bit", True, False)]
    if any(isinstance(m, Mixture) or (isinstance(m, Quantizer) and m.unfinished() > 0) for m in model.modules()):
        modes.append(("mixture", True, True))
    axis = torch.linspace(-reach, reach, points)
    shifts = directions(model, seed)
    rows = []
    for name, on, soft in modes:
        losses = torch.empty(points, points, dtype=torch.float64)
        with quantizing(model, on, on), _begun(model) if soft else nullcontext():
            for i, a in enumerate(axis):
                for j, b in enumerate(axis):
                    with shifted(model, shifts, float(a), float(b)):
                        losses[i, j] = score(logits(model, data.x, soft=soft), y).loss
        rows.append({
            "network": name, "roughness": roughness(losses), "minima": minima(losses), "lowest": float(losses.min()),
            "highest": float(losses.max()), "axis": [round(float(a), 6) for a in axis], "losses": losses.tolist(),
        })  # fmt: skip
    return Table(("network", "roughness", "minima", "lowest", "highest"), rows)


@contextmanager
def _begun(model: nn.Module) -> Iterator[None]:
    """Mixtures that have ended with equal shares, for the time of the block."""
    ended = [m for m in model.modules() if isinstance(m, Mixture) and m.unfinished() == 0]
    before = [(m.fixed.clone(), None if m.alpha is None else m.alpha.detach().clone()) for m in ended]
    try:
        with torch.no_grad():
            for mixture in ended:
                mixture.fixed.fill_(1 / mixture.count)
                if mixture.alpha is not None:
                    mixture.alpha.zero_()
        yield
    finally:
        with torch.no_grad():
            for mixture, (fixed, alpha) in zip(ended, before, strict=True):
                mixture.fixed.copy_(fixed)
                if mixture.alpha is not None and alpha is not None:
                    mixture.alpha.copy_(alpha)
                mixture.train(mixture.training)  # look for the largest share again


@contextmanager
def shifted(model: nn.Module, shifts: Directions, a: float, b: float) -> Iterator[None]:
    """Weights w + a d1 + b d2 for the time of the block."""
    layers = weight_layers(model)
    before = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    try:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.add_(a * shifts[0][name] + b * shifts[1][name])
        yield
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.weight.copy_(before[name])
