"""Binary-Relax: the share of the low-bit part of a mixture grows by a fixed schedule.

Source: Yin et al., "BinaryRelax", 2018, Eq. 5, and its use in "DNN Quantization with Attention", Eq. 8. With parts
``[Q, float]`` it is q = (omega Q + w) / (omega + 1); with K quantizers q = (omega Q_1 + Q_2 + ... + Q_K) / (omega +
K - 1), for K = 3 Eq. 8. omega grows by 2 % an epoch; in a second phase, the last fifth, Q_1 is used alone. DQA does not
mention that phase, but omega is 380 after 300 epochs, so without it the network would not be on its grid.
"""

from __future__ import annotations

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.places import places
from lowbit.quantizers.mixture import Mixture


class BinaryRelax(Procedure):
    """Raise the share of each mixture's first part, then use it alone.

    Args:
        omega: weight of the first part in epoch 0; each of the others has the weight 1. Above 0.
        growth: factor of omega from one epoch to the next, at least 1.
        hard_from: share of the steps from which the first part is used alone, above 0 and at most 1.
        reference_epochs: None lets omega grow by `growth` every epoch; a number lets a training of any length end at
            omega * growth ** reference_epochs, as one of that many epochs would (300 in the DQA paper).

    Raises (in `start`):
        InvalidInput: the network has no mixture, or one whose shares are learned or whose first part is the float.

    Example:
        >>> [round(BinaryRelax().at(epoch, 0.0), 4) for epoch in (0, 1, 2)]
        [1.0, 1.02, 1.0404]
    """

    name = "binary-relax"
    needs_method = "mixture"

    def __init__(
        self,
        omega: float = 1.0,
        growth: float = 1.02,
        hard_from: float = 0.8,
        reference_epochs: int | None = None,
    ) -> None:
        if not omega > 0 or not growth >= 1 or not 0 < hard_from <= 1:
            raise InvalidInput(
                f"binary-relax: omega is {omega}, growth {growth}, hard_from {hard_from}; allowed are omega above 0, "
                "growth from 1, hard_from above 0 and at most 1"
            )
        if reference_epochs is not None and not reference_epochs >= 1:
            raise InvalidInput(f"binary-relax: reference_epochs is {reference_epochs}, allowed are 1 or more, or none")
        self.omega, self.growth, self.hard_from, self.reference_epochs = omega, growth, hard_from, reference_epochs

    def at(self, epoch: int, progress: float) -> float:
        """omega in an epoch (from 0) that starts when `progress`, 0 to 1, of all steps were taken."""
        spent = epoch if self.reference_epochs is None else self.reference_epochs * progress
        return self.omega * self.growth**spent

    def check(self, run: Run) -> None:
        """Look at the mixtures."""
        mixtures = places(run.model, Mixture)
        if not mixtures:
            raise InvalidInput("binary-relax: the network has no mixture; prepare it with weight='mixture:2'")
        for name, mixture in mixtures.items():
            if mixture.alpha is not None:
                raise InvalidInput(f"binary-relax: {name} learns its shares; leave `learned` out, or use dqa")
            if mixture.parts[0] is None:
                raise InvalidInput(f"binary-relax: the first part of {name} is the float; list the quantizer first")

    def start(self, run: Run) -> None:
        """Set the shares of the first, or of a resumed, epoch."""
        self.check(run)
        self._mixtures = places(run.model, Mixture)
        self._share_out(run, run.epoch)
        self._end_if_due(run)

    def after_step(self, run: Run) -> None:
        """Enter the second phase."""
        self._end_if_due(run)

    def epoch_end(self, run: Run) -> None:
        """Set the shares of the next epoch."""
        soft = max(mixture.unfinished() for mixture in self._mixtures.values())
        run.log("omega", self._omega)
        run.log("soft", soft)
        self._share_out(run, run.epoch + 1)
        self._end_if_due(run)

    def _share_out(self, run: Run, epoch: int) -> None:
        self._omega = self.at(epoch, run.progress)
        for mixture in self._mixtures.values():
            mixture.share_out([self._omega] + [1.0] * (mixture.count - 1))

    def _end_if_due(self, run: Run) -> None:
        if run.step and run.progress >= self.hard_from:
            for mixture in self._mixtures.values():
                mixture.choose(0)
