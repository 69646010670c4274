"""Retraining with steps that follow the weights, and gradually fewer bits.

Source: Shin, Boo, Sung 2017, "Fixed-point Optimization of Deep Neural Networks with Adaptive Step Size Retraining".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Run
from lowbit.procedures.output_error import l2_layers
from lowbit.procedures.progressive import Progressive
from lowbit.procedures.retrain import Retrain
from lowbit.quantizers.l2 import L2, AdaptiveL2


class _Gradual(Progressive):
    """Stages of weights alone."""

    name = "shin"
    roles = ("weight",)


class Shin(Retrain):
    """Retrain with l2 steps that are estimated again from the float weights, by at most three alternations each time.

    Args:
        interval: optimizer steps between estimates; None: an epoch.
        gradual: whether weights go through 8, 6, 4, 3, 2 bits down to their own, in stages of equal length, each of
            which begins with a full search; a list gives other bits.

    Raises:
        InvalidInput: a setting is out of range; in `start`, no layer has weights by l2, some have adaptive-l2, or the
            optimizer decays weights.

    Example:
        >>> Shin(interval=100).gradual
        False
    """

    name = "shin"
    needs_method = "l2"

    def __init__(self, interval: int | None = None, gradual: bool | Sequence[int] = False) -> None:
        if interval is not None and (isinstance(interval, bool) or not isinstance(interval, int) or interval < 1):
            raise InvalidInput(f"shin: interval is {interval}, allowed are whole numbers of steps from 1, or null")
        self.interval, self.gradual = interval, gradual
        self._stages = None if gradual is False else _Gradual(None if gradual is True else gradual)

    def check(self, run: Run) -> None:
        """Look at the weights, beside what retraining asks."""
        super().check(run)
        found = l2_layers(run.model)
        if not found:
            raise InvalidInput("shin: no layer has weights by l2; prepare it with weight='l2:3'")
        for name, layer in found.items():
            if isinstance(layer.weight_quantizer, AdaptiveL2):
                raise InvalidInput(f"shin: {name} has adaptive-l2, which follows its weights by itself; use l2")
        if self._stages:
            self._stages.check(run)

    def start(self, run: Run) -> None:
        """Begin with the first stage."""
        super().start(run)
        if self._stages:
            self._stages.start(run)

    def epoch_start(self, run: Run) -> None:
        """Enter the stage that the epoch belongs to."""
        if self._stages:
            self._stages.epoch_start(run)

    def after_step(self, run: Run) -> None:
        """Estimate the steps where it is time."""
        if self.interval and run.step % self.interval == 0:
            self._follow(run)

    def epoch_end(self, run: Run) -> None:
        """Estimate the steps once an epoch."""
        if not self.interval:
            self._follow(run)

    def state_dict(self) -> dict[str, Any]:
        """That of the stages."""
        return self._stages.state_dict() if self._stages else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        if self._stages:
            self._stages.load_state_dict(state)

    @torch.no_grad()
    def _follow(self, run: Run) -> None:
        # looked for each time: a stage puts other quantizers in their places
        for layer in l2_layers(run.model).values():
            assert isinstance(layer.weight_quantizer, L2)
            layer.weight_quantizer.step.copy_(layer.weight_quantizer.nearer(layer.weight))
