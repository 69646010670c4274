"""TWN: ternary weights. Li, Zhang, Liu, "Ternary Weight Networks", 2016."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lowbit.grid import Grid, Levels
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.search import exact_ternary
from lowbit.quantizers.ste import along, straight


class TWN(Quantizer):
    """Ternary weights {-b, 0, b} with a threshold D.

    Forward: D = t * mean|w|, S = {|w| > D}, b = mean over S of |w|, q = b * sgn(w) on S, 0 elsewhere (|w| = D gives 0).
    Option `threshold`: t as a number (0.7; 2/3 is optimal for uniform weights, about 0.75 for normal ones), or
        "exact": the S of largest (sum over S |w|)^2 / |S|, found by sorting, which minimises the squared error.
    Gradient: dx = g. Grid: Levels (-1, 0, 1). Learned state: none. Initialisation: b and D follow the weights.
    Cost: two means a layer; "exact" sorts. Fails: an all-zero tensor gives zeros.
    Source: Li et al. 2016, Eq. 4-6. Secondary sources put |w| = D on both sides or sum over the complement; here as
        above.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = TWN()
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-0.8, 0.0, 0.0, 0.8, 0.8, 0.0]
    """

    card: ClassVar[Card] = Card(
        name="twn", family="ternary", kind="W", min_bits=2, max_bits=2, grid="Levels", paper="Li 2016", equation="4-6"
    )

    def __init__(self, bits: int = 2, *, threshold: float | str = 0.7, **common: Any) -> None:
        super().__init__(bits, **common)
        if threshold != "exact" and not (isinstance(threshold, (int, float)) and 0 <= threshold < 10):
            raise ValueError(f"twn's threshold is {threshold!r}, allowed are 'exact' or a number from 0 to 10")
        self.threshold = threshold

    def _limit(self, x: Tensor) -> Tensor:
        """Threshold D of each group, in x's dtype: [groups]."""
        if self.threshold == "exact":
            return exact_ternary(self.groups(x.detach()).double().abs())[:, 0].to(x.dtype)
        return (float(self.threshold) * self.mean_size(x)).to(x.dtype)

    def scales(self, x: Tensor) -> Tensor:
        size = self.groups(x.detach()).abs()
        kept = size > self._limit(x)[:, None]
        b = (size * kept).sum(1, dtype=torch.float64) / kept.sum(1).clamp_min(1)
        return self.ungroup(b).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        limit, v = along(self.ungroup(self._limit(x)), x), x.detach()
        units = (v > limit).to(x.dtype).sub_((v < -limit).to(x.dtype))
        return straight(x, units.add_(v - v))[None]  # NaN stays NaN

    def grid(self, x: Tensor | None = None) -> Grid:
        if x is None:
            raise ValueError("twn computes its scale from the weight: call grid(weight)")
        return Levels(bits=2, scale=number(self.scales(wide(x))[0]), table=(-1, 0, 1))
