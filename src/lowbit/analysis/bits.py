"""Bits for each tensor: the closed form of Lin et al., and greedy search over measured errors.

Source: Lin, Talathi, Annapureddy, "Fixed Point Quantization of Deep Convolutional Networks", 2016, Eq. 10-13.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lowbit.errors import InvalidInput

KAPPA = 5.0
"""Decibels a bit of Gaussian data."""
LEAST, MOST = 1, 16
Bits = dict[Any, int]
"""By tensor."""
Errors = Mapping[Any, Mapping[int, float]]
"""By tensor and its bits."""


def closed_form(counts: Sequence[int], target: float, kappa: float = KAPPA) -> list[float]:
    """Bits, not rounded, of least total size for an output SQNR.

    min sum counts_i bits_i, where sum 10^(-kappa bits_i / 10) = 10^(-target / 10):
    bits_i = (10 / kappa) log10(sum counts / (C counts_i)), C = 10^(-target / 10).

    Args:
        counts: elements of each tensor, at least 1.
        target: SQNR of the output, dB.
        kappa: decibels that a bit is worth.

    Example:
        >>> [round(bits, 4) for bits in closed_form([1000, 8000, 1000], 20.0)]
        [6.0, 4.1938, 6.0]
    """
    if not counts or min(counts) < 1 or not kappa > 0:
        raise InvalidInput(f"counts {list(counts)} and kappa {kappa}: give counts from 1, and kappa above 0")
    total = sum(counts)
    return [10 / kappa * (math.log10(total / count) + target / 10) for count in counts]


def rounded_up(bits: Sequence[float]) -> list[int]:
    """Whole bits that are enough, 1 to 16.

    Example:
        >>> rounded_up([6.0, 4.1938, 0.2, 30.0])
        [6, 5, 1, 16]
    """
    return [min(MOST, max(LEAST, math.ceil(value - 1e-9))) for value in bits]


def within_cost(errors: Errors, cost: Callable[[Bits], float], limit: float) -> Bits:
    """Bits of small total error that cost at most `limit`.

    All tensors start at their most bits; the step down with the least new error for the cost that it saves is taken
    until the limit holds, then steps up that still fit are taken back, those that spare most error first.

    Args:
        errors: for each tensor the error that it alone causes, by its bits.
        cost: of bits for all tensors.
        limit: of the cost.

    Raises:
        InvalidInput: the fewest bits cost more than the limit.

    Example:
        >>> errors = {"a": {2: 0.4, 4: 0.1}, "b": {2: 0.05, 4: 0.01}}
        >>> within_cost(errors, lambda bits: sum(bits.values()), 6)
        {'a': 4, 'b': 2}
    """
    least = cost({tensor: min(known) for tensor, known in errors.items()})
    if least > limit:
        raise InvalidInput(f"the budget is {limit:,.0f}, the fewest bits need {least:,.0f}; give at least that")
    at = {tensor: max(known) for tensor, known in errors.items()}
    while cost(at) > limit:
        at = _cheapest(errors, cost, at, list(_steps(errors, at, down=True)))
    while True:
        fit = [step for step in _steps(errors, at, down=False) if _gain(errors, at, *step) > 0
               and cost({**at, step[0]: step[1]}) <= limit]  # fmt: skip
        if not fit:
            return at
        tensor, bits = max(fit, key=lambda step: _gain(errors, at, *step))
        at = {**at, tensor: bits}


def within_error(errors: Errors, cost: Callable[[Bits], float], limit: float) -> Bits:
    """Bits of small cost whose errors sum up to at most `limit`: steps down while one of them is feasible.

    Raises:
        InvalidInput: the most bits have more error than the limit.

    Example:
        >>> errors = {"a": {2: 0.4, 4: 0.1}, "b": {2: 0.05, 4: 0.01}}
        >>> within_error(errors, lambda bits: sum(bits.values()), 0.2)
        {'a': 4, 'b': 2}
    """
    at = {tensor: max(known) for tensor, known in errors.items()}
    total = sum(errors[tensor][bits] for tensor, bits in at.items())
    if total > limit:
        raise InvalidInput(f"the target allows an error of {limit:.3g}, the most bits have {total:.3g}; aim lower")
    while steps := [step for step in _steps(errors, at, down=True) if total - _gain(errors, at, *step) <= limit]:
        at = _cheapest(errors, cost, at, steps)
        total = sum(errors[tensor][bits] for tensor, bits in at.items())
    return at


def _steps(errors: Errors, at: Bits, *, down: bool) -> Iterator[tuple[Any, int]]:
    for tensor, now in at.items():
        yield from ((tensor, bits) for bits in errors[tensor] if (bits < now if down else bits > now))


def _gain(errors: Errors, at: Bits, tensor: Any, bits: int) -> float:
    """Error that the step takes away."""
    return errors[tensor][at[tensor]] - errors[tensor][bits]


def _cheapest(errors: Errors, cost: Callable[[Bits], float], at: Bits, steps: list[tuple[Any, int]]) -> Bits:
    """After the step with the least new error for the cost that it saves."""
    now = cost(at)

    def price(step: tuple[Any, int]) -> float:
        saved = now - cost({**at, step[0]: step[1]})
        return -_gain(errors, at, *step) / saved if saved > 0 else math.inf

    tensor, bits = min(steps, key=price)
    return {**at, tensor: bits}
