"""A procedure with its modifiers, as one procedure.

The hooks of the procedure come first, then those of each modifier in the order given. The loss is the procedure's
plus every modifier's penalty. State is kept by name. What cannot work together is refused when it is put together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Procedure, Run


class Combination(Procedure):
    """Several procedures in a row, made by `combine`.

    Attributes:
        parts: the procedure, then its modifiers.
    """

    name = "combination"

    def __init__(self, parts: Sequence[Procedure]) -> None:
        self.parts = tuple(parts)
        self.needs_float_start = any(part.needs_float_start for part in parts)
        self.leaves_unused = any(part.leaves_unused for part in parts)
        self.compares_soft = any(part.compares_soft for part in parts)
        self.trains = all(part.trains for part in parts)
        self.works_untrained = any(part.works_untrained for part in parts)
        self.owns = frozenset().union(*(part.owns for part in parts))

    def before_prepare(self, model: nn.Module) -> None:
        """Each part looks at the float network."""
        for part in self.parts:
            part.before_prepare(model)

    def check(self, run: Run) -> None:
        """Each part checks."""
        for part in self.parts:
            part.check(run)

    def start(self, run: Run) -> None:
        """Each part starts."""
        for part in self.parts:
            part.start(run)

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """The procedure's loss plus all penalties."""
        base, *modifiers = self.parts
        total = base.loss(run, batch, output)
        for modifier in modifiers:
            total = total + modifier.loss(run, batch, output)
        return total

    def epoch_start(self, run: Run) -> None:
        """Each part begins the epoch."""
        for part in self.parts:
            part.epoch_start(run)

    def after_backward(self, run: Run) -> None:
        """Each part changes gradients."""
        for part in self.parts:
            part.after_backward(run)

    def after_step(self, run: Run) -> None:
        """Each part changes weights."""
        for part in self.parts:
            part.after_step(run)

    def epoch_end(self, run: Run) -> None:
        """Each part ends the epoch."""
        for part in self.parts:
            part.epoch_end(run)

    def state_dict(self) -> dict[str, Any]:
        """State of the parts by their names."""
        return {part.name: part.state_dict() for part in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        for part in self.parts:
            part.load_state_dict(state[part.name])

    def report(self, model: nn.Module) -> dict[str, Any]:
        """Reports of all parts together."""
        return {key: value for part in self.parts for key, value in part.report(model).items()}


def combine(procedure: Procedure, modifiers: Sequence[Procedure] = ()) -> Procedure:
    """Put a procedure and modifiers together; without modifiers it is the procedure itself.

    Args:
        procedure: how the network is trained.
        modifiers: what goes beside it; their hooks are called after those of the procedure, in this order.

    Raises:
        InvalidInput: one is in the place of the other, a modifier is given twice, or two cannot work together.

    Example:
        >>> from lowbit.procedures.base import Modifier
        >>> type(combine(Procedure(), [Modifier()])).__name__
        'Combination'
    """
    if procedure.modifier:
        raise InvalidInput(
            f"{procedure.name} is a modifier and trains nothing alone; write `modifiers: [{procedure.name}]` "
            "beside a procedure"
        )
    for modifier in modifiers:
        if not modifier.modifier:
            raise InvalidInput(
                f"{modifier.name} is a procedure, of which a training has one; write `procedure: {modifier.name}`"
            )
    for first, second in combinations([procedure, *modifiers], 2):
        reason = clash(first, second)
        if reason:
            raise InvalidInput(reason)
    return Combination([procedure, *modifiers]) if modifiers else procedure


def clash(first: Procedure, second: Procedure) -> str | None:
    """Why two cannot work together in one sentence, or None."""
    if first.name == second.name:
        return f"{first.name} is given twice; keep one"
    for one, other in ((first, second), (second, first)):
        if other.name in one.excludes:
            return f"{one.name} and {other.name} cannot be combined: {one.excludes[other.name]}"
    both = first.owns & second.owns
    if both:
        return f"{first.name} and {second.name} cannot be combined: both set {' and '.join(sorted(both))}"
    return None
