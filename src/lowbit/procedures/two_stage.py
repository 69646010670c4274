"""Two stages: activations are quantized first, over float weights; then both.

Own choice of this library: activations are what a network must get used to, and weights adapt to them more easily while
they are still free.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.stages import require_epochs, stage
from lowbit.quantizers.base import Quantizer


class TwoStage(Procedure):
    """Train with quantized activations and float weights, then with both quantized.

    Evaluation is hard in both stages. When weights are quantized, their scales are measured anew.

    Args:
        share: of the epochs, those of the first stage; it ends with the first epoch that ends at or after it.

    Raises:
        InvalidInput: the share is out of range; in `start`, nothing is quantized in one of the two, or there are fewer
            than two epochs.

    Example:
        >>> TwoStage(share=0.5).share
        0.5
    """

    name = "two-stage"
    leaves_unused = True

    def __init__(self, share: float = 1 / 3) -> None:
        if not 0 < share < 1:
            raise InvalidInput(f"two-stage: share is {share}, allowed are numbers between 0 and 1")
        self.share = share

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """Find the quantizers."""
        layers = [m for m in run.model.modules() if isinstance(m, WeightLayer)]
        self._weights = {q: layer.weight for layer in layers if (q := layer.weight_quantizer) is not None}
        others = [m for m in run.model.modules() if isinstance(m, Quantizer) and m.role in ("activation", "output")]
        if not self._weights or not others:
            missing = "activations" if self._weights else "weights"
            raise InvalidInput(f"two-stage: the network has no quantized {missing}, so there is one stage; use retrain")
        require_epochs(self.name, run, 2)

    def epoch_start(self, run: Run) -> None:
        """Let the weights be float in the first stage; measure them where the second begins."""
        first = stage(run, [self.share]) == 0
        for quantizer, weight in self._weights.items():
            if quantizer.relaxed and not first:
                quantizer.calibrate(weight.detach())
        self._relax(first)
        run.log("stage", 1 if first else 2)

    def state_dict(self) -> dict[str, Any]:
        """Whether the weights were float in the last epoch."""
        return {"relaxed": any(quantizer.relaxed for quantizer in self._weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._relax(bool(state["relaxed"]))

    def _relax(self, relaxed: bool) -> None:
        for quantizer in self._weights:
            quantizer.relaxed = relaxed
