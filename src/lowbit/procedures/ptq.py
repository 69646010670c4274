"""Post-training quantization: scales and statistics from data, no gradient.

Own choice of this library, from common practice: scales by least squared error, then BatchNorm statistics of
the quantized network.
"""

from __future__ import annotations

from lowbit.calibrate import calibrate
from lowbit.errors import InvalidInput
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.bn_reestimate import norms, reestimate
from lowbit.procedures.widths import inputs
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.lsq import LSQ


class PTQ(Procedure):
    """Calibrate on training inputs, steps of lsq and clips of pact by squared error, and measure BatchNorm again.

    Everything happens in `start`. A quantizer whose `init` was asked for keeps it.

    Args:
        images: training inputs to calibrate on, at least 1.
        bn_batches: training batches to measure BatchNorm on; 0 leaves the statistics of the float network.

    Raises:
        InvalidInput: a setting is out of range; in `start`, there are fewer inputs, or steps are to be taken.

    Example:
        >>> PTQ(images=1024).bn_batches
        100
    """

    name = "ptq"
    needs_float_start = True
    trains = False
    works_untrained = True

    def __init__(self, images: int = 512, bn_batches: int = 100) -> None:
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (images, bn_batches))
        if not whole or images < 1 or bn_batches < 0:
            raise InvalidInput(
                f"ptq: images is {images}, bn_batches {bn_batches}; allowed are whole numbers, images from 1, "
                "bn_batches from 0"
            )
        self.images, self.bn_batches = images, bn_batches

    def start(self, run: Run) -> None:
        """Do all of it."""
        if run.steps_total:
            raise InvalidInput(f"ptq: trains nothing, but the run has {run.steps_total} steps; use none, or retrain")
        batches = list(inputs(run, self.images, self.name))
        count = sum(map(len, batches))
        if count < self.images:
            raise InvalidInput(f"ptq: images is {self.images}, the training set has {count}; use images: {count}")
        for quantizer in run.model.modules():
            if isinstance(quantizer, LSQ) and "init" not in _options(quantizer):
                quantizer.init = "mse"
        calibrate(run.model, batches)
        if self.bn_batches and norms(run.model):
            assert run.batches is not None
            reestimate(run.model, run.batches, self.bn_batches)


def _options(quantizer: Quantizer) -> dict[str, object]:
    return {} if quantizer.spec is None else dict(quantizer.spec.options)
