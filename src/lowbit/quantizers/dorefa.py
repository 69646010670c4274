"""DoReFa: weights through tanh, activations in [0, 1], gradients with noise. Zhou et al., "DoReFa-Net", 2016."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lowbit.grid import Grid, Planes, Uniform
from lowbit.quantizers.base import Card, Quantizer, number, wide
from lowbit.quantizers.fused import FakeClip
from lowbit.quantizers.gradient import draw, largest
from lowbit.quantizers.ste import along, rounded, sign, straight


class _Squash(Function):
    """Odd units of tanh(w) / (2 M) + 1/2, M = max|tanh w|; backward g * (1 - tanh(w)^2) / M."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, largest: Tensor, top: int) -> Tensor:  # largest broadcasts over x
        # float64, since float32 tanh depends on memory order and instruction set in its last bit, and codes must not
        t = torch.tanh(x.double())
        ctx.save_for_backward(t.to(x.dtype), largest.to(x.dtype))
        return (2 * rounded((t / (2 * largest) + 0.5).mul_(top)).clamp_(0, top) - top).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        t, largest = ctx.saved_tensors
        return grad * (1 - t * t) / largest, None, None


class DoReFa(Quantizer):
    """Weights squashed by tanh onto [-1, 1], activations clipped to [0, 1], gradients by sample, all in equal steps.

    Forward, with qk(x) = round(x (2^n - 1)) / (2^n - 1) on [0, 1]: weights q = 2 qk(tanh w / (2 M) + 1/2) - 1,
        M = max|tanh w|; one bit q = mean|w| * sgn(w); activations q = qk(clip(x, 0, 1)); gradients, sample by sample,
        q = 2 M (qk(clip(g / (2 M) + 1/2 + N, 0, 1)) - 1/2), M = max|g|, N = u / (2^n - 1), u uniform in [-1/2, 1/2)
        from torch's global generator; in eval without the noise N.
    Gradient: weights dx = g * (1 - tanh^2 w) / M, M constant; one bit dx = g; activations dx = g where 0 <= x <= 1.
    Grid: weights and gradients Uniform over odd units (one-bit weights: Planes), activations Uniform.
    Learned state: none.
    Initialisation: none; the weights give M or the mean.
    Cost: a tanh and a maximum a weight. Fails: activations above 1 are cut, so what feeds them needs a range of
        about 1; one large weight sets M. A tensor of zeros has value 0. Gradients below 4 bits cost accuracy; the noise
        leaves their mean as it is, but no level is 0, so a sparse gradient becomes a noisy one.
    Source: Zhou et al. 2016, Eq. 5-9 and 12. Activations are divided by the step instead of multiplied by 2^n - 1, as
        everywhere.

    Example:
        >>> w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = DoReFa(2)
        ... q.calibrate(w)
        >>> [round(v, 4) for v in q(w).tolist()]
        [-1.0, -0.3333, 0.3333, 0.3333, 1.0, -0.3333]
    """

    card: ClassVar[Card] = Card(
        name="dorefa",
        family="squashed",
        kind="WAG",
        min_bits=1,
        grid="Uniform/Planes",
        paper="Zhou 2016",
        equation="5-9, 12",
    )

    @property
    def binary(self) -> bool:
        """Whether these are one-bit weights, which have a scale of their own."""
        return self.role == "weight" and self.bits == 1

    @property
    def max_unit(self) -> int:
        return 2**self.bits

    def _largest(self, x: Tensor) -> Tensor:
        """M, float64: [] or [channels]."""
        return self.ungroup(torch.tanh(self.groups(x.detach()).abs().amax(1).double()))

    def scales(self, x: Tensor) -> Tensor:
        if self.role == "gradient":
            return (largest(self.groups(x.detach())) / (2**self.bits - 1))[None]
        if self.binary:
            mean = self.mean_size(x)
            return self.ungroup(mean.where(mean.isfinite(), torch.nan)).to(x.dtype)[None]
        step = torch.tensor(1 / (2**self.bits - 1), dtype=x.dtype, device=x.device)
        if self.role != "weight":
            return step[None]
        top_tanh = self._largest(x)
        return torch.where(top_tanh > 0, step, top_tanh).to(x.dtype)[None]

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        top = 2**self.bits - 1
        if self.binary:
            return straight(x, sign(x))[None]
        if self.role == "gradient":
            size = along(largest(self.groups(x.detach())), x)
            steps = (x.detach() / torch.where(size == 0, 1.0, size) * 0.5 + 0.5) * top
            noisy = steps + (draw(x) - 0.5) if self.training else steps
            return straight(x, 2 * rounded(noisy).clamp(0, top) - top)[None]
        if self.role == "weight":
            top_tanh = self._largest(x)
            return _Squash.apply(x, along(torch.where(top_tanh > 0, top_tanh, 1.0), x), top)[None]
        scale = (self.scales(x) if scales is None else scales)[0]
        return straight(x, rounded(x.detach() / scale).clamp(0, top), (x >= 0) & (x <= 1))[None]

    def fused(self, x: Tensor, scales: Tensor) -> Tensor | None:
        if self.role in ("weight", "gradient"):
            return None
        return FakeClip.apply(x, float(scales[0]), (0, 2**self.bits - 1), (0.0, 1.0), None, False)

    def grid(self, x: Tensor | None = None) -> Grid:
        if self.role in ("activation", "output"):
            return Uniform(bits=self.bits, scale=number(self.scales(torch.zeros(1))[0]))
        if x is None:
            raise ValueError(f"dorefa computes its scale from the {self.role}: call grid({self.role})")
        scales = number(self.scales(wide(x)))
        return Planes(bits=1, scales=scales) if self.binary else Uniform(bits=self.bits, odd=True, scale=scales[0])
