"""Incremental network quantization: the largest weights freeze first, the rest makes up for them.

Source: Zhou et al. 2017, "Incremental Network Quantization", Algorithm 1 and section 2.2; fractions as in the paper's
five-bit networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.places import places
from lowbit.procedures.stages import equal, require_epochs, stage
from lowbit.quantizers.inq import INQ


def largest(weight: Tensor, frozen: Tensor, count: int) -> Tensor:
    """`frozen` with the largest |w| of the others added until `count` are frozen; ties by index.

    Args:
        weight: any shape.
        frozen: bool, same shape.
        count: weights to be frozen in the end.

    Example:
        >>> w = torch.tensor([0.5, -2.0, 2.0, -0.5])
        >>> largest(w, torch.zeros(4, dtype=torch.bool), 3).tolist()
        [True, True, True, False]
    """
    size = weight.detach().abs().flatten().masked_fill(frozen.flatten(), -1.0)
    order = size.argsort(descending=True, stable=True)
    chosen = frozen.flatten().clone()
    chosen[order[: max(count - int(chosen.sum()), 0)]] = True
    return chosen.view_as(frozen)


class INQTraining(Procedure):
    """Freeze growing fractions of each layer's weights at their powers of two and train the others as floats.

    A stage begins by freezing its fraction and trains what is left; stages are equally long. The last fraction, 1, is
    frozen after the last step. Frozen weights get no gradient and are put back whatever the optimizer does (momentum,
    decay). Evaluation is hard in between too.

    Args:
        fractions: accumulated shares of the weights, rising to 1.

    Raises:
        InvalidInput: the fractions do not rise to 1; in `start`, no layer has weights by inq, or there are fewer epochs
            than stages.

    Example:
        >>> INQTraining([0.5, 1]).fractions
        (0.5, 1)
    """

    name = "inq"
    needs_float_start = True
    needs_method = "inq"

    def __init__(self, fractions: Sequence[float] = (0.5, 0.75, 0.875, 1)) -> None:
        rising = len(fractions) > 1 and all(a < b for a, b in pairwise(fractions))
        if not rising or not fractions[0] > 0 or fractions[-1] != 1:
            raise InvalidInput(
                f"inq: fractions are {list(fractions)}, allowed are two or more rising numbers above 0 that end with 1"
            )
        self.fractions = tuple(fractions)

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """Find the weights; training uses them as they are from now on."""
        self._quantizers = places(run.model, INQ)
        if not self._quantizers:
            raise InvalidInput("inq: no layer has weights by inq; prepare it with weight='inq:5'")
        require_epochs(self.name, run, len(self.fractions) - 1)
        self._weights = {name: _weight(run, name) for name in self._quantizers}
        self._frozen = {name: torch.zeros_like(w, dtype=torch.bool) for name, w in self._weights.items()}
        self._levels: dict[str, Tensor] = {}
        for quantizer in self._quantizers.values():
            quantizer.relaxed = True

    def epoch_start(self, run: Run) -> None:
        """Freeze the fraction of the stage."""
        self._freeze(self.fractions[stage(run, equal(len(self.fractions) - 1))])
        frozen = sum(int(mask.sum()) for mask in self._frozen.values())
        run.log("frozen", frozen / sum(mask.numel() for mask in self._frozen.values()))

    def after_backward(self, run: Run) -> None:
        """Frozen weights get no gradient."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                weight.grad.masked_fill_(self._frozen[name], 0.0)

    @torch.no_grad()
    def after_step(self, run: Run) -> None:
        """Put frozen weights back: momentum and decay move them without a gradient."""
        for name, weight in self._weights.items():
            weight.copy_(torch.where(self._frozen[name], self._levels[name], weight))

    def epoch_end(self, run: Run) -> None:
        """After the last step, freeze the rest."""
        if run.step >= run.steps_total:
            self._freeze(1.0)
            for quantizer in self._quantizers.values():
                quantizer.relaxed = False

    def state_dict(self) -> dict[str, Any]:
        """Which weights are frozen, by layer; they have their levels."""
        return dict(self._frozen)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        for name, weight in self._weights.items():
            self._frozen[name] = state[name].to(weight.device)
            self._levels[name] = weight.detach().clone()

    @torch.no_grad()
    def _freeze(self, fraction: float) -> None:
        for name, weight in self._weights.items():
            before = self._frozen[name]
            count = int(fraction * weight.numel() + 0.5)
            if name in self._levels and int(before.sum()) >= count:
                continue
            after = largest(weight, before, count)
            quantizer = self._quantizers[name]
            training = quantizer.training
            weight.copy_(torch.where(after & ~before, quantizer.eval()(weight), weight))
            quantizer.train(training)
            self._frozen[name], self._levels[name] = after, weight.detach().clone()


def _weight(run: Run, place: str) -> Tensor:
    layer = run.model.get_submodule(place.rpartition(".")[0])
    assert isinstance(layer.weight, Tensor)
    return layer.weight
