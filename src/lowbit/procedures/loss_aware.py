"""Loss-aware weights: the optimizer's second moments weigh the error of quantization.

Source: Hou, Yao, Kwok 2017, "Loss-aware Binarization of Deep Networks", Algorithm 1; Hou, Kwok 2018, "Loss-aware Weight
Quantization of Deep Networks". Adam's second moment stands for the diagonal of the Hessian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lowbit.errors import InvalidInput
from lowbit.layers import WeightLayer
from lowbit.procedures.base import Procedure, Run
from lowbit.quantizers.loss_aware import LossAware


class LossAwareTraining(Procedure):
    """After each step, hand Adam's second moments to lab, lat and laq, and clip their weights to [-1, 1].

    The quantizers minimise sum sqrt(v) (w - q)^2 in the next step. Weights of binaryconnect, which have the same limit,
    are clipped as well; a network that has only these may use any optimizer.

    Raises:
        InvalidInput: in `start`, no layer has such weights, or the optimizer keeps no second moments.

    Example:
        >>> LossAwareTraining().needs_float_start
        False
    """

    name = "loss-aware"

    def check(self, run: Run) -> None:
        """As `start`, on a network that may be thrown away."""
        self.start(run)

    def start(self, run: Run) -> None:
        """Find the weights."""
        self._followers: list[tuple[LossAware, Tensor]] = []
        self._limited: list[tuple[Tensor, float]] = []
        for layer in run.model.modules():
            if isinstance(layer, WeightLayer) and layer.weight_quantizer is not None:
                for quantizer in layer.weight_quantizer.modules():
                    if isinstance(quantizer, LossAware):
                        self._followers.append((quantizer, layer.weight))
                    limit = getattr(quantizer, "weight_limit", None)
                    if limit is not None:
                        self._limited.append((layer.weight, limit))
        if not self._limited:
            raise InvalidInput(
                "loss-aware: no layer has weights by lab, lat, laq or binaryconnect; prepare it with weight='lat', say"
            )
        if self._followers and not isinstance(run.optimizer, (torch.optim.Adam, torch.optim.AdamW)):
            raise InvalidInput(
                f"loss-aware: {type(run.optimizer).__name__} keeps no second moments of gradients; "
                "use optimizer: {name: adam}"
            )

    @torch.no_grad()
    def after_step(self, run: Run) -> None:
        """Hand the moments on, then clip."""
        for quantizer, weight in self._followers:
            if weight in run.optimizer.state:
                quantizer.follow(run.optimizer.state[weight]["exp_avg_sq"])
        for weight, limit in self._limited:
            weight.clamp_(-limit, limit)
