"""Learned steps that training has pushed to zero or below, where they act as 1e-8 and seldom come back."""

from __future__ import annotations

from torch import nn

from lowbit.quantizers.base import Quantizer


def dead_steps(model: nn.Module) -> list[str]:
    """Paths of the learned scales, clips and slopes that are not above zero.

    Args:
        model: prepared.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(2, 2)), "lsq:4", "lsq:4", first="same", last="same")
        >>> _ = net[0].weight_quantizer.scale.data.fill_(-0.1)
        >>> dead_steps(net)
        ['0.weight_quantizer.scale']
    """
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, Quantizer)
        for name in module.must_be_positive
        if bool((getattr(module, name) <= 0).any())
    ]


def dead_line(paths: list[str]) -> str:
    """What a training says of them."""
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return (
        f"{paths[0]}{others}: trained to zero or below, acts as 1e-8 and leaves its tensor without levels; "
        "lower optimizer.scale_lr (0.1) or the learning rate"
    )
