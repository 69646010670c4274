"""TTQ: ternary weights with two trained levels. Zhu et al., "Trained Ternary Quantization", 2017."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Codebook, Grid
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.ste import Positive, along


class _Choose(Function):
    """One 0/1 tensor for each of (-Wn, 0, Wp); backward g * (Wn | 1 | Wp), once for the three of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: Tensor, scales: Tensor) -> Tensor:
        low, high = x < -limit, x > limit
        ctx.save_for_backward(low, high, scales)
        chosen = torch.stack([low, ~(low | high), high]).to(x.dtype)
        return chosen + (limit - limit)  # a threshold of infinity or NaN makes NaN of its group

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        low, high, scales = ctx.saved_tensors
        g = grad[0]  # all terms receive the gradient of the value
        return g * torch.where(high, along(scales[2], g), torch.where(low, -along(scales[0], g), 1.0)), None, None


class TTQ(Quantizer):
    """Ternary weights {-Wn, 0, Wp} whose two levels are trained.

    Forward: D = t * max|w|; q = Wp where w > D, -Wn where w < -D, else 0.
    Gradient: dx = g * (Wp where w > D, Wn where w < -D, 1 between); dWp = sum of g over w > D, dWn = -sum of g over
        w < -D. Grid: Codebook of three levels. Learned state: `positive` (Wp) and `negative` (Wn), kept above 1e-8.
    Initialisation: the mean |w| of each side, D where a side is empty. Option `threshold`: t, default 0.05.
    Cost: a maximum and two compares a value; at inference two accumulators, one a level.
    Fails: an outlier moves D; weight decay on Wp and Wn shrinks the layer.
    Source: Zhu et al. 2017, Eq. 4-9.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = TTQ(threshold=0.25)
        ... q.calibrate(w)
        >>> [round(v, 2) for v in q(w).tolist()]
        [-0.65, -0.65, 0.0, 0.7, 0.7, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="ttq", family="ternary", kind="W", min_bits=2, max_bits=2, grid="Codebook", learned="two levels",
        paper="Zhu 2017", equation="4-9",
    )  # fmt: skip
    must_be_positive: ClassVar[tuple[str, ...]] = ("positive", "negative")

    def __init__(self, bits: int = 2, *, threshold: float = 0.05, **common: Any) -> None:
        super().__init__(bits, **common)
        if not isinstance(threshold, (int, float)) or not 0 <= threshold < 1:
            raise ValueError(f"ttq's threshold is {threshold!r}, allowed is a number from 0 to below 1")
        self.threshold = float(threshold)
        self.positive = nn.Parameter(torch.tensor(1.0))
        self.negative = nn.Parameter(torch.tensor(1.0))

    @property
    def max_unit(self) -> int:
        return 1

    def _limit(self, x: Tensor) -> Tensor:
        """D: [] or [channels]."""
        return self.ungroup(self.threshold * self.groups(x.detach()).abs().amax(1))

    def start(self, x: Tensor) -> None:
        w, limit = self.groups(x), self._limit(x).reshape(-1, 1)
        for level, kept in ((self.positive, w > limit), (self.negative, w < -limit)):
            mean = (w.double().abs() * kept).sum(1) / kept.sum(1).clamp_min(1)
            mean = torch.where(kept.any(1), mean, limit[:, 0].double())
            self.average(level, self.ungroup(mean).clamp_min(1e-8))

    def scales(self, x: Tensor) -> Tensor:
        positive, negative = Positive.apply(self.positive), Positive.apply(self.negative)
        return torch.stack([-negative, torch.zeros_like(positive), positive]).to(x.dtype)

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        scales = self.scales(x) if scales is None else scales
        return _Choose.apply(x, along(self._limit(x), x), scales.detach())

    def grid(self, x: Tensor | None = None) -> Grid:
        return Codebook(bits=2, table=number(self.scales(self.positive)))
