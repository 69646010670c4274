"""Straight-through estimators by name: what stands for the derivative dq/dx of a quantizer, which is 0 or undefined.

Any method takes one in place of the gradient of its card: ``{method: sign, ste: poly}``, or with a setting
``{method: sign, ste: {name: tanh, slope: 2}}``. Only the gradient of x changes; trained scales keep theirs.

Sources: Bengio et al. 2013 (identity); Courbariaux et al. 2016 (htanh); Liu et al., "Bi-Real Net", 2018 (poly);
Cao et al., "HashNet", 2017 (tanh, whose slope grows while training). A survey prints the gradient of htanh as r
instead of 1, which vanishes at 0 and turns around below it, and that of a saturated ReLU as 1 where |x| < 1, which is
1 for negative x too; both are corrected here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.errors import unknown

Slope = Callable[[Tensor], Tensor]
"""dq/dx at x, same shape."""


def identity() -> Slope:
    """1."""
    return torch.ones_like


def clipped(low: float = -1.0, high: float = 1.0) -> Slope:
    """1 where low <= x <= high, else 0."""
    if not low < high:
        raise ValueError(f"clipped takes low < high, got {low} and {high}")
    return lambda x: ((x >= low) & (x <= high)).to(x.dtype)


def htanh() -> Slope:
    """1 where |x| <= 1, else 0: the derivative of the hard tanh."""
    return clipped(-1.0, 1.0)


def sat_relu(top: float = 1.0) -> Slope:
    """1 where 0 < x < top, else 0: the derivative of min(relu(x), top)."""
    if not top > 0:
        raise ValueError(f"sat_relu takes a top above 0, got {top}")
    return lambda x: ((x > 0) & (x < top)).to(x.dtype)


def poly() -> Slope:
    """2 - 2 |x| where |x| < 1, else 0: the derivative of a parabola on each side of 0."""
    return lambda x: (2 - 2 * x.abs()).clamp_min(0)


def tanh(slope: float = 1.0) -> Slope:
    """slope * (1 - tanh(slope x)^2): the derivative of tanh(slope x), which nears the sign as the slope grows."""
    if not slope > 0:
        raise ValueError(f"tanh takes a slope above 0, got {slope}")
    return lambda x: slope * (1 - torch.tanh(slope * x) ** 2)


SURROGATES: Mapping[str, Callable[..., Slope]] = {
    "identity": identity, "clipped": clipped, "htanh": htanh, "sat_relu": sat_relu, "poly": poly, "tanh": tanh,
}  # fmt: skip


class Surrogate:
    """A named slope with its settings; pickles and copies as those.

    Example:
        >>> Surrogate("poly").slope(torch.tensor([-1.5, 0.25])).tolist()
        [0.0, 1.5]
    """

    def __init__(self, name: str, **settings: float) -> None:
        self.name, self.settings = name, settings
        self.slope = SURROGATES[name](**settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.name, self.settings)

    def __str__(self) -> str:
        return self.name + (f"({', '.join(f'{k}={v:g}' for k, v in self.settings.items())})" if self.settings else "")


def _again(name: str, settings: Mapping[str, float]) -> Surrogate:
    return Surrogate(name, **settings)


def surrogate(given: str | Mapping[str, Any] | Surrogate | None) -> Surrogate | None:
    """Read the option `ste` of a method: a name, a mapping with `name` and settings, or None for the method's own.

    Raises:
        UnknownName: for an unknown name or setting, with the nearest known one.
        ValueError: for a setting out of its range.

    Example:
        >>> str(surrogate({"name": "tanh", "slope": 2}))
        'tanh(slope=2)'
    """
    if given is None or isinstance(given, Surrogate):
        return given
    settings = dict(given) if isinstance(given, Mapping) else {"name": given}
    if "name" not in settings:
        raise ValueError(f"ste {settings} names no straight-through estimator; write {{'name': 'tanh', 'slope': 2}}")
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in SURROGATES:
        raise unknown("straight-through estimator (ste)", name, SURROGATES)
    known = list(inspect.signature(SURROGATES[name]).parameters)
    for key, value in settings.items():
        if key not in known:
            raise unknown(f"setting of ste {name!r}", key, known)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"ste {name!r}: {key} is {value!r}, allowed is a number")
    return Surrogate(name, **settings)


class Slopes(Function):
    """`value` forward; backward g * slope(x) to x, and g to the value, through which trained scales get theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Slope) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return value.view_as(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return grad * ctx.slope(ctx.saved_tensors[0]), grad, None
