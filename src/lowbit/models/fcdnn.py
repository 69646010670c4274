"""Fully connected networks "W-D" for the half-ring data.

Source: Boo et al., section 3.1 and Figure 10 (residual form). Starting weights are ours; the paper gives
none.
"""

import itertools

from torch import Tensor, nn


class ResidualHalf(nn.Module):
    """The mean of a branch and its input: [N, W], [N, W] -> [N, W], 0.5 * (branch + x).

    Example:
        >>> import torch
        >>> ResidualHalf()(torch.tensor(2.0), torch.tensor(1.0)).item()
        1.5
    """

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        """Halve the sum, so that activations keep their range at any depth."""
        return 0.5 * (branch + x)


class FCDNN(nn.Module):
    """`depth` weight layers, `depth - 1` of them hidden with `width` units and ReLU.

    With ``residual=True``: h = 0.5 * (ReLU(W h + b) + h) from the second layer on.

    Args:
        width: units W of a hidden layer.
        depth: weight layers D, the output layer included; at least 2.
        residual: whether hidden layers of equal widths are residual.
        in_features: inputs; 2 for the half-rings.
        classes: outputs.

    Shapes: float32 [N, in_features] -> float32 logits [N, classes].

    Raises:
        ValueError: width or depth is too small.

    Example:
        >>> sum(p.numel() for p in FCDNN(width=128, depth=6).parameters())
        66690
    """

    def __init__(
        self,
        width: int = 128,
        depth: int = 4,
        residual: bool = False,
        in_features: int = 2,
        classes: int = 2,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 2:
            raise ValueError(f"FCDNN: width={width}, depth={depth} given; use width >= 1 and depth >= 2")
        self.residual = residual
        widths = [in_features] + [width] * (depth - 1)
        hidden = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)]
        self.hidden = nn.ModuleList(hidden)
        self.relus = nn.ModuleList(nn.ReLU() for _ in hidden)
        self.sums = nn.ModuleList(ResidualHalf() for _ in range(depth - 2 if residual else 0))
        self.output = nn.Linear(width, classes)
        for layer in [*hidden, self.output]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        # All kinks would otherwise start on lines through the origin, and the rings are far from it.
        nn.init.uniform_(hidden[0].bias, -1.0, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of points [N, in_features]."""
        h = self.relus[0](self.hidden[0](x))
        for index in range(1, len(self.hidden)):
            branch = self.relus[index](self.hidden[index](h))
            h = self.sums[index - 1](branch, h) if self.residual else branch
        return self.output(h)
