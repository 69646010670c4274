"""Trainings in stages that begin where epochs begin."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Run


def stage(run: Run, ends: Sequence[float]) -> int:
    """The stage, from 0, that the next step belongs to.

    Args:
        run: the training.
        ends: where each stage but the last one ends, as shares of all steps, ascending.

    Example:
        >>> from torch import nn
        >>> run = Run(model=nn.Identity(), optimizer=None, step=4, steps_total=12)
        >>> stage(run, [1 / 3]), stage(run, [1 / 2])
        (1, 0)
    """
    # steps are whole numbers: half of one is room for the rounding of the shares
    return sum((run.step + 0.5) / max(run.steps_total, 1) >= end for end in ends)


def equal(count: int) -> list[float]:
    """Ends of stages of equal length.

    Example:
        >>> equal(4)
        [0.25, 0.5, 0.75]
    """
    return [(i + 1) / count for i in range(count - 1)]


def require_epochs(name: str, run: Run, needed: int) -> None:
    """Refuse a training with fewer epochs than stages, where its length is known.

    Raises:
        InvalidInput: naming the procedure and both numbers.
    """
    if isinstance(run.batches, Sized):
        epochs = round(run.steps_total / len(run.batches))
        if epochs < needed:
            raise InvalidInput(f"{name}: its {needed} stages need as many epochs, there are {epochs}")
