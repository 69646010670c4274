"""DQDNN: trained step and range, and with them the width. Uhlich et al., "Mixed Precision DNNs", 2020."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Uniform
from lowbit.quantizers.base import Card, Quantizer, number
from lowbit.quantizers.ste import Replace, Within, rounded


class _Steps(Function):
    """Units of `DQDNN` with the gradients of its card."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, d: Tensor, m: Tensor, signed: bool) -> Tensor:
        units = rounded(x / d).clamp(*_limits(d, m, signed))
        inside = (x.abs() <= m) if signed else (x >= 0) & (x <= m)
        ctx.save_for_backward(x, d, units, inside, x > m)
        ctx.signed = signed
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, d, units, inside, above = ctx.saved_tensors
        grad_x = torch.where(inside, grad, 0.0)
        # all of it comes from here: as a difference of two sums, many bits would cancel in float32
        grad_d = (grad_x * (units - x / d)).sum()
        grad_m = torch.where(above, grad, 0.0).sum()
        if ctx.signed:
            grad_m = grad_m - torch.where(inside | above, 0.0, grad).sum()
        return grad_x, grad_d, grad_m, None


def _limits(d: Tensor, m: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    high = rounded(m / d).clamp_min(1)
    return (-high if signed else torch.zeros_like(high)), high


def _within(value: Tensor, low: float, high: float | Tensor) -> Tensor:
    return Within.apply(value, torch.as_tensor(low).to(value), torch.as_tensor(high).to(value))


TRAINED = {"step, range": ("step", "limit"), "width, step": ("width", "step"), "width, range": ("width", "limit")}
"""Option `trained`: the parameters of each parametrisation."""


class DQDNN(Quantizer):
    """Uniform grid whose step d and range m are both trained, and with them its width.

    Forward: q = d * clip(round(x / d), -M, M), M = round(m / d); unsigned activations from 0.
    Gradient: dx = g where |x| <= m (unsigned: 0 <= x <= m); dd = sum over these of g * (q - x) / d;
        dm = sum over |x| > m of g * sgn(x).
    Grid: Uniform of ceil(log2(M + 1)) + 1 bits (unsigned: without the + 1). Learned state: step d, range m, kept in
        d in [2^-8, 2^8], m in [0.001, 64], d <= m. A penalty on `smooth_bits` shrinks the width.
        Option `trained`: "step, range" (U3), "width, step" (U1, m = d (2^(b-1) - 1)), or "width, range" (U2, d =
        m / (2^(b-1) - 1)) with a real width b of 2 to 16 bits (unsigned: b instead of b - 1, from 1); gradients follow
        by the chain rule. Option `power_of_two`: d is rounded to a power of two, straight through.
    Initialisation: m = max|x|, d = m / (2^(n-1) - 1) for n bits (unsigned: 2^n - 1).
    Cost: as lsq, one more sum. Fails: without a penalty the width only grows; data beyond +-64 is clipped.
    Source: Uhlich et al. 2020, section 2, by default its parametrisation U3. The published top level is m
        itself, which need not be a multiple of d and then is no level of any uniform grid; here it is d * round(m / d).

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = DQDNN(3)
        ... q.calibrate(0.75 * x)
        >>> q(x).tolist(), q.grid().bits
        ([-0.75, -0.25, 0.0, 0.5, 0.75, -0.25], 3)
    """

    card: ClassVar[Card] = Card(
        name="dqdnn", family="learned bits", kind="WA", min_bits=1, min_signed_bits=2, learned="step, range",
        paper="Uhlich 2020", equation="section 2", per_channel=False,
    )  # fmt: skip

    def __init__(
        self,
        bits: int,
        *,
        trained: str = "step, range",
        power_of_two: bool = False,
        channel: bool = False,
        **common: Any,
    ) -> None:
        if channel:
            raise ValueError("dqdnn trains one width for the tensor, not one for each channel")
        super().__init__(bits, **common)
        if trained not in TRAINED:
            raise ValueError(f"dqdnn's trained numbers are {trained!r}, allowed are {', '.join(map(repr, TRAINED))}")
        if not isinstance(power_of_two, bool):
            raise ValueError(f"dqdnn's power_of_two is {power_of_two!r}, allowed are true and false")
        self.power_of_two = power_of_two
        for name in TRAINED[trained]:
            self.register_parameter(name, nn.Parameter(torch.tensor(1.0)))
        self._check()

    def _check(self) -> None:
        if self.bits == 1 and self.signed:
            raise ValueError("dqdnn takes 2 or more bits where values are signed, got 1; for one bit use bwn or sign")

    def start(self, x: Tensor) -> None:
        self._check()
        top = (x if self.signed else x.relu()).abs().max().double().clamp(1e-3, 64)
        step = (top / (2 ** (self.bits - bool(self.signed)) - 1)).clamp(2**-8, 2**8).clamp_max(top)
        for name, start in (("limit", top), ("step", step), ("width", torch.log2(top / step + 1) + bool(self.signed))):
            number = getattr(self, name, None)
            if number is not None:
                self.average(number, start)

    def _numbers(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """d and m within their bounds."""
        given: dict[str, Tensor] = dict(self.named_parameters())
        if "width" in given:
            sign = float(bool(self.signed))
            steps = 2 ** (_within(given["width"], 1 + sign, 16.0) - sign) - 1
            if "step" in given:
                given["limit"] = _within(given["step"], 2.0**-8, 2.0**8) * steps
            else:
                given["step"] = _within(given["limit"], 1e-3, 64.0) / steps
        step, limit = given["step"], given["limit"]
        m = _within(limit, 1e-3, 64.0)
        d = _within(step, 2.0**-8, m.detach().clamp_max(2.0**8))
        if self.power_of_two:
            d = Replace.apply(d, 2 ** rounded(torch.log2(d.detach())))
        return (d, m) if dtype is None else (d.to(dtype), m.to(dtype))

    @property
    def max_unit(self) -> int:
        return 2**14  # 64 / 2^-8

    def smooth_bits(self) -> Tensor:
        """log2(m / d + 1) + 1 (unsigned: without the + 1): the width as penalties see it, differentiable."""
        d, m = self._numbers()
        return torch.log2(m / d + 1) + float(bool(self.signed))

    @torch.no_grad()
    def set_bits(self, bits: int) -> None:
        """Give it a whole width; it keeps its range, and with `power_of_two` may exceed it."""
        high = 2 ** (bits - bool(self.signed)) - 1
        step = self._numbers()[1] / high
        if self.power_of_two:
            step = 2 ** torch.log2(step).ceil()  # not the nearest: the range must not need one bit more
        exact = {"width": torch.full_like(step, bits), "step": step, "limit": step * high}
        for name, parameter in self.named_parameters():
            parameter.copy_(exact[name])

    def scales(self, x: Tensor) -> Tensor:
        return self._numbers(x.dtype)[0].detach()[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        d, m = self._numbers(x.dtype)
        return _Steps.apply(x, d, m, bool(self.signed))[None]

    def grid(self, x: Tensor | None = None) -> Grid:
        d, m = self._numbers()
        high = int(_limits(d, m, True)[1])
        if not self.signed:
            return Uniform(bits=high.bit_length(), low=0, high=high, scale=number(d))
        return Uniform(bits=high.bit_length() + 1, signed=True, low=-high, high=high, scale=number(d))
