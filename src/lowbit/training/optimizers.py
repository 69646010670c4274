"""Optimizers with the parameter groups that low-bit networks want."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lowbit.errors import unknown
from lowbit.quantizers.base import Quantizer

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters in two groups: weights that decay, and everything else, which does not.

    Scales, BatchNorm and biases are left alone: pulling a quantizer's step or a normalization towards zero
    changes the grid, not the size of the network's function.

    Args:
        model: prepared or float.
        weight_decay: of the first group.

    Example:
        >>> [len(group["params"]) for group in parameter_groups(nn.Linear(2, 2), 0.1)]
        [1, 1]
    """
    scales = quantizer_parameters(model)
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (free if parameter.ndim < 2 or id(parameter) in scales else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def quantizer_parameters(model: nn.Module) -> set[int]:
    """Ids of what quantizers learn: steps, thresholds, bases, widths.

    Example:
        >>> len(quantizer_parameters(nn.Linear(2, 2)))
        0
    """
    return {id(p) for m in model.modules() if isinstance(m, Quantizer) for p in m.parameters()}


def make_optimizer(
    model: nn.Module,
    name: str = "adam",
    *,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = False,
    scale_lr: float = 1.0,
) -> torch.optim.Optimizer:
    """An optimizer over `parameter_groups`.

    Args:
        model: whose parameters it moves.
        name: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        lr: peak learning rate, above 0.
        weight_decay: of convolution and linear weights, at least 0.
        momentum: of sgd; adam keeps its (0.9, 0.999).
        nesterov: of sgd.
        scale_lr: factor on `lr` for what quantizers learn. Adam moves a parameter by about `lr` a step whatever its
            size; a step of 0.03, as 4-bit weights have, can be driven through zero by a rate of 8e-3.

    Raises:
        UnknownName: there is no optimizer of that name.

    Example:
        >>> make_optimizer(nn.Linear(2, 2), "sgd", lr=0.1).param_groups[1]["weight_decay"]
        0.0
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    settings: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov} if name == "sgd" else {}
    groups = parameter_groups(model, weight_decay)
    if scale_lr != 1.0:
        scales = quantizer_parameters(model)
        own = {"params": [p for group in groups for p in group["params"] if id(p) in scales], "lr": lr * scale_lr}
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) not in scales]
        groups = [group for group in (*groups, {**own, "weight_decay": 0.0}) if group["params"]]
    return OPTIMIZERS[name](groups, lr=lr, **settings)  # type: ignore[call-arg]
