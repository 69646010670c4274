"""Quantization Networks: soft steps that sharpen over three phases.

Source: Yang et al., "Quantization Networks", 2019, section 3.4 and 4.1: weights alone, then activations with the
quantizers of the weights fixed, then both; the temperature of the sigmoids grows linearly with the epochs.

The paper does not say how long the phases are, nor where the temperature starts in the later ones. Here they are
equally long by default, and a quantizer's temperature counts the epochs in which that quantizer was trained: it never
falls, and activations start as softly as weights did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any

from torch import Tensor, nn

from lowbit.calibrate import calibrate, quantizer_paths
from lowbit.errors import InvalidInput, LowbitError
from lowbit.layers import WeightLayer
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.places import places
from lowbit.quantizers.sigmoid import Sigmoid

HOLD = ("quantizers", "weights")
SAMPLES = 1000
"""Training inputs that activations are measured on when their phase begins, as in the paper."""
WEIGHTS, ACTIVATIONS, BOTH = 0, 1, 2


class QuantizationNetworks(Procedure):
    """Train the quantizers ``sigmoid`` of weights, then of activations, then both, at a rising temperature.

    A network in which only weights or only activations have them has one phase. While weights are trained alone, the
    quantizers of activations are switched off; when their phase begins they are calibrated anew on `SAMPLES` inputs of
    `run.batches`, where the run has those. After the last step all use hard steps.

    Args:
        temperature: T in the epoch n, from 1, of a quantizer's training is n times this; 5 to 40 in the paper.
        phases: relative lengths of the three phases, each at least 0 and the last above 0; each ends at an epoch's end.
        hold: what stands still in the second phase: the ``"quantizers"`` of weights, or the ``"weights"`` too.
        clip: largest L2 norm of all gradients together, or None.
        highest: T never exceeds it.

    Raises:
        InvalidInput: in `start`, where no layer uses sigmoid or the training has fewer epochs than phases.

    Example:
        >>> QuantizationNetworks(temperature=5).at(3)
        15.0
    """

    name = "quantization-networks"
    needs_method = "sigmoid"
    leaves_unused = True
    compares_soft = True

    def __init__(
        self,
        temperature: float = 10.0,
        phases: Sequence[float] = (1, 1, 1),
        hold: str = "quantizers",
        clip: float | None = 5.0,
        highest: float = 2000.0,
    ) -> None:
        if not temperature > 0 or not highest > 0 or (clip is not None and not clip > 0):
            raise InvalidInput(
                f"quantization-networks: temperature is {temperature}, highest {highest}, clip {clip}; "
                "allowed are numbers above 0"
            )
        if len(phases) != 3 or min(phases) < 0 or not phases[2] > 0:
            raise InvalidInput(
                f"quantization-networks: phases are {list(phases)}, allowed are three lengths from 0, the last above 0"
            )
        if hold not in HOLD:
            raise InvalidInput(f"quantization-networks: hold is {hold!r}, allowed are {', '.join(HOLD)}")
        self.factor, self.phases, self.hold = float(temperature), tuple(phases), hold
        self.clip, self.highest = clip, highest
        self.phase, self.epochs = WEIGHTS, {"weight": 1, "other": 1}

    def at(self, epoch: int) -> float:
        """T in an epoch, from 1, of a quantizer's training."""
        return min(self.factor * epoch, self.highest)

    def check(self, run: Run) -> None:
        """Look for quantizers and for epochs enough."""
        found = places(run.model, Sigmoid).values()
        if not found:
            raise InvalidInput("quantization-networks: no layer uses sigmoid; prepare it with weight='sigmoid:2'")
        if isinstance(run.batches, Sized) and len({q.role == "weight" for q in found}) == 2:
            epochs, needed = round(run.steps_total / len(run.batches)), sum(length > 0 for length in self.phases)
            if epochs < needed:
                raise InvalidInput(f"quantization-networks: {needed} phases need as many epochs, there are {epochs}")

    def start(self, run: Run) -> None:
        """Find the quantizers and enter the first phase."""
        self.check(run)
        found = places(run.model, Sigmoid).values()
        if run.step == 0:
            for quantizer in found:
                quantizer.ended.fill_(False)  # those of an earlier training were hardened at its end
        self._weights = [q for q in found if q.role == "weight"]
        self._others = [q for q in found if q.role != "weight"]
        self._held: list[Tensor] = [p for q in self._weights for p in q.parameters()]
        if self.hold == "weights":
            layers = [m for m in run.model.modules() if isinstance(m, WeightLayer)]
            self._held += [layer.weight for layer in layers if layer.weight_quantizer in self._weights]
        one_kind = not self._weights or not self._others
        self._ends = [0.0, 0.0] if one_kind else [sum(self.phases[: n + 1]) / sum(self.phases) for n in range(2)]
        self.phase, self.epochs = WEIGHTS, {"weight": 1, "other": 1}
        while self.phase < BOTH and self._ends[self.phase] <= 0:
            self.phase += 1
        self._apply()

    def after_backward(self, run: Run) -> None:
        """Let the held parameters stand still, and clip."""
        if self.phase == ACTIVATIONS:
            for parameter in self._held:
                parameter.grad = None  # optimizers leave such parameters alone, momentum and decay included
        if self.clip is not None:
            nn.utils.clip_grad_norm_(run.model.parameters(), self.clip)

    def after_step(self, run: Run) -> None:
        """After the last step, use hard steps."""
        if run.step == run.steps_total:
            self.phase = BOTH
            self._apply()
            for quantizer in (*self._weights, *self._others):
                quantizer.harden()

    def epoch_end(self, run: Run) -> None:
        """Raise the temperatures; enter the next phase where it is due.

        Raises:
            LowbitError: a scale has fallen below 0, which makes its layer 0 for good.
        """
        for name, quantizer in places(run.model, Sigmoid).items():
            # behind a BatchNorm the size of the scale changes nothing, so that it has no gradient to keep it up
            if float(quantizer.scale.detach()) < 0:
                raise LowbitError(
                    f"quantization-networks: the scale of {name} has fallen below 0, and its layer gives zeros since; "
                    "lower optimizer.lr, or use sgd, as the paper does: adam moves scales as fast as weights"
                )
        run.log("phase", self.phase + 1)
        for what, group in (("weight", self._weights), ("activation", self._others)):
            if group:
                run.log(f"temperature_{what}", group[0].temperature)
        if run.step >= run.steps_total:
            return
        self.epochs["weight"] += self.phase != ACTIVATIONS
        self.epochs["other"] += self.phase != WEIGHTS
        before = self.phase
        # an epoch's end is meant to lie on the boundary; steps are whole numbers, so compare with half a step's room
        while self.phase < BOTH and (run.step + 0.5) / run.steps_total >= self._ends[self.phase]:
            self.phase += 1
        if before == WEIGHTS and self.phase != WEIGHTS and run.batches is not None:
            others = {q for q in quantizer_paths(run.model) if q.role != "weight"}
            calibrate(run.model, first(run, SAMPLES), only=others)
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Phase, and epochs that each kind of quantizer was trained, counting the next one."""
        return {"phase": self.phase, **self.epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self.phase = int(state["phase"])
        self.epochs = {name: int(state[name]) for name in ("weight", "other")}
        self._apply()

    def _apply(self) -> None:
        """Switches and temperatures of the current phase."""
        for quantizer in self._weights:
            quantizer.enabled = True
            quantizer.temperature.fill_(self.at(max(1, self.epochs["weight"] - (self.phase == ACTIVATIONS))))
        for quantizer in self._others:
            quantizer.enabled = self.phase != WEIGHTS
            quantizer.temperature.fill_(self.at(self.epochs["other"]))


def first(run: Run, samples: int) -> Iterator[Tensor]:
    """Inputs of the first training batches that hold `samples` together, on the model's device."""
    assert run.batches is not None
    device = next(run.model.parameters()).device
    seen = 0
    for x, _ in run.batches:
        yield x.to(device)
        seen += len(x)
        if seen >= samples:
            return
