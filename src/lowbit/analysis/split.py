"""The split: what quantizing the weights costs, the activations, and both, in the whole network and layer by layer.

Source: Boo, Shin, Sung, "Quantized Neural Networks: Characterization and Holistic Optimization", section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from lowbit.analysis.samples import Samples
from lowbit.analysis.sqnr import sqnr
from lowbit.analysis.switches import Places, activation_quantizers, quantizing, weight_layers
from lowbit.table import Table
from lowbit.training.evaluate import logits, score

MODES: dict[str, tuple[bool, bool]] = {
    "float": (False, False),
    "weights": (True, False),
    "activations": (False, True),
    "both": (True, True),
}
COLUMNS = ("quantized", "accuracy", "loss", "agreement", "sqnr")
Tick = Callable[[], Any]


def agreement(a: Tensor, b: Tensor) -> float:
    """Percent of inputs that two sets of logits [N, classes] put into the same class.

    Example:
        >>> import torch
        >>> agreement(torch.eye(2), torch.tensor([[3.0, 1.0], [2.0, 1.0]]))
        50.0
    """
    return 100 * float((a.argmax(1) == b.argmax(1)).double().mean())


def split(model: nn.Module, data: Samples) -> Table:
    """Accuracy (percent), loss, agreement with the float network (percent), and SQNR of the logits, in four modes.

    "float" is the network of the same weights with every quantizer off.

    Args:
        model: prepared and calibrated; switches are put back.
        data: labels may be missing; accuracy and loss are None then.
    """
    reference = _logits(model, data.x, False, False)
    rows = []
    for mode, (weights, activations) in MODES.items():
        y = reference if mode == "float" else _logits(model, data.x, weights, activations)
        rows.append({"quantized": "nothing" if mode == "float" else mode, **_scores(y, reference, data.y)})
    return Table(COLUMNS, rows)


def split_by_layer(model: nn.Module, data: Samples, tick: Tick = lambda: None) -> Table:
    """As `split` with one layer quantized, all others float: first its weights alone, then its input alone.

    Additions and concatenations that quantize have a row of activations too.

    Args:
        model: prepared and calibrated.
        data: as in `split`.
        tick: called after each row.
    """
    reference = _logits(model, data.x, False, False)
    rows = []
    for name, what in parts(model):
        y = _logits(model, data.x, {name} if what == "weights" else False, {name} if what == "activations" else False)
        rows.append({"layer": name, "quantized": what, **_scores(y, reference, data.y)})
        tick()
    return Table(("layer", *COLUMNS), rows)


def parts(model: nn.Module) -> list[tuple[str, str]]:
    """Everything that can be quantized alone: ("conv1", "weights"), ("conv1", "activations"), ...

    A quantizer of several modules is named by the first of them.
    """
    found = [(name, "weights") for name, layer in weight_layers(model).items() if layer.weight_quantizer is not None]
    found += [(name, "activations") for name in dict.fromkeys(p[0] for p in activation_quantizers(model).values())]
    order = [name for name, _ in model.named_modules()]
    return sorted(found, key=lambda part: (order.index(part[0]), part[1] != "weights"))


def _logits(model: nn.Module, x: Tensor, weights: Places, activations: Places) -> Tensor:
    with quantizing(model, weights, activations):
        return logits(model, x)


def _scores(y: Tensor, reference: Tensor, labels: Tensor | None) -> dict[str, float | None]:
    found = None if labels is None else score(y, labels.cpu())
    return {
        "accuracy": None if found is None else found.accuracy,
        "loss": None if found is None else found.loss,
        "agreement": agreement(y, reference),
        "sqnr": sqnr(reference, y),
    }
