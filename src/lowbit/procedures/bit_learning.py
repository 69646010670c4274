"""Trained widths: bit-pruning and mixed precision under budgets.

Sources: Nikolić et al. 2020, "BitPruning: Learning Bitlengths" (penalty on the widths, rounding up, fine-tuning);
Uhlich et al. 2020, "Mixed Precision DNNs" (penalty on what exceeds a budget). How widths are rounded so that a budget
holds in the end is a choice of this library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Procedure, Run
from lowbit.procedures.learned_bits import Cost, current, learned, rounded_widths, shares, whole
from lowbit.procedures.stages import stage
from lowbit.quantizers.bitpruning import BitPruning

SHARES = ("tensors", "weights", "operations")


class BitLearning(Procedure):
    """Train weights and widths of bitpruning or dqdnn; then round the widths, freeze them, and train on.

    loss = CE + gamma * sum lam_i n_i + strength * sum max(0, cost / budget - 1)^2, costs at the unrounded widths n_i.
    When widths are rounded up and a budget does not hold, the one to which rounding added most gets one bit less, again
    and again, until it holds.

    Args:
        gamma: strength of the penalty on all widths, at least 0.
        share: lam_i, sum 1: equal for all ``"tensors"``, by ``"weights"`` of a layer, or by its ``"operations"``.
        size: budget for the weights in bytes, or None.
        operations: budget for bit operations of one input (products * weight bits * activation bits), or None.
        strength: of the penalty on what exceeds a budget.
        freeze_at: share of the epochs after which widths are rounded; 1 rounds after the last step.
        speed: widths of bitpruning move this many times as far as the optimizer moves them.
        widest: no width goes above it; programs hold up to 8 bits.

    Raises:
        InvalidInput: a setting is out of range, or nothing shrinks the bits; in `start`, no width is trained or a
            budget cannot be met.

    Example:
        >>> BitLearning(gamma=0.1).freeze_at
        0.75
    """

    name = "bit-learning"

    def __init__(
        self,
        gamma: float = 0.0,
        share: str = "tensors",
        size: float | None = None,
        operations: float | None = None,
        strength: float = 10.0,
        freeze_at: float = 0.75,
        speed: float = 30.0,
        widest: int = 8,
    ) -> None:
        budgets = [budget for budget in (size, operations) if budget is not None]
        if not gamma >= 0 or not strength > 0 or not speed > 0 or not all(budget > 0 for budget in budgets):
            raise InvalidInput(
                f"bit-learning: gamma is {gamma}, strength {strength}, speed {speed}, size {size}, operations "
                f"{operations}; allowed are gamma from 0 and others above 0"
            )
        if not 0 < freeze_at <= 1 or isinstance(widest, bool) or not isinstance(widest, int) or not 2 <= widest <= 16:
            raise InvalidInput(
                f"bit-learning: freeze_at is {freeze_at}, widest {widest}; allowed are freeze_at above 0, up to 1, and "
                "widest from 2 to 16"
            )
        if share not in SHARES:
            raise InvalidInput(f"bit-learning: share is {share!r}, allowed are {', '.join(SHARES)}")
        if not gamma and not budgets:
            raise InvalidInput("bit-learning: nothing shrinks the bits; give gamma above 0, size or operations")
        self.gamma, self.share, self.size, self.operations = gamma, share, size, operations
        self.strength, self.freeze_at, self.speed, self.widest = strength, freeze_at, speed, widest
        self._frozen = False

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """Find the widths, and see whether the budgets can be met."""
        self._learned = learned(run.model)
        if not self._learned:
            raise InvalidInput("bit-learning: no width is trained; prepare with weight='bitpruning:8' or 'dqdnn:4'")
        self._lam = shares(run.model, self.share)
        self._cost = Cost(run.model)
        self._parameters = [p for q in self._learned.values() for p in q.parameters()]
        self._widths = [q.width for q in self._learned.values() if isinstance(q, BitPruning)]
        rounded_widths(run.model, self.widest, self.size, self.operations)
        self._frozen = False

    def epoch_start(self, run: Run) -> None:
        """Round and freeze the widths where it is time."""
        if not self._frozen and stage(run, [self.freeze_at]):
            self._freeze(run)

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """Cross-entropy and the penalties on widths."""
        loss = super().loss(run, batch, output)
        return loss if self._frozen else loss + self.penalty().to(loss)

    def penalty(self) -> Tensor:
        """gamma * sum lam_i n_i + strength * sum max(0, cost / budget - 1)^2, float64."""
        total = torch.zeros((), dtype=torch.float64)
        if self.gamma:
            total = total + self.gamma * sum(lam * q.smooth_bits().double().cpu() for q, lam in self._lam.items())
        for budget, cost in ((self.size, self._cost.size), (self.operations, self._cost.operations)):
            if budget is not None:
                total = total + self.strength * (cost(current) / budget - 1).clamp_min(0).square()
        return total

    def after_backward(self, run: Run) -> None:
        """Frozen widths get no gradient; others are noted before they move."""
        if self._frozen:
            for parameter in self._parameters:
                parameter.grad = None  # optimizers leave such parameters alone, momentum included
        else:
            self._before = [width.detach().clone() for width in self._widths]

    @torch.no_grad()
    def after_step(self, run: Run) -> None:
        """Move the widths as far as `speed` says, within their bounds."""
        if not self._frozen:
            for width, before in zip(self._widths, self._before, strict=True):
                width.copy_((before + self.speed * (width - before)).clamp(1, self.widest))

    def epoch_end(self, run: Run) -> None:
        """Log widths and costs; after the last step all widths are whole."""
        if run.step >= run.steps_total and not self._frozen:
            self._freeze(run)
        for role in ("weight", "activation"):
            widths = [float(q.smooth_bits().detach()) for q in self._learned.values() if q.role == role]
            if widths:
                run.log(f"bits_{role}", sum(widths) / len(widths))
        run.log("size", float(self._cost.size(current).detach()))
        if all(layer.products is not None for layer in self._cost.layers):
            run.log("operations", float(self._cost.operations(current).detach()))

    def state_dict(self) -> dict[str, Any]:
        """Whether the widths are frozen."""
        return {"frozen": self._frozen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._frozen = bool(state["frozen"])

    def report(self, model: nn.Module) -> dict[str, Any]:
        """The widths that were found, by layer and role."""
        return {"bits": {place: whole(q) for place, q in learned(model).items()}}

    def _freeze(self, run: Run) -> None:
        for q, bits in rounded_widths(run.model, self.widest, self.size, self.operations).items():
            q.set_bits(bits)
        self._frozen = True
