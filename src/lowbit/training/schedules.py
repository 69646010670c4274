"""Learning-rate schedules: the factor of the peak rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.optim.lr_scheduler import LambdaLR

from lowbit.errors import InvalidInput, unknown

Factor = Callable[[int], float]


def constant() -> Factor:
    """Always 1."""
    return lambda step: 1.0


def cosine(total: int) -> Factor:
    """Half a cosine from 1 at step 0 to 0 at step `total`.

    Example:
        >>> [round(cosine(4)(step), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, total) / max(total, 1)))


def steps(at: Sequence[int], factor: float = 0.1) -> Factor:
    """1, times `factor` from each of the given steps on.

    Example:
        >>> [round(steps([2, 3])(step), 3) for step in range(5)]
        [1.0, 1.0, 0.1, 0.01, 0.01]
    """
    return lambda step: factor ** sum(step >= place for place in at)


def warm_up(after: Factor, count: int) -> Factor:
    """Rise linearly over `count` steps, from 1 / count to 1, then follow `after` from its own step 0.

    Example:
        >>> [warm_up(constant(), 4)(step) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return lambda step: (step + 1) / count if step < count else after(step - count)


SCHEDULES = ("constant", "cosine", "steps")


def make_schedule(
    optimizer: torch.optim.Optimizer,
    name: str = "cosine",
    *,
    epochs: int,
    epoch_steps: int,
    warmup: float = 0.0,
    at: Sequence[float] = (),
    factor: float = 0.1,
) -> LambdaLR:
    """A scheduler that is stepped after every optimizer step.

    Args:
        optimizer: whose rates, as they are now, are the peaks.
        name: ``"cosine"`` (to 0 at the end), ``"steps"`` or ``"constant"``.
        epochs: of the whole training.
        epoch_steps: optimizer steps in one.
        warmup: epochs of linear rise before; they count as part of `epochs`.
        at: epochs at which ``"steps"`` multiplies by `factor`.
        factor: of ``"steps"``.

    Raises:
        UnknownName: there is no schedule of that name.
        InvalidInput: the warm-up does not fit into the epochs.

    Example:
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)
        >>> make_schedule(optimizer, epochs=3, epoch_steps=2, warmup=1).get_last_lr()
        [0.5]
    """
    rise = round(warmup * epoch_steps)
    total = epochs * epoch_steps
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    if rise and rise >= total:
        raise InvalidInput(
            f"schedule: warmup of {warmup:g} epochs in a training of {epochs}; use fewer (schedule.warmup=0)"
        )
    if name == "cosine":
        body = cosine(total - rise)
    elif name == "steps":
        body = steps([round(epoch * epoch_steps) - rise for epoch in at], factor)
    else:
        body = constant()
    return LambdaLR(optimizer, warm_up(body, rise) if rise else body)
