"""Retraining: quantizers are put into a trained float network, which then goes on learning.

Source: Boo et al., Eq. 2-4: forward and backward with quantized weights and activations, the update goes to
the float weights, no weight decay.
"""

from __future__ import annotations

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Procedure, Run


class Retrain(Procedure):
    """Continue a trained float network with its quantizers on, without weight decay.

    Raises (in `start`):
        InvalidInput: the optimizer decays weights.
    """

    name = "retrain"
    needs_float_start = True

    def start(self, run: Run) -> None:
        """Check once more: the optimizer of a loop of one's own is only known here."""
        self.check(run)

    def check(self, run: Run) -> None:
        """Refuse weight decay, which pulls weights off levels that they have already learned."""
        decays = {group.get("weight_decay", 0.0) for group in run.optimizer.param_groups}
        if any(decays):
            raise InvalidInput(
                f"{self.name}: the optimizer has weight_decay {max(decays):g}; retraining goes without, use 0"
            )
