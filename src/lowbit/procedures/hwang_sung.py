"""Fixed-point networks by a search on the output error, then retraining with fixed steps.

Source: Hwang and Sung 2014, "Fixed-point Feedforward Deep Neural Network Design Using Weights +1, 0, and -1", section
III; Boo et al. 2021, section 2.2, whose steps start from one search a layer instead of one for the network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Run
from lowbit.procedures.float_derivative import FloatDerivative
from lowbit.procedures.output_error import l2_layers, refine
from lowbit.procedures.retrain import Retrain
from lowbit.procedures.widths import inputs
from lowbit.quantizers.l2 import L2

SCOPES = ("layer", "network")


class HwangSung(Retrain):
    """Refine the l2 step of each layer, first to last, by the error of the network's outputs; then retrain.

    Candidates are D * {0.5, 0.55, ..., 1.5} with all layers quantized; kept is the one whose outputs are nearest to
    those of the float network on a calibration batch. Steps stay fixed in retraining. With no epochs it is a
    post-training method.

    Args:
        init_scope: ``"layer"``, a search for each layer, or ``"network"``, one over all weights.
        float_derivative: whether derivatives of activation modules right behind a layer are those at W x + b of the
            float W; matters where they saturate.
        images: of the calibration batch.

    Raises:
        InvalidInput: a setting is out of range; in `start`, no layer has weights by l2, there is no float network, or
            the optimizer decays weights; in `loss`, no activation module sits right behind a layer.

    Example:
        >>> HwangSung(init_scope="network").images
        512
    """

    name = "hwang-sung"
    needs_method = "l2"
    works_untrained = True

    def __init__(self, init_scope: str = "layer", float_derivative: bool = False, images: int = 512) -> None:
        if init_scope not in SCOPES:
            raise InvalidInput(f"hwang-sung: init_scope is {init_scope!r}, allowed are {', '.join(SCOPES)}")
        if isinstance(images, bool) or not isinstance(images, int) or images < 1:
            raise InvalidInput(f"hwang-sung: images is {images}, allowed are whole numbers from 1")
        self.init_scope, self.float_derivative, self.images = init_scope, float_derivative, images
        self._float: nn.Module | None = None
        self._swapped: FloatDerivative | None = None

    def before_prepare(self, model: nn.Module) -> None:
        """Copy the float network, whose answers are the measure."""
        self._float = copy.deepcopy(model)

    def check(self, run: Run) -> None:
        """Look for weights, beside what retraining asks."""
        super().check(run)
        if not l2_layers(run.model):
            raise InvalidInput("hwang-sung: no layer has weights by l2; prepare it with weight='l2:3'")

    def start(self, run: Run) -> None:
        """Set the steps, unless the training is a resumed one."""
        super().start(run)
        if run.step == 0:
            self._refine(run)
        if self.float_derivative and run.steps_total:
            self._swapped = FloatDerivative(run.model)

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """Cross-entropy."""
        if self._swapped is not None and not self._swapped.matched:
            raise InvalidInput(
                "hwang-sung: float_derivative found no activation module that reads a quantized layer directly; "
                "leave it out, or use modules such as nn.Sigmoid without BatchNorm in between"
            )
        return super().loss(run, batch, output)

    def epoch_end(self, run: Run) -> None:
        """Log the output errors; after the last step, leave the network as it was found."""
        run.log("error_before", self._errors[0])
        run.log("error_refined", self._errors[1])
        if run.step >= run.steps_total and self._swapped is not None:
            self._swapped.remove()

    def state_dict(self) -> dict[str, Any]:
        """The output errors."""
        return {"errors": list(self._errors)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Undo `state_dict`."""
        self._errors = tuple(state["errors"])

    @torch.no_grad()
    def _refine(self, run: Run) -> None:
        if self._float is None:
            raise InvalidInput("hwang-sung: there is no float network; call before_prepare(model) before prepare")
        x = torch.cat(list(inputs(run, self.images, self.name)))[: self.images]
        expected = self._float.to(x.device).eval()(x)
        self._float = None
        if self.init_scope == "network":
            self._one_start(run.model)
        self._errors = refine(run.model, x, expected)

    def _one_start(self, model: nn.Module) -> None:
        layers = l2_layers(model).values()
        everything = torch.cat([layer.weight.detach().flatten() for layer in layers])
        for layer in layers:
            assert isinstance(layer.weight_quantizer, L2)
            one = L2(layer.weight_quantizer.bits).to(everything.device)
            one.calibrate(everything)
            layer.weight_quantizer.step.fill_(one.step)
