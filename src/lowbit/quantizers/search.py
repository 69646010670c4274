"""Scales of least squared error: the alternation of units and scale that many weight methods share.

Given units, the best scale is sum(w u) / sum(u^2); given a scale, nearest units are best. Neither step raises the
squared error, so alternating them descends; it can stop in a local minimum, hence the starts. Everything works on
groups: w [groups, elements], scale [groups].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lowbit.quantizers.ste import sign

Units = Callable[[Tensor, Tensor], Tensor]
"""(w [G, N], scale [G, 1]) -> nearest integer units [G, N]; must accept a scale of 0."""


def divided(x: Tensor, scale: Tensor) -> Tensor:
    """x / scale, and x itself where the scale is 0: whatever its units are, their value is 0."""
    return x / torch.where(scale > 0, scale, 1.0)


def refined(w: Tensor, scale: Tensor, units: Units, weight: Tensor | None = None) -> Tensor:
    """The best scale for the units of the current one; the same scale where all units are 0.

    `weight` [G, N], if given, weighs the squared error of each element.
    """
    u = units(w, scale[:, None])
    weighed = u if weight is None else u * weight
    power = (u * weighed).sum(1)
    return torch.where(power > 0, (w * weighed).sum(1) / torch.where(power > 0, power, 1.0), scale).clamp_min(0)


def alternate(w: Tensor, scale: Tensor, units: Units, rounds: int = 100, weight: Tensor | None = None) -> Tensor:
    """Alternate units and scale until nothing changes, at most `rounds` times."""
    for _ in range(rounds):
        better = refined(w, scale, units, weight)
        if torch.equal(better, scale):
            break
        scale = better
    return scale


def squared_error(w: Tensor, scale: Tensor, units: Units, weight: Tensor | None = None) -> Tensor:
    """Sum of (weighed) squared errors of each group: [G]."""
    error = (units(w, scale[:, None]) * scale[:, None] - w) ** 2
    return (error if weight is None else error * weight).sum(1)


def best(w: Tensor, starts: Iterable[Tensor], units: Units, weight: Tensor | None = None) -> Tensor:
    """The start of least squared error in each group; the first of equal ones."""
    scale, error = None, None
    for start in starts:
        e = squared_error(w, start, units, weight)
        if scale is None or error is None:
            scale, error = start, e
        else:
            scale, error = torch.where(e < error, start, scale), torch.minimum(e, error)
    assert scale is not None
    return scale


def search(w: Tensor, limit: Tensor, units: Units, count: int = 200, weight: Tensor | None = None) -> Tensor:
    """Alternation from the best of `count` scales evenly spaced over (0, limit]. w float64 [G, N], limit [G]."""
    starts = (limit * (i / count) for i in range(1, count + 1))
    return alternate(w, best(w, starts, units, weight), units, weight=weight)


def exact_ternary(size: Tensor) -> Tensor:
    """Threshold of the ternary form of least squared error: the kept set maximises (sum of |w|)^2 / count.

    Args:
        size: |w|, float64 [G, N].

    Returns:
        [G, 1]; weights above it are kept.
    """
    ranked = size.sort(1, descending=True).values
    count = torch.arange(1, size.shape[1] + 1, device=size.device)
    chosen = (ranked.cumsum(1) ** 2 / count).argmax(1, keepdim=True)
    # every |w| above the next smaller one belongs to the set
    following = torch.cat([ranked[:, 1:], torch.zeros_like(ranked[:, :1])], 1)
    return following.gather(1, chosen)


def nearest(v: Tensor, sizes: tuple[int, ...], *, up: bool = False) -> Tensor:
    """Nearest of the levels +-sizes; a middle takes the smaller size, or the larger one if `up`; sgn(0) = +1.

    Args:
        v: values in units of the scale, any shape.
        sizes: |level| in ascending order, 0 among them where it is a level.
    """
    size = torch.tensor(sizes, dtype=v.dtype, device=v.device)
    chosen = size[torch.bucketize(v.abs().contiguous(), (size[1:] + size[:-1]) / 2, right=up)]
    return chosen * sign(v) + 0.0  # codes carry no sign of zero
