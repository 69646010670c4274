"""How many weights change their sign from epoch to epoch: what binary weights do while they train.

A share that stays high means that weights rattle about 0, so that the learning rate is too large for them.
Own measure of this library; Helwegen et al., "Latent Weights Do Not Exist", 2019, call the cause of such flips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer
from lowbit.procedures.base import Modifier, Run


class SignFlips(Modifier):
    """Log, as `sign_flips`, the share (0 to 1) of quantized weights whose sign differs from the epoch before.

    Raises:
        InvalidInput: in `start`, where no layer has quantized weights.

    Example:
        >>> import torch
        >>> flipped(torch.tensor([True, False, True, True]), torch.tensor([1.0, -0.5, -2.0, 0.1]))
        0.25
    """

    name = "sign-flips"

    def check(self, run: Run) -> None:
        """Look for quantized weights."""
        if not _weights(run):
            raise InvalidInput("sign-flips: no layer has quantized weights; quantize weights, or leave it out")

    def start(self, run: Run) -> None:
        """Note the signs that the training begins with."""
        self.check(run)
        self._signs = {name: (weight >= 0).cpu() for name, weight in _weights(run).items()}

    def epoch_end(self, run: Run) -> None:
        """Compare with the epoch before."""
        weights = _weights(run)
        total = sum(weight.numel() for weight in weights.values())
        changed = sum(flipped(self._signs[name], weight) * weight.numel() for name, weight in weights.items())
        run.log("sign_flips", changed / total)
        self._signs = {name: (weight >= 0).cpu() for name, weight in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Signs at the end of the epoch."""
        return {"signs": dict(self._signs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the signs of the epoch before."""
        self._signs = dict(state["signs"])


def flipped(before: Tensor, weight: Tensor) -> float:
    """Share of weights whose sign is not `before` (bool, same shape, true from 0 on)."""
    return float((before != (weight >= 0).cpu()).double().mean())


def _weights(run: Run) -> dict[str, Tensor]:
    return {
        name: module.weight.detach()
        for name, module in run.model.named_modules()
        if isinstance(module, WeightLayer) and module.weight_quantizer is not None
    }
