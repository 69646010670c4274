"""PACT-SAWB: PACT for activations with SAWB for weights, under one name. Choi et al. 2019; DQA's "PS"."""

from __future__ import annotations

from typing import Any, ClassVar

from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.pact import PACT
from lowbit.quantizers.sawb import SAWB


class PactSawb(Quantizer):
    """The pair as it is published: SAWB where it is asked for weights, PACT where it is asked for activations.

    Forward: as `sawb`, as `pact`. Gradient: as these. Grid: Uniform. Learned state: the clip of the activations.
    Initialisation: as these; use the two names themselves to set their options. Cost: theirs. Fails: where they do.
    Source: Choi et al. 2019, "Accurate and Efficient 2-bit Quantized Neural Networks"; DQA section 4.

    Example:
        >>> type(PactSawb(2)).__name__, type(PactSawb(2, role="activation")).__name__
        ('SAWB', 'PACT')
    """

    card: ClassVar[Card] = Card(
        name="pact-sawb", family="pair", kind="WA", min_bits=2, learned="clip", paper="Choi 2019",
        equation="5",
    )  # fmt: skip

    def __new__(cls, bits: int, *, role: str = "weight", **common: Any) -> Quantizer:  # type: ignore[misc]
        if role not in ("weight", "activation", "output"):
            raise ValueError(f"pact-sawb quantizes {cls.card.kind}, not role {role!r}")
        if not cls.card.min_bits <= bits <= cls.card.max_bits:
            raise ValueError(
                f"pact-sawb takes 2 to {cls.card.max_bits} bits, got {bits}; for one bit use bwn, sign or sawb"
            )
        return (SAWB if role == "weight" else PACT)(bits, role=role, **common)

    def __init__(self, bits: int, **common: Any) -> None:  # never runs: `__new__` returns another class
        super().__init__(bits, **common)
