"""The contract of training procedures: how a network gets to its numbers.

A procedure is a plain object with hooks. `lowbit train` calls them from Lightning, a hand-written loop calls
them itself (`examples/plain_loop.py`):

    before_prepare(model)           once, with the float network before quantizers are put into it
    start(run)                      once, before the first step, also of a resumed training
    epoch_start(run)                each epoch, before its first step
    loss(run, batch, output)        each step: what is minimised
    after_backward(run)             each step: gradients are there, the optimizer has not moved
    after_step(run)                 each step: the optimizer has moved, run.step counts the step
    epoch_end(run)                  each epoch; after the last one the network must be hard (on its grids)
    state_dict / load_state_dict    what must survive an interruption; loading comes after start

A `Modifier` is a procedure that goes beside another one; `lowbit.procedures.combine` joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, Tensor]
Figure = float | int

LEARNING_RATE = "the learning rate"
"""What a procedure `owns` that sets the rates of the optimizer itself."""


@dataclass(kw_only=True)
class Run:
    """What a procedure sees of the training it takes part in.

    Attributes:
        model: the network that is trained.
        optimizer: that moves its parameters.
        epoch: number of the epoch, from 0.
        step: optimizer steps taken, from 0.
        steps_total: steps of the whole training.
        batches: training batches (inputs [N, ...], labels [N]) for what looks at data outside of steps; each iteration
            is one epoch. None where the loop gives none.
        figures: what `log` was given since the last epoch ended, by name.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    steps_total: int = 0
    batches: Iterable[Batch] | None = None
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
        needs_method: a method that the network must use somewhere, or None.
        modifier: whether it goes beside another procedure, see `Modifier`.
        owns: what no other part of a training may set, in words, e.g. `LEARNING_RATE`.
        excludes: names of procedures that cannot be combined with this one, and why.
        leaves_unused: whether parameters take no part in some forward passes; DistributedDataParallel then needs
            ``find_unused_parameters=True``.
        trains: whether it takes steps; recipes of one that does not have ``epochs: 0``.
        compares_soft: whether the accuracy with the levels that training uses is logged too, as `soft_accuracy`.
        works_untrained: whether `start` alone does something that ``epochs: 0`` wants.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> run = Run(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), steps_total=1)
        >>> batch = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
        >>> procedure = Procedure()
        >>> procedure.start(run)
        >>> procedure.loss(run, batch, model(batch[0])).backward()
    """

    name: ClassVar[str] = "plain"
    needs_float_start: bool = False
    needs_method: str | None = None
    modifier: ClassVar[bool] = False
    owns: frozenset[str] = frozenset()
    excludes: Mapping[str, str] = {}
    leaves_unused: bool = False
    trains: bool = True
    compares_soft: bool = False
    works_untrained: bool = False

    def before_prepare(self, model: nn.Module) -> None:
        """Look at the float network that the training starts from; copy what must outlast `lowbit.prepare`."""

    def check(self, run: Run) -> None:
        """Raise InvalidInput where this cannot work. Also called before a float training that goes first, on a network
        with fresh weights, so that nobody waits for a refusal."""

    def start(self, run: Run) -> None:
        """Look at the model once, before the first step; a resumed training has run.step > 0 and keeps its weights."""

    def epoch_start(self, run: Run) -> None:
        """Act once an epoch, before its first step."""

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
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

    def report(self, model: nn.Module) -> dict[str, Any]:
        """What the result of a training should say about the trained network, as JSON takes it."""
        return {}


class Modifier(Procedure):
    """Something that goes beside a procedure: the same hooks, but its `loss` is a penalty that is added.

    Example:
        >>> Modifier().loss(Run(model=nn.Linear(2, 2), optimizer=None), (None, None), torch.ones(4, 2))
        tensor(0.)
    """

    name = "nothing"
    modifier = True

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """The penalty: a scalar that is added to the procedure's loss, 0 by default."""
        return output.new_zeros(())
