"""Weighted sums of quantizers: the base of Binary-Relax (Yin et al. 2018) and of quantization with attention (DQA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowbit.grid import Grid
from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.ste import WeightGradient, straight

NORMALIZE = ("none", "detach", "in_graph")


def _after_loading(mixture: nn.Module, _: Any) -> None:
    assert isinstance(mixture, Mixture)
    mixture._look()


def deviation(alpha: Tensor) -> Tensor:
    """Standard deviation of alpha [parts], unbiased; 1 where it is below 1e-8 or there is one part."""
    if len(alpha) < 2:
        return torch.ones_like(alpha[0])
    variance = alpha.var()
    return torch.where(variance < 1e-16, 1.0, variance).sqrt()


class Mixture(Quantizer):
    """A sum of several quantizers (and perhaps of the float itself), of which one is left in the end.

    Forward, training: q = sum_k a_k Q_k(x); eval: Q_k of the largest a_k, the first of equal ones, never the float.
    Gradient: dx = g * sum a_k ste_k, ste_k the surrogate of Q_k (float: 1); parameters of Q_k as its card says,
        times a_k; with `learned`, da_k = sum g * Q_k and through a = softmax(alpha / T).
    Grid: in eval that of the chosen Q_k. Options: `parts`, methods or "float", by default minmax at n, 2 n and 4 n
        bits; `shares`, the a_k, by default equal, scaled to sum 1; `learned` trains alpha. Learned state: that of the
        parts, and alpha. A procedure calls `share_out` or sets `temperature`, and calls `choose(k)` at the end.
        With `normalize` "in_graph" or "detach", alpha is divided by its standard deviation (unbiased) in each forward;
        "detach" takes the divisor as a constant. "in_graph" gives two parts no gradient: their normalized distance is
        always the square root of 2. `bits` are those of the part that eval uses.
    Initialisation: of each part on the same data. Cost: that of all parts.
    Fails: parts with one range for the tensor and parts with one a channel do not mix; eval differs from training until
        one share is 1 (`unfinished`).
    Source: Yin et al. 2018, Eq. 5 (shares om / (om + 1) and 1 / (om + 1) of Q and the float); DQA Eq. 2-8.

    Example:
        >>> x = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
        ... q = Mixture(2, parts=["minmax:2", "float"], shares=[3, 1])
        ... q.calibrate(x)
        >>> [round(v, 3) for v in q(x).tolist()]
        [-1.0, -0.35, 0.225, 0.325, 0.9, -0.325]
    """

    card: ClassVar[Card] = Card(
        name="mixture", family="soft", kind="WA", min_bits=1, max_bits=16, learned="shares", paper="Yin 2018; DQA",
        equation="5; 2-8",
    )  # fmt: skip
    mixes: ClassVar[bool] = True
    arithmetic: ClassVar[bool] = False
    fixed: Tensor
    temperature: Tensor

    def __init__(
        self,
        bits: int,
        *,
        parts: Sequence[str | Mapping[str, Any]] | None = None,
        shares: Sequence[float] | None = None,
        learned: bool = False,
        normalize: str = "none",
        **common: Any,
    ) -> None:
        from lowbit.quantizers.catalog import parse  # the catalogue imports this file

        super().__init__(bits, **common)
        if parts is None:
            parts = [f"minmax:{width}" for width in dict.fromkeys(min(bits * k, 16) for k in (1, 2, 4))]
        if not isinstance(parts, (list, tuple)) or all(part == "float" for part in parts):
            raise ValueError(
                f"mixture's parts are {parts!r}, allowed is a list of methods, at least one besides 'float'"
            )
        given = [1.0] * len(parts) if shares is None else shares
        if (
            not isinstance(given, (list, tuple))
            or len(given) != len(parts)
            or any(isinstance(share, bool) or not isinstance(share, (int, float)) for share in given)
            or not (min(given) >= 0 and 0 < sum(given) < torch.inf)
        ):
            raise ValueError(f"mixture's shares are {shares!r}, allowed are {len(parts)} numbers from 0, not all 0")
        if normalize not in NORMALIZE:
            raise ValueError(f"mixture's normalize is {normalize!r}, allowed are {', '.join(NORMALIZE)}")
        self.count, self.chosen, self.normalize = len(parts), 0, normalize
        for i, part in enumerate(parts):
            if part != "float":
                spec = parse(part)
                if spec.granularity not in (None, "channel" if self.channel else "tensor"):
                    raise ValueError(
                        f"mixture's part {part!r} has another granularity than the mixture, which is for weights "
                        f"'mixture:{bits}@{spec.granularity}' to have; write it there, not in a part"
                    )
                spec = replace(spec, channel=self.channel)
                self.add_module(f"part{i}", spec.build(self.role, self.signed))
        self.register_buffer("fixed", torch.tensor(given) / sum(given))
        self.register_buffer("temperature", torch.tensor(1.0))
        # at temperature 1, softmax of the logarithms gives the shares back
        self.alpha = nn.Parameter(self.fixed.clamp_min(1e-8).log()) if learned else None
        self._look()
        self.register_load_state_dict_post_hook(_after_loading)

    @property
    def parts(self) -> list[Quantizer | None]:
        """The quantizers of the sum in order; None for the float."""
        return [getattr(self, f"part{i}", None) for i in range(self.count)]

    @property
    def hard(self) -> Quantizer:
        """The part that eval and conversion use."""
        part = self.parts[self.chosen]
        assert part is not None
        return part

    def shares(self) -> Tensor:
        """a_k: [parts], sum 1."""
        if self.alpha is None:
            return self.fixed
        alpha: Tensor = self.alpha
        if self.normalize != "none":
            alpha = alpha / deviation(alpha.detach() if self.normalize == "detach" else alpha)
        return torch.softmax(alpha / self.temperature, 0)

    @torch.no_grad()
    def share_out(self, weights: Sequence[float]) -> None:
        """Set the a_k in proportion to `weights`, one of at least 0 for each part; for shares that are not learned."""
        assert self.alpha is None and len(weights) == self.count
        self.fixed.copy_(torch.tensor(weights) / sum(weights))
        self._look()

    @torch.no_grad()
    def _look(self) -> None:
        """Choose the part of the largest share: a plain number, so that a compiled eval has no branch on data."""
        shares = self.shares().tolist()
        eligible = [i for i, part in enumerate(self.parts) if part is not None]
        self.chosen = max(eligible, key=lambda i: (shares[i], -i))
        self.bits = self.hard.bits

    @torch.no_grad()
    def choose(self, index: int) -> None:
        """End the mixture: this part alone is left.

        Raises:
            ValueError: if there is no such part, or it is the float.
        """
        if not 0 <= index < self.count or self.parts[index] is None:
            raise ValueError(f"mixture has no quantizer {index} to end with, it has {self.count} parts")
        self.fixed.zero_()[index] = 1
        if self.alpha is not None:
            self.alpha.fill_(-1e9)[index] = 0
            self.normalize = "none"  # divided by their deviation, these would mix again
        self._look()

    def unfinished(self) -> float:
        """Share of the training value that does not come from the part that eval uses."""
        return 1 - float(self.shares().detach()[self.chosen])

    def harden(self) -> None:
        """Leave the part of the largest share alone."""
        self.choose(self.chosen)

    def train(self, mode: bool = True) -> Mixture:
        """Switch modes; eval uses the part that has the largest share now."""
        super().train(mode)
        self._look()
        return self

    def start(self, x: Tensor) -> None:
        for part in self.parts:
            if part is not None:
                part._batches = self._batches
                part.calibrate(x)

    def track(self, x: Tensor) -> None:
        for part in self.parts:
            if part is not None:
                part.track(x)

    @property
    def max_unit(self) -> int:
        return max(part.max_unit for part in self.parts if part is not None)

    def _scales(self, x: Tensor) -> list[Tensor]:
        """Scales of each part without its share."""
        one = torch.ones((1, len(x)) if self.channel else (1,), dtype=x.dtype, device=x.device)
        return [one if part is None else part.scales(x) for part in self.parts]

    def scales(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.hard.scales(x)
        shares = self.shares().to(x.dtype)
        return torch.cat([share * scales for share, scales in zip(shares, self._scales(x), strict=True)])

    def units(self, x: Tensor, scales: Tensor | None = None) -> Tensor:
        if not self.training:
            return self.hard.units(x, scales)
        shares = self.shares().detach().to(x.dtype)
        found = [
            WeightGradient.apply(straight(x, x.detach())[None] if part is None else part.units(x, own), share)
            for part, own, share in zip(self.parts, self._scales(x), shares, strict=True)
        ]
        return torch.cat(found)

    def offset(self, x: Tensor) -> Tensor | None:
        if not self.training:
            return self.hard.offset(x)
        total = None
        for part, share in zip(self.parts, self.shares().to(x.dtype), strict=True):
            own = None if part is None else part.offset(x)
            if own is not None:
                total = share * own if total is None else total + share * own
        return total

    def grid(self, x: Tensor | None = None) -> Grid:
        return self.hard.grid(x)
