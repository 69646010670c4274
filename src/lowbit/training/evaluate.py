"""Accuracy of a network, or of a program's runtime, on labelled data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lowbit.quantizers.base import Quantizer

EVAL_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Score:
    """What an evaluation found: mean cross-entropy, percent right, and how many of how many."""

    loss: float
    correct: int
    count: int
    soft_accuracy: float | None = None
    """Percent with the levels that training uses, where they differ and it was asked for."""

    @property
    def accuracy(self) -> float:
        """Percent, 0 to 100."""
        return 100 * self.correct / max(self.count, 1)


def logits(model: nn.Module, x: Tensor, batch: int = EVAL_BATCH, *, soft: bool = False) -> Tensor:
    """Outputs of the model in eval mode, float32 [N, classes] on the CPU; the mode is put back.

    Args:
        model: in eval mode a prepared model computes on integers, as its file will.
        x: inputs [N, ...] on any device.
        batch: inputs at a time.
        soft: quantizers that train with values off their grid (`Quantizer.mixes`) use these; the rest is as in eval.

    Example:
        >>> logits(nn.Linear(2, 3), torch.zeros(5, 2)).shape
        torch.Size([5, 3])
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    training = {name: module.training for name, module in model.named_modules()}
    model.eval()
    for module in model.modules():
        if soft and isinstance(module, Quantizer) and module.mixes:
            module.train()
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


def evaluate(model: nn.Module, x: Tensor, y: Tensor, batch: int = EVAL_BATCH, *, soft: bool = False) -> Score:
    """Score a model in eval mode; `soft` adds the accuracy of its soft quantizers as they are in training.

    Example:
        >>> evaluate(nn.Linear(2, 3), torch.zeros(5, 2), torch.zeros(5, dtype=torch.long)).count
        5
    """
    found = score(logits(model, x, batch), y)
    return replace(found, soft_accuracy=score(logits(model, x, batch, soft=True), y).accuracy) if soft else found


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
