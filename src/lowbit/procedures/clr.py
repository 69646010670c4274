"""Discrete cyclical learning rate: five rates down and up again, eight plateaus a cycle.

Source: Boo et al., "Quantized Neural Networks: Characterization and Holistic Optimization", 4.2 and appendix B. The
text gives limits of 100 and 0.1 times the last rate, the appendix a base of "1e-4, 10x the last", which is 1e-4 itself;
only a base of ten times the last rate gives the 1e-3 to 1e-5 of its section 5.4. So the base is the optimizer's rate:
set it to ten times the last rate of the training that is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowbit.errors import InvalidInput
from lowbit.procedures.base import LEARNING_RATE, Modifier, Run

FACTORS = tuple(10.0 ** (-power / 2) for power in (0, 1, 2, 3, 4, 3, 2, 1))


class CyclicalRate(Modifier):
    """Set the rates of the optimizer to base * {1, .1^.5, .1, .1^1.5, .01, .1^1.5, .1, .1^.5}, again and again.

    Args:
        cycles: in the whole training, above 0; 5 in the paper.
        period: optimizer steps of one cycle in place of `cycles`, at least 8.

    Raises:
        InvalidInput: in `start`, where a cycle has fewer than 8 steps; while training, where something else sets the
            learning rate too.

    Example:
        >>> clr = CyclicalRate(period=8)
        >>> [float(f"{1e-3 * clr.factor(step, 40):.5g}") for step in range(6)]
        [0.001, 0.00031623, 0.0001, 3.1623e-05, 1e-05, 3.1623e-05]
    """

    name = "clr"
    owns = frozenset({LEARNING_RATE})

    def __init__(self, cycles: float = 5, period: int | None = None) -> None:
        if not cycles > 0:
            raise InvalidInput(f"clr: cycles is {cycles}, allowed are numbers above 0")
        if period is not None and not period >= len(FACTORS):
            raise InvalidInput(
                f"clr: period is {period} steps, allowed are {len(FACTORS)} or more: a cycle has 8 rates"
            )
        self.cycles, self.period = cycles, period
        self._bases: list[float] = []

    def factor(self, step: int, steps_total: int) -> float:
        """Of the base rate, for the optimizer step number `step`, from 0."""
        period = self.period or steps_total / self.cycles
        # the tiny part keeps a step that lies on a boundary from falling before it
        return FACTORS[int(len(FACTORS) * step / period + 1e-9) % len(FACTORS)]

    def check(self, run: Run) -> None:
        """Compare a cycle with the length of the training."""
        if (self.period or run.steps_total / self.cycles) < len(FACTORS):
            raise InvalidInput(
                f"clr: {self.cycles:g} cycles in {run.steps_total} steps leave a cycle fewer than {len(FACTORS)}, one "
                "for each rate; use fewer cycles or train longer"
            )

    def start(self, run: Run) -> None:
        """Take the optimizer's rates as the bases."""
        self.check(run)
        self._run = run
        self._bases = [float(group["lr"]) for group in run.optimizer.param_groups]
        self._set(run)

    def after_backward(self, run: Run) -> None:
        """Refuse a learning rate that something else has changed."""
        for group, rate in zip(run.optimizer.param_groups, self._rates, strict=True):
            if group["lr"] != rate:
                raise InvalidInput(
                    f"clr: the learning rate was set to {rate:g} and is {group['lr']:g}; something else changes it, "
                    "leave out that scheduler"
                )

    def after_step(self, run: Run) -> None:
        """Set the rate of the next step."""
        self._set(run)

    def epoch_end(self, run: Run) -> None:
        """Log the factor of the next step."""
        run.log("clr", self.factor(min(run.step, run.steps_total - 1), run.steps_total))

    def state_dict(self) -> dict[str, Any]:
        """The base rates: a resumed optimizer has those of the step before."""
        return {"bases": self._bases}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._bases = list(state["bases"])
        self._set(self._run)

    def _set(self, run: Run) -> None:
        factor = self.factor(min(run.step, run.steps_total - 1), run.steps_total)
        self._rates = [base * factor for base in self._bases]
        for group, rate in zip(run.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
