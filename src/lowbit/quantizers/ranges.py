"""The running range of an activation and its grid with an integer zero point (Jacob et al. 2018, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import all_reduce_max, number, wide

DECAY = 0.99


class RunningRange(nn.Module):
    """Exponential moving minimum and maximum of a tensor, the same on all processes.

    lo = min(x, 0), hi = max(x, 0), S = (hi - lo) / (2^n - 1), Z = clip(round(-lo / S), 0, 2^n - 1);
    code = clip(round(x / S) + Z, 0, 2^n - 1), value = S * (code - Z).
    """

    lo: Tensor
    hi: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lo", torch.tensor(0.0))
        self.register_buffer("hi", torch.tensor(0.0))

    @torch.no_grad()
    def observe(self, x: Tensor, first: bool = False) -> None:
        """Fold the range of x into the running one; `first` replaces it."""
        lo, hi = torch.aminmax(x)
        lo, hi = -all_reduce_max(-lo.clamp_max(0)), all_reduce_max(hi.clamp_min(0))
        share = 1.0 if first else 1 - DECAY
        for state, seen in ((self.lo, lo.to(self.lo)), (self.hi, hi.to(self.hi))):
            state.lerp_(torch.where(seen.isfinite(), seen, state), share)  # one spoiled batch must not stay

    def scale(self, bits: int) -> Tensor:
        """S, at least 1e-8."""
        return ((wide(self.hi) - wide(self.lo)) / (2**bits - 1)).clamp_min(1e-8)

    def zero(self, bits: int) -> Tensor:
        """Z, integer-valued."""
        return torch.round(-wide(self.lo) / self.scale(bits)).clamp(0, 2**bits - 1)

    def grid(self, bits: int) -> Grid:
        """The Uniform grid of the current range."""
        return Uniform(bits=bits, scale=number(self.scale(bits)), zero=int(self.zero(bits)))
