"""Which quantizers the contract is tested on, and with which tensors. All of it follows from the cards."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lowbit.quantizers import METHODS, Quantizer

SHAPES = {"linear": (5, 7), "conv3x3": (3, 2, 3, 3), "conv1x1": (6, 5, 1, 1), "depthwise": (7, 1, 3, 3)}


@dataclass(frozen=True)
class Case:
    """One way to build a quantizer. `signed` says which activations it sees; weights are always signed."""

    method: str
    bits: int
    role: str
    channel: bool = False
    signed: bool = True

    def __str__(self) -> str:
        data = "" if self.computed else "-signed" if self.signed else "-unsigned"
        return f"{self.method}:{self.bits}{'@channel' if self.channel else ''}-{self.role}{data}"

    @property
    def sliced(self) -> bool:
        """Whether each slice of axis 0 has a scale of its own: channels of weights, samples of gradients."""
        return self.channel or self.role == "gradient"

    @property
    def computed(self) -> bool:
        """Whether the grid may follow from the tensor itself, so that it is no activation's fixed one."""
        return self.role in ("weight", "gradient")

    def build(self) -> Quantizer:
        """A new quantizer without state."""
        signed = None if self.computed else self.signed
        return METHODS[self.method](self.bits, role=self.role, channel=self.channel, signed=signed)

    def calibrated(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Quantizer:
        """A quantizer in eval mode that has seen x."""
        quantizer = self.build().to(dtype)
        quantizer.calibrate(x)
        return quantizer.eval()

    def data(
        self, shape: tuple[int, ...] = SHAPES["conv3x3"], seed: int = 0, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Gaussian numbers, without negative ones where the case is unsigned; channels differ in size."""
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        if self.computed:
            x = x * (1 + torch.arange(shape[0], dtype=torch.float64)).reshape(-1, *(1,) * (len(shape) - 1)) / 4
        return (x if self.signed else x.relu()).to(dtype)


def legal(method: str) -> Iterator[Case]:
    """Every role, width, granularity and sign that a method's card allows."""
    card = METHODS[method].card
    signed_from = card.min_bits if card.min_signed_bits is None else card.min_signed_bits
    for bits in range(card.min_bits, card.max_bits + 1):
        if "W" in card.kind and bits >= signed_from:
            yield Case(method, bits, "weight")
            if card.per_channel:
                yield Case(method, bits, "weight", channel=True)
        for role in ("activation", "output") if "A" in card.kind else ():
            yield Case(method, bits, role, signed=False)
            if bits >= signed_from:
                yield Case(method, bits, role, signed=True)
        if "G" in card.kind and bits >= signed_from:
            yield Case(method, bits, "gradient")


def representative(method: str) -> list[Case]:
    """One width near two bits, in every role, granularity and sign but `output`, which is `activation` elsewhere."""
    cases = [case for case in legal(method) if case.role != "output"]
    widths = {case.bits for case in cases}
    width = min(widths, key=lambda bits: (abs(bits - 2), -bits))
    chosen = [case for case in cases if case.bits == width]
    kinds = {replace(case, bits=0) for case in chosen}
    return chosen + [c for c in cases if c.bits == width + 1 and replace(c, bits=0) not in kinds]


def edges(case: Case, shape: tuple[int, ...] = SHAPES["conv3x3"]) -> dict[str, Tensor]:
    """Finite tensors at which quantizers break."""
    plain = case.data(shape, 1)
    ramp = torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)
    sign = 1 - 2 * (ramp % 2) if case.signed else torch.ones(shape)
    one = (1,) * len(shape)
    lone = plain.clone()
    lone[0] = 0.0
    return {
        "plain": plain,
        "zeros": torch.zeros(shape),
        "one slice of zeros": lone,
        "constant": torch.full(shape, 0.37),
        "constant size": 0.37 * sign,
        "one element": torch.full(one, 0.37),
        "one element, zero": torch.zeros(one),
        "integers": ramp % 9 - 4 * case.signed,
        "outlier": torch.where(ramp == 3, 1e4, plain),
        # 1e30: sums, ranges and steps of it stay finite in float32; squares do not, and must not be needed
        "huge": 1e30 * plain,
        "denormal": 1e-42 * (ramp % 5) * sign,
        "tiny and huge": torch.where(ramp % 2 == 0, 1e-30, 1e30) * sign,
        **(
            {"negative": -torch.full(shape, 0.37), "one element, negative": -torch.full(one, 0.37)}
            if case.signed
            else {}
        ),
    }


def ties(levels: Tensor) -> Tensor:
    """Levels, the middles between them, and the floats on both sides of each. levels: ascending float32 [k]."""
    middles = (levels[1:] + levels[:-1]) / 2
    points = torch.cat([levels, middles, levels[:1] * 3 - 1, levels[-1:] * 3 + 1])
    up, down = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    return torch.cat([points, torch.nextafter(points, up), torch.nextafter(points, down)])
