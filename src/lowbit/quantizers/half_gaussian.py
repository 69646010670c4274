"""The best levels for the positive half of a standard Gaussian, evenly spaced or not, which hwgq uses."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

STEPS = {
    False: {1: 0.798, 2: 0.538, 3: 0.322, 4: 0.184},
    True: {1: 1.224, 2: 0.651, 3: 0.353, 4: 0.193},
}
"""zero_bin: bits: published step of least squared error for the positive half of N(0, 1)."""
UNIT = 127
"""The highest unit of `lloyd` levels: they fit a signed byte, and lie within half of 1/127 of their top."""


def _intervals(level: Tensor) -> tuple[Tensor, Tensor]:
    """Probability and first moment of N(0, 1) on the positive numbers that are nearest to each level."""
    edges = torch.cat([torch.zeros(1), (level[1:] + level[:-1]) / 2, torch.full((1,), torch.inf)]).double()
    density = torch.exp(-(edges**2) / 2) / (2 * torch.pi) ** 0.5
    return torch.special.ndtr(edges).diff(), -density.diff()


def half_gaussian_error(step: float, bits: int, zero_bin: bool) -> float:
    """Mean squared error of the quantizer on the positive half of N(0, 1), in closed form for each level."""
    level = step * torch.arange(0 if zero_bin else 1, 2**bits, dtype=torch.float64)
    mass, moment = _intervals(level)
    return float(1 + 2 * (level**2 @ mass) - 4 * (level @ moment))


@cache
def best_step(bits: int, zero_bin: bool) -> float:
    """The step of least squared error: as published up to 4 bits, found numerically above."""
    if bits in STEPS[zero_bin]:
        return STEPS[zero_bin][bits]
    from scipy.optimize import minimize_scalar  # here, since few need it and every import of lowbit would pay

    bounds = (1 / 2**bits, 8 / 2**bits)
    found = minimize_scalar(half_gaussian_error, bounds=bounds, args=(bits, zero_bin), method="bounded")
    return float(found.x)


@cache
def lloyd(bits: int, zero_bin: bool) -> tuple[float, tuple[int, ...]]:
    """Levels of least squared error for the positive half of N(0, 1), as (step, ascending units with a leading 0).

    Lloyd's alternation: borders midway between levels, levels at the means of their intervals, until nothing moves.
    """
    count = 2**bits - 1
    level = torch.linspace(0, 3, count + 1, dtype=torch.float64)[0 if zero_bin else 1 :]
    for _ in range(2000):
        mass, moment = _intervals(level)
        moved = moment / mass
        if zero_bin:
            moved[0] = 0.0
        if torch.equal(moved, level):
            break
        level = moved
    step = float(level[-1]) / UNIT
    units = [round(v / step) for v in level.tolist()]
    return step, tuple(units if zero_bin else [0, *units])
