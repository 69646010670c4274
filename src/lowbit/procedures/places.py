"""Where the quantizers of a model sit, by a name that a log can show."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from lowbit.calibrate import quantizer_paths
from lowbit.quantizers.base import Quantizer

Kind = TypeVar("Kind", bound=Quantizer)


def places(model: nn.Module, kind: type[Kind]) -> dict[str, Kind]:
    """The quantizers of one class by layer and role, in the model's order; a shared one under its first layer.

    Args:
        model: prepared.
        kind: of the quantizers.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(2, 2)), weight="mixture:2", first="same", last="same")
        >>> from lowbit.quantizers.mixture import Mixture
        >>> list(places(net, Mixture))
        ['0.weight']
    """
    return {
        f"{path}.{found.role}" if path else found.role: found
        for found, path in quantizer_paths(model).items()
        if isinstance(found, kind)
    }
