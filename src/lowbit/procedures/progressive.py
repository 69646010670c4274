"""Progressive bits: 8, 6, 4, 3, 2, each stage from the float weights of the last one.

Source: the gradual quantization of Shin, Boo, Sung 2017; the list of bits and equal stages are choices of this library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from lowbit.calibrate import calibrate, quantizer_paths
from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.stages import equal, require_epochs, stage
from lowbit.procedures.widths import inputs, set_widths
from lowbit.quantizers.base import Quantizer

LADDER = (8, 6, 4, 3, 2)
SAMPLES = 512
"""Training inputs that scales of activations are measured on."""


class Progressive(Procedure):
    """Lower the bits in stages of equal length; at each, scales are searched anew.

    A quantizer that the network was prepared with at n bits has max(n, stage's bits), within what its method can have:
    8-bit first and last layers stay as they are, and the last stage is the network as it was prepared.

    Args:
        bits: of the stages, falling; the last is the smallest width in the network. None: those of 8, 6, 4, 3, 2 above
            that width, then that width.

    Raises:
        InvalidInput: the bits do not fall; in `start`, they do not end at the network's smallest width, no quantizer
            can be wider, the run has no batches, or fewer epochs than stages.

    Example:
        >>> Progressive([4, 2]).bits
        (4, 2)
    """

    name = "progressive"
    roles: tuple[str, ...] = ("weight", "activation", "output")
    """Of the quantizers that take part."""

    def __init__(self, bits: Sequence[int] | None = None) -> None:
        whole = bits is None or all(isinstance(b, int) and not isinstance(b, bool) and 1 <= b <= 16 for b in bits)
        if not whole or (bits is not None and (not bits or any(a <= b for a, b in pairwise(bits)))):
            raise InvalidInput(f"{self.name}: bits are {bits}, allowed are falling whole numbers from 16 to 1")
        self.bits = None if bits is None else tuple(bits)

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """Note the widths that the network was prepared with."""
        self._run, self._stage = run, -1
        found = quantizer_paths(run.model)
        self._own = {_place(q, path): q.bits for q, path in found.items() if q.role in self.roles}
        smallest = min(self._own.values(), default=0)
        self._ladder = self.bits or (*(b for b in LADDER if b > smallest), smallest)
        if self._ladder[-1] != smallest:
            raise InvalidInput(
                f"{self.name}: the last of bits is {self._ladder[-1]}, the network's smallest width {smallest}; "
                "let them be equal"
            )
        if not any(self._width(q, 0) != q.bits for q in self._quantizers().values()):
            raise InvalidInput(
                f"{self.name}: no quantizer can have more than the bits it was prepared with; "
                f"prepare it with fewer than {self._ladder[0]} bits, and methods of several widths"
            )
        next(inputs(run, 1, self.name))
        require_epochs(self.name, run, len(self._ladder))

    def epoch_start(self, run: Run) -> None:
        """Enter the stage that the epoch belongs to, and measure what has changed."""
        due = stage(run, equal(len(self._ladder)))
        if due != self._stage:
            changed = self._enter(due)
            weights = {m.weight_quantizer: m.weight for m in run.model.modules() if isinstance(m, WeightLayer)}
            for quantizer in changed:
                for parameter in quantizer.parameters():
                    run.optimizer.state.pop(parameter, None)  # moments of another grid's scale
                if quantizer.role == "weight":
                    quantizer.calibrate(weights[quantizer].detach())
            measured = {q for q in changed if q.role != "weight"}
            if measured:
                calibrate(run.model, inputs(run, SAMPLES, self.name), only=measured)
        run.log("bits", self._ladder[self._stage])

    def state_dict(self) -> dict[str, Any]:
        """The stage of the last epoch."""
        return {"stage": self._stage}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give the quantizers the widths that their state is of."""
        self._enter(int(state["stage"]))

    def _quantizers(self) -> dict[str, Quantizer]:
        return {
            place: q for q, path in quantizer_paths(self._run.model).items() if (place := _place(q, path)) in self._own
        }

    def _width(self, quantizer: Quantizer, number: int) -> int:
        own = self._own[_place(quantizer, quantizer_paths(self._run.model)[quantizer])]
        return max(own, min(self._ladder[number], quantizer.card.max_bits))

    def _enter(self, number: int) -> list[Quantizer]:
        """Set the widths of a stage; gives the quantizers that changed."""
        if number > self._stage + 1 and self._stage >= 0:
            raise InvalidInput(
                f"{self.name}: stage {self._stage + 2} of {len(self._ladder)} got no epoch; train longer"
            )
        self._stage = number
        widths = {q: self._width(q, number) for q in self._quantizers().values()}
        return list(set_widths(self._run.model, widths).values())


def _place(quantizer: Quantizer, path: str) -> str:
    return f"{path}.{quantizer.role}"
