"""The data that a diagnosis measures on, checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.switches import activation_quantizers, weight_layers
from lowbit.errors import InvalidInput, NotCalibrated


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and labels.

    Attributes:
        x: inputs [N, ...].
        y: labels int64 [N], or None where none were given.
    """

    x: Tensor
    y: Tensor | None


def samples(model: nn.Module, batches: Iterable[Any]) -> Samples:
    """All batches in one, after checking that model and data can be measured.

    Args:
        model: prepared and calibrated.
        batches: yields inputs, or (inputs, labels); on the model's device.

    Raises:
        InvalidInput: the model is not prepared, has weights that are not finite, or there is no data, or it holds NaN
            or infinity, or a single class.
        NotCalibrated: a quantizer has no scale.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(2, 2)), example=torch.ones(1, 2))
        >>> samples(net, [torch.zeros(3, 2), torch.zeros(4, 2)]).x.shape
        torch.Size([7, 2])
    """
    require_measurable(model)
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        kind = "one tensor" if isinstance(batches, Tensor) else repr(batches)
        raise InvalidInput(f"the diagnosis got {kind}, allowed is a list or other source of batches, such as [(x, y)]")
    inputs, labels = [], []
    for batch in batches:
        pair = batch if isinstance(batch, (tuple, list)) else (batch,)
        if not pair or not all(isinstance(part, Tensor) for part in pair[:2]):
            raise InvalidInput(f"a batch is {type(batch).__name__}; batches are input tensors, or (input, label)")
        inputs.append(pair[0])
        if len(pair) > 1:
            labels.append(pair[1])
    if not inputs or not sum(map(len, inputs)):
        raise InvalidInput("the diagnosis got no data; give it at least one batch of inputs, such as [(x, y)]")
    x = torch.cat(inputs)
    if not torch.isfinite(x).all():
        raise InvalidInput("the inputs hold NaN or infinity; clean the data, then diagnose again")
    if not labels:
        return Samples(x, None)
    if len(labels) < len(inputs):
        raise InvalidInput("some batches have labels and others none; give labels with all of them, or with none")
    y = torch.cat(labels)
    if y.shape != (len(x),) or y.is_floating_point():
        raise InvalidInput(f"labels are {y.dtype} {list(y.shape)}, allowed is one whole number an input: [{len(x)}]")
    if len(y) > 1 and bool((y == y[0]).all()):
        raise InvalidInput(
            f"every label is class {int(y[0])}, so accuracy would say nothing; give shuffled batches of all classes"
        )
    return Samples(x, y)


def first(data: Samples, count: int) -> Samples:
    """The first inputs with their labels; all where there are fewer."""
    return Samples(data.x[:count], None if data.y is None else data.y[:count])


def require_measurable(model: nn.Module) -> None:
    """Refuse what has no quantizers, no scales, or weights that are no numbers.

    Raises:
        InvalidInput, NotCalibrated: as `samples`.
    """
    layers = weight_layers(model) if isinstance(model, nn.Module) else {}
    if not layers:
        raise InvalidInput("the diagnosis got a model without quantizers; call lowbit.prepare(model) first")
    for name, layer in layers.items():
        if not torch.isfinite(layer.weight).all():
            raise InvalidInput(
                f"{name}: the weight holds NaN or infinity, so nothing behind it can be measured; train again, with a "
                "lower learning rate"
            )
    own = [layer.weight_quantizer for layer in layers.values() if layer.weight_quantizer is not None]
    for quantizer in (*own, *activation_quantizers(model)):
        try:
            quantizer.require()
        except NotCalibrated as error:
            raise NotCalibrated(str(error).replace("before the first forward pass", "then diagnose")) from None
