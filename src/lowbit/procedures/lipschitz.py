"""A penalty that keeps the weight matrices near orthogonal, so that layers do not amplify noise of activations.

Source: Boo et al., "Quantized Neural Networks: Characterization and Holistic Optimization", Eq. 8:
0.5 * sum over layers of ||W^T W - I||_F^2, W reshaped to (k k c_in, c_out), times 1e-4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Batch, Modifier, Run

WIDE = ("literal", "transpose")
OF = ("float", "quantized")


class Lipschitz(Modifier):
    """Add strength * 0.5 * sum_l ||W_l^T W_l - I||_F^2 over all convolutions and linear layers.

    Args:
        strength: factor of the penalty, at least 0.
        wide: a matrix with fewer rows than columns (as of depthwise convolutions, 9 x c) cannot reach 0 with
            ``"literal"``, only (columns - rows) / 2; ``"transpose"`` takes W W^T - I for those.
        of: ``"float"`` weights, which the paper's text suggests, or those ``"quantized"`` as the forward uses them.

    Raises:
        InvalidInput: in `start`, where the network has no convolution or linear layer, or with ``of="quantized"`` no
            quantized weights.

    Example:
        >>> gap(torch.tensor([[1.0, 0.0], [0.0, 2.0]])), gap(torch.ones(3, 1)), gap(torch.ones(3, 1), "transpose")
        (tensor(4.5000), tensor(3.), tensor(2.))
    """

    name = "lipschitz"

    def __init__(self, strength: float = 1e-4, wide: str = "literal", of: str = "float") -> None:
        if not strength >= 0:
            raise InvalidInput(f"lipschitz: strength is {strength}, allowed are numbers from 0")
        for what, value, allowed in (("wide", wide, WIDE), ("of", of, OF)):
            if value not in allowed:
                raise InvalidInput(f"lipschitz: {what} is {value!r}, allowed are {', '.join(allowed)}")
        self.strength, self.wide, self.of = strength, wide, of
        self._value = torch.zeros(())

    def check(self, run: Run) -> None:
        """Look for weights."""
        layers = with_weights(run.model)
        if not layers:
            raise InvalidInput("lipschitz: the network has no convolution or linear layer, so no weights to act on")
        if self.of == "quantized" and not any(getattr(m, "weight_quantizer", None) for m in layers):
            raise InvalidInput("lipschitz: no layer has quantized weights; use of='float', or quantize weights")

    def start(self, run: Run) -> None:
        """Find the layers."""
        self.check(run)
        self._layers = with_weights(run.model)

    def loss(self, run: Run, batch: Batch, output: Tensor) -> Tensor:
        """The penalty."""
        total = super().loss(run, batch, output)
        for layer in self._layers:
            weight: Tensor = layer.weight
            quantizer = getattr(layer, "weight_quantizer", None)
            if self.of == "quantized" and quantizer is not None:
                weight = quantizer(weight)
            total = total + gap(weight, self.wide)
        total = self.strength * total
        self._value = total.detach()
        return total

    def epoch_end(self, run: Run) -> None:
        """Log the penalty of the epoch's last step."""
        run.log("lipschitz", self._value)


def with_weights(model: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear]:
    """Convolutions and linear layers, once for each weight."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear))]
    return list({id(layer.weight): layer for layer in layers}.values())


def gap(weight: Tensor, wide: str = "literal") -> Tensor:
    """0.5 * ||W^T W - I||_F^2, a scalar.

    Args:
        weight: [out, in, ...] as layers hold it; W is its transpose, [everything else, out].
        wide: as in `Lipschitz`.
    """
    rows = weight.reshape(weight.shape[0], -1)
    if wide == "transpose" and rows.shape[0] > rows.shape[1]:
        rows = rows.T
    product = rows @ rows.T
    return 0.5 * (product - torch.eye(len(product), dtype=product.dtype, device=product.device)).square().sum()
