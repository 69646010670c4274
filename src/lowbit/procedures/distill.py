"""Distillation: the low-bit network learns the answers of its own float form.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2; share and temperature are choices
of this library. The teacher is the float network that the training starts from, in eval mode.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Procedure, Run


def divergence(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / T), softmax(student / T)) in nats, mean over the rows.

    Args:
        student: logits [N, classes]; gradients go here.
        teacher: logits [N, classes].
        temperature: T, above 0.

    Example:
        >>> round(float(divergence(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))), 4)
        0.4338
    """
    return F.kl_div(
        F.log_softmax(student / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )


class Distill(Procedure):
    """loss = (1 - lam) * cross-entropy + lam * T^2 * KL(teacher / T, student / T).

    T^2 keeps the gradient of the second term, which shrinks as 1 / T^2, at the size of the first.

    Args:
        lam: share of the teacher, 0 to 1.
        temperature: T, above 0.

    Attributes:
        teacher: float network in eval mode; `before_prepare` copies it, a loop of one's own may set another.

    Raises:
        InvalidInput: a setting is out of range; in `start`, there is no teacher.

    Example:
        >>> Distill(lam=0.5).temperature
        4.0
    """

    name = "distill"
    needs_float_start = True

    def __init__(self, lam: float = 0.9, temperature: float = 4.0) -> None:
        if not 0 <= lam <= 1 or not temperature > 0:
            raise InvalidInput(
                f"distill: lam is {lam}, temperature {temperature}; allowed are lam from 0 to 1, temperature above 0"
            )
        self.lam, self.temperature = lam, temperature
        self.teacher: nn.Module | None = None

    def before_prepare(self, model: nn.Module) -> None:
        """Copy the float network."""
        self.teacher = copy.deepcopy(model)

    def start(self, run: Run) -> None:
        """Put the teacher where the model is."""
        if self.teacher is None:
            raise InvalidInput("distill: there is no teacher; call before_prepare(model) before lowbit.prepare(model)")
        device = next(run.model.parameters()).device
        self.teacher.to(device).eval().requires_grad_(False)

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """The mixture of both losses."""
        assert self.teacher is not None
        with torch.no_grad():
            answers = self.teacher(batch[0])
        far = divergence(output, answers, self.temperature)
        run.log("teacher_kl", far)
        return (1 - self.lam) * F.cross_entropy(output, batch[1]) + self.lam * self.temperature**2 * far
