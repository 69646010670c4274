"""Interleaved timing.

Absolute times drift by tens of percent on a shared machine within seconds. So the contenders take turns in short
rounds, a ratio is the median of the ratios within rounds, and the spread says how far to trust it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SAMPLE_SECONDS = 0.002
"""Length of one sample: long against the clock's resolution, short against the machine's drift."""
MIN_ROUNDS = 11
NOISY = 0.15
"""Spread above which a result is called noisy."""


@dataclass(frozen=True)
class Timing:
    """Times of one contender.

    Attributes:
        seconds: median time of one call.
        spread: distance of the quartiles over the median; 0 on a perfectly quiet machine.
        ratio: how many times the reference's time; median over rounds.
        ratio_low, ratio_high: its quartiles over rounds.
        rounds: samples taken.
        samples: seconds of one call in every round, for ratios to another reference.
    """

    seconds: float
    spread: float
    ratio: float
    rounds: int
    ratio_low: float = 1.0
    ratio_high: float = 1.0
    samples: tuple[float, ...] = ()

    @property
    def noisy(self) -> bool:
        """Whether the machine did other work meanwhile."""
        return self.spread > NOISY

    @property
    def decided(self) -> bool:
        """Whether three rounds of four agree which of the two is faster."""
        return not self.ratio_low <= 1 <= self.ratio_high

    def against(self, reference: Timing) -> Timing:
        """The same times, with ratios to another contender of the same rounds.

        Example:
            >>> found = interleave({"a": lambda: sum(range(100)), "b": lambda: sum(range(1000))}, seconds=0.1)
            >>> found["a"].against(found["b"]).ratio < 0.5
            True
        """
        return _timing(list(self.samples), list(reference.samples))


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    seconds: float = 1.0,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time calls that take turns.

    Args:
        contenders: calls by name; the first is the reference of the ratios.
        seconds: to spend on each, at least; rounds are at least 11.
        clock: of the samples, by default the clock on the wall. `time.process_time` does not count what other processes
            take of this core: for one thread on a busy machine.

    Example:
        >>> found = interleave({"a": lambda: sum(range(100)), "b": lambda: sum(range(1000))}, seconds=0.1)
        >>> found["a"].ratio, found["b"].ratio > 2
        (1.0, True)
    """
    clock = time.perf_counter if clock is None else clock
    repeats = {name: _repeats(call, clock) for name, call in contenders.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds * len(contenders)
        while len(next(iter(samples.values()))) < MIN_ROUNDS or time.perf_counter() < end:
            for name, call in contenders.items():
                samples[name].append(_time(call, repeats[name], clock))
    finally:
        if collecting:
            gc.enable()
    reference = next(iter(samples.values()))
    return {name: _timing(taken, reference) for name, taken in samples.items()}


def _repeats(call: Callable[[], object], clock: Callable[[], float]) -> int:
    """Calls that fill one sample, after warming up."""
    call()
    count = 1
    while (taken := _time(call, count, clock)) * count < SAMPLE_SECONDS:
        count = max(count + 1, min(8 * count, round(1.2 * SAMPLE_SECONDS / max(taken, 1e-9))))
    return count


def _time(call: Callable[[], object], count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        call()
    return (clock() - start) / count


def _timing(taken: list[float], reference: list[float]) -> Timing:
    low, middle, high = statistics.quantiles(taken, n=4)
    ratios = statistics.quantiles((a / b for a, b in zip(taken, reference, strict=True)), n=4)
    return Timing(
        seconds=middle, spread=(high - low) / middle, ratio=ratios[1], rounds=len(taken), ratio_low=ratios[0],
        ratio_high=ratios[2], samples=tuple(taken),
    )  # fmt: skip
