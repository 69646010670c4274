"""Accuracy of a network, or of a program's runtime, on labelled data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

EVAL_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an evaluation found: mean cross-entropy, percent right, and how many of how many."""

    loss: float
    correct: int
    count: int

    @property
    def accuracy(self) -> float:
        """Percent, 0 to 100."""
        return 100 * self.correct / max(self.count, 1)


def logits(model: nn.Module, x: Tensor, batch: int = EVAL_BATCH) -> Tensor:
    """Outputs of the model in eval mode, float32 [N, classes] on the CPU; the mode is put back.

    Args:
        model: in eval mode a prepared model computes on integers, as its file will.
        x: inputs [N, ...] on any device.
        batch: inputs at a time.

    Example:
        >>> logits(nn.Linear(2, 3), torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = {name: module.training for name, module in model.named_modules()}
    model.eval()
    try:
        with torch.no_grad():
            parts = [model(part.to(device)).cpu() for part in x.split(batch)]
    finally:
        for name, module in model.named_modules():
            module.training = training[name]
    return torch.cat(parts)


def score(output: Tensor, y: Tensor) -> Score:
    """Score logits [N, classes] against labels [N]."""
    return Score(
        loss=float(F.cross_entropy(output.double(), y)),
        correct=int((output.argmax(1) == y).sum()),
        count=len(y),
    )


def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch: int = EVAL_BATCH) -> Score:
    """Score a model in eval mode.

    Example:
        >>> evaluate(nn.Linear(2, 3), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long)).count
        5
    """
    return score(logits(model, x, batch), y)


def run_batches(run: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any], batch: int = EVAL_BATCH) -> NDArray[Any]:
    """Outputs of a runtime over x [N, ...], `batch` inputs at a time."""
    return np.concatenate([run(x[start : start + batch]) for start in range(0, len(x), batch)])


def agreement(ours: NDArray[Any], reference: NDArray[Any]) -> float:
    """Share of rows whose every float32 is the same, bit for bit.

    Example:
        >>> a = np.zeros((2, 3), np.float32)
        >>> agreement(a, np.where([[1], [0]], np.float32(-0.0), a))
        0.5
    """
    same = np.ascontiguousarray(ours).view(np.uint32) == np.ascontiguousarray(reference).view(np.uint32)
    return float(same.reshape(len(same), -1).all(axis=1).mean())
