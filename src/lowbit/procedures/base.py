"""The contract of training procedures: how a network gets to its numbers.

A procedure is a plain object with hooks. `lowbit train` calls them from Lightning, a hand-written loop calls
them itself (`examples/plain_loop.py`):

    start(run)                      once, before the first step, also of a resumed training
    loss(run, batch, output)        each step: what is minimised
    after_backward(run)             each step: gradients are there, the optimizer has not moved
    after_step(run)                 each step: the optimizer has moved, run.step counts the step
    epoch_end(run)                  each epoch; after the last one the network must be hard (on its grids)
    state_dict / load_state_dict    what must survive an interruption; loading comes after start
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Figure = float | int


@dataclass(kw_only=True)
class Run:
    """What a procedure sees of the training it takes part in.

    Attributes:
        model: the network that is trained.
        optimizer: that moves its parameters.
        epoch: number of the epoch, from 0.
        step: optimizer steps taken, from 0.
        steps_total: steps of the whole training.
        figures: what `log` was given since the last epoch ended, by name.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    steps_total: int = 0
    figures: dict[str, Figure] = field(default_factory=dict)

    def log(self, name: str, value: Figure | Tensor) -> None:
        """Show a figure beside the progress bar and keep its last value of the epoch in the log.

        Args:
            name: a column of the log; the same names must be logged in every epoch.
            value: a number, or a tensor with one element.
        """
        self.figures[name] = value.item() if isinstance(value, Tensor) else value

    @property
    def progress(self) -> float:
        """Share of all steps taken, 0 to 1."""
        return self.step / self.steps_total if self.steps_total else 0.0


class Procedure:
    """The plain procedure: cross-entropy, nothing else. Others override what they need.

    Attributes:
        name: as recipes write it.
        needs_float_start: whether it continues a trained float network and is refused without one.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> run = Run(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps_total=1)
        >>> batch = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
        >>> procedure = Procedure()
        >>> procedure.start(run)
        >>> procedure.loss(run, batch, model(batch[0])).backward()
    """

    name = "plain"
    needs_float_start = False

    def start(self, run: Run) -> None:
        """Look at the model once, before the first step."""

    def loss(self, run: Run, batch: tuple[Tensor, Tensor], output: Tensor) -> Tensor:
        """What the step minimises: a scalar.

        Args:
            run: the training.
            batch: inputs [N, ...] and integer labels [N].
            output: what the model made of the inputs, [N, classes].
        """
        return F.cross_entropy(output, batch[1])

    def after_backward(self, run: Run) -> None:
        """Change gradients before the optimizer uses them."""

    def after_step(self, run: Run) -> None:
        """Change weights after the optimizer has moved them."""

    def epoch_end(self, run: Run) -> None:
        """Act once an epoch, before it is evaluated and saved."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings that a resumed training needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
