"""DNN Quantization with Attention: a mixture whose shares are learned while a temperature falls.

Source: "DNN Quantization with Attention", section 3 and Algorithm 1. a = softmax(alpha / T) for each quantized
tensor, T(b) = T_0 psi^b over the batches b = 1 .. B down to T_B, and a penalty lambda g . a that favors narrow parts.

What the paper leaves open or contradicts, and what is done here:
- Algorithm 1 assigns alpha / std(alpha) to alpha in every step. ``alpha="project"`` does so, in place and without
  gradient; the others divide in the forward only.
- Eq. 7 sums over k != j with the number of quantizers in the denominator; read as (sum_{j != k} n_j) / (sum_j n_j).
  Fig. 2 uses weights proportional to 1 / n_k instead: ``init="inverse_bits"``.
- Eq. 6 divides the penalty by the number S of weights in the network, which makes it vanish in large ones, against
  the claim that lambda does not depend on size. ``norm="layer_share"`` multiplies by the layer's share of S instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Procedure, Run
from lowbit.procedures.places import places
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.mixture import Mixture, deviation

ALPHA = ("project", "detach", "in_graph", "none")
INIT = ("eq7", "inverse_bits")
NORM = ("network", "layer_share", "none")
FLOAT_BITS = 32


class DQA(Procedure):
    """Learn the attention of every mixture (``learned: true``) and leave one part of each.

    Args:
        strength: lambda of the penalty, at least 0; 1 to 30 in the paper for weights, 0.5 with activations.
        g: penalty of each part, ascending; None is 1, 4, 16, ..., four times as much from part to part.
        norm: of the penalty: ``"network"`` lambda / S (Eq. 6), ``"layer_share"`` lambda * S_l / S, recommended on small
            data, or ``"none"`` lambda. S_l are the weights that the tensor is or feeds; a tensor that feeds none
            counts as an average layer.
        init: of alpha, ``"eq7"`` or ``"inverse_bits"``.
        alpha: what is done with its standard deviation: ``"project"``, ``"detach"``, ``"in_graph"`` or ``"none"``.
        t_first, t_last: temperatures T_0 and T_B, above 0.

    Raises (in `start`):
        InvalidInput: the network has no mixture, or one whose shares are not learned, whose parts do not go from narrow
            to wide, or whose number of parts is not that of g.

    Example:
        >>> [round(DQA().temperature(b, 10), 6) for b in (5, 10)]
        [1.732051, 0.03]
    """

    name = "dqa"
    needs_method = "mixture"

    def __init__(
        self,
        strength: float = 5.0,
        g: Sequence[float] | None = None,
        norm: str = "network",
        init: str = "eq7",
        alpha: str = "project",
        t_first: float = 100.0,
        t_last: float = 0.03,
    ) -> None:
        for what, value, allowed in (("norm", norm, NORM), ("init", init, INIT), ("alpha", alpha, ALPHA)):
            if value not in allowed:
                raise InvalidInput(f"dqa: {what} is {value!r}, allowed are {', '.join(allowed)}")
        if not strength >= 0 or not t_first > 0 or not t_last > 0:
            raise InvalidInput(
                f"dqa: strength is {strength}, t_first {t_first}, t_last {t_last}; allowed are strength from 0 and "
                "temperatures above 0"
            )
        if g is not None and (len(g) == 0 or list(g) != sorted(g)):
            raise InvalidInput(f"dqa: g is {list(g)}, allowed are ascending penalties, one for each part")
        self.strength, self.norm, self.init, self.alpha = strength, norm, init, alpha
        self.g = None if g is None else [float(penalty) for penalty in g]
        self.t_first, self.t_last = t_first, t_last
        self._penalty, self._share = torch.zeros(()), torch.zeros(())

    def temperature(self, batch: int, batches: int) -> float:
        """T of a batch, from 1 to `batches`."""
        return self.t_first * (self.t_last / self.t_first) ** (batch / batches)

    def check(self, run: Run) -> None:
        """Look at the mixtures and the length of the training."""
        mixtures = places(run.model, Mixture)
        if not mixtures:
            raise InvalidInput("dqa: the network has no mixture; prepare it with {method: mixture, learned: true}")
        if not run.steps_total:
            raise InvalidInput("dqa: the temperature falls over the whole training; set steps_total of the Run")
        for name, mixture in mixtures.items():
            self._check(name, mixture)

    def start(self, run: Run) -> None:
        """Give alpha its first value, unless the training is resumed."""
        self.check(run)
        self._mixtures = places(run.model, Mixture)
        for mixture in self._mixtures.values():
            mixture.normalize = self.alpha if self.alpha in ("detach", "in_graph") else "none"
            if run.step == 0:
                assert mixture.alpha is not None
                with torch.no_grad():
                    mixture.alpha.copy_(torch.tensor(first_alpha(widths(mixture), self.init)))
        factors = penalty_factors(run.model, self._mixtures, self.norm)
        self._costs = {
            name: self.strength * factors[name] * torch.tensor(self.g or [4.0**k for k in range(mixture.count)])
            for name, mixture in self._mixtures.items()
        }
        self._cool(run)
        if run.step == 0:  # that of a checkpoint is projected already; doing it again would change its last bit
            self._project()

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """Cross-entropy plus the penalty of Eq. 6 of every mixture."""
        loss = super().loss(run, batch, output)
        penalty = torch.zeros_like(loss)
        for name, mixture in self._mixtures.items():
            shares = mixture.shares()
            penalty = penalty + (self._costs[name].to(shares) * shares).sum().to(loss)
        self._penalty, self._share = penalty.detach(), (penalty / loss).detach()
        return loss + penalty

    def after_step(self, run: Run) -> None:
        """Cool down; after the last step, leave the part of the largest attention alone."""
        run.log("temperature", self.temperature(max(run.step, 1), run.steps_total))
        if run.step < run.steps_total:
            self._cool(run)
            self._project()
            return
        self._log(run)
        for mixture in self._mixtures.values():
            mixture.train(mixture.training)  # looks which part has the largest share now
            mixture.harden()

    def epoch_end(self, run: Run) -> None:
        """Log attention, penalty and soft mass as they were at the epoch's last step."""
        if run.step < run.steps_total:
            self._log(run)

    def report(self, model: nn.Module) -> dict[str, Any]:
        """`chosen`, the part that is left in each place, and `wider_than_narrowest`, the places where it is not the
        narrowest."""
        found = places(model, Mixture)
        return {
            "chosen": {name: _label(mixture.hard) for name, mixture in found.items()},
            "wider_than_narrowest": [
                name for name, mixture in found.items() if mixture.hard.bits > min(widths(mixture))
            ],
        }

    def _check(self, name: str, mixture: Mixture) -> None:
        if mixture.alpha is None:
            raise InvalidInput(f"dqa: {name} has fixed shares; prepare it with `learned: true`, or use binary-relax")
        found = widths(mixture)
        if found != sorted(found):
            raise InvalidInput(f"dqa: the parts of {name} have {found} bits; list them from narrow to wide")
        if self.g is not None and len(self.g) != mixture.count:
            raise InvalidInput(
                f"dqa: g has {len(self.g)} penalties, {name} has {mixture.count} parts; give one for each"
            )

    def _cool(self, run: Run) -> None:
        """The temperature of the next step."""
        temperature = self.temperature(min(run.step + 1, run.steps_total), run.steps_total)
        for mixture in self._mixtures.values():
            mixture.temperature.fill_(temperature)

    @torch.no_grad()
    def _project(self) -> None:
        """alpha / std(alpha), as the next forward takes it."""
        for mixture in self._mixtures.values():
            if self.alpha == "project" and mixture.alpha is not None:
                mixture.alpha.div_(deviation(mixture.alpha))

    def _log(self, run: Run) -> None:
        run.log("penalty", self._penalty)
        run.log("penalty_share", self._share)
        softest = 0.0
        for name, mixture in self._mixtures.items():
            shares = mixture.shares().tolist()
            for k, share in enumerate(shares):
                run.log(f"attention/{name}/{k}", share)
            run.log(f"soft/{name}", 1 - max(shares))
            softest = max(softest, 1 - max(shares))
        run.log("soft", softest)


def widths(mixture: Mixture) -> list[int]:
    """Bits of each part; 32 for the float."""
    return [FLOAT_BITS if part is None else part.bits for part in mixture.parts]


def first_alpha(bits: Sequence[int], rule: str = "eq7") -> list[float]:
    """Initial alpha for parts of the given widths.

    Args:
        bits: of each part.
        rule: ``"eq7"``, the other parts' share of all bits, or ``"inverse_bits"``, 1 / n_k scaled to sum 1.

    Example:
        >>> first_alpha([2, 4, 8]) == [12 / 14, 10 / 14, 6 / 14]
        True
        >>> [round(7 * value, 6) for value in first_alpha([2, 4, 8], "inverse_bits")]
        [4.0, 2.0, 1.0]
    """
    if rule == "eq7":
        return [(sum(bits) - n) / sum(bits) for n in bits]
    return [1 / n / sum(1 / m for m in bits) for n in bits]


def penalty_factors(model: nn.Module, mixtures: dict[str, Mixture], norm: str) -> dict[str, float]:
    """What lambda is multiplied by for each mixture.

    Args:
        model: prepared.
        mixtures: by place.
        norm: ``"network"``, ``"layer_share"`` or ``"none"``.
    """
    layers = [m for m in model.modules() if isinstance(getattr(m, "weight", None), Tensor) and m.weight.ndim > 1]  # type: ignore[operator]
    sizes = {id(layer.weight): layer.weight.numel() for layer in layers}  # type: ignore[operator]
    total = sum(sizes.values())
    fed = {name: sum(_feeds(layer, mixture) for layer in layers) for name, mixture in mixtures.items()}
    if norm == "network":
        return dict.fromkeys(mixtures, 1 / total)
    if norm == "layer_share":
        return {name: size / total if size else 1 / len(layers) for name, size in fed.items()}
    return dict.fromkeys(mixtures, 1.0)


def _feeds(layer: nn.Module, quantizer: Quantizer) -> int:
    """Weights of the layer if it is one of the quantizer's readers, else 0."""
    readers = any(child is quantizer for child in layer.children())
    return layer.weight.numel() if readers else 0  # type: ignore[operator]


def _label(quantizer: Quantizer) -> str:
    return f"{quantizer.card.name}:{quantizer.bits}"
