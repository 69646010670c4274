"""The catalogue: every method by name. To add one, write its file and add its line to `METHODS`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lowbit.errors import unknown
from lowbit.quantizers.abc import ABC
from lowbit.quantizers.admm import ADMM
from lowbit.quantizers.affine import Affine
from lowbit.quantizers.base import ROLES, Quantizer
from lowbit.quantizers.binaryconnect import BinaryConnect, StochasticBinaryConnect
from lowbit.quantizers.bitpruning import BitPruning
from lowbit.quantizers.bwn import BWN
from lowbit.quantizers.dorefa import DoReFa
from lowbit.quantizers.dqdnn import DQDNN
from lowbit.quantizers.hwgq import HWGQ
from lowbit.quantizers.inq import INQ
from lowbit.quantizers.l2 import L2, AdaptiveL2
from lowbit.quantizers.laq import LAQ
from lowbit.quantizers.lat import LAT
from lowbit.quantizers.loss_aware import LAB
from lowbit.quantizers.lq import LQ
from lowbit.quantizers.lsq import LSQ
from lowbit.quantizers.minmax import MinMax
from lowbit.quantizers.mixture import Mixture
from lowbit.quantizers.options import check_options
from lowbit.quantizers.pact import PACT
from lowbit.quantizers.pact_sawb import PactSawb
from lowbit.quantizers.sawb import SAWB
from lowbit.quantizers.sigmoid import Sigmoid
from lowbit.quantizers.sign import Sign
from lowbit.quantizers.tbn import TBN
from lowbit.quantizers.ttq import TTQ
from lowbit.quantizers.twn import TWN
from lowbit.quantizers.twobit import TwoBit
from lowbit.quantizers.uniform import FixedStep
from lowbit.quantizers.xnor import XNOR
from lowbit.quantizers.xnor_plus import XNORPlus

METHODS: Mapping[str, type[Quantizer]] = {
    method.card.name: method
    for method in (
        ABC,
        AdaptiveL2,
        ADMM,
        Affine,
        BinaryConnect,
        BitPruning,
        BWN,
        DoReFa,
        DQDNN,
        FixedStep,
        HWGQ,
        INQ,
        L2,
        LAB,
        LAQ,
        LAT,
        LQ,
        LSQ,
        MinMax,
        Mixture,
        PACT,
        PactSawb,
        SAWB,
        Sigmoid,
        Sign,
        StochasticBinaryConnect,
        TBN,
        TTQ,
        TWN,
        TwoBit,
        XNOR,
        XNORPlus,
    )
}

_COMMON = ("bits", "role", "channel", "signed")
_OPTIONS = ("ste",)
"""Options that every method has."""
_SPEC = re.compile(r"(?P<name>[^:@]+)(?::(?P<bits>[^@]*))?(?:@(?P<granularity>.*))?")


@dataclass(frozen=True)
class Spec:
    """A method with its bits, granularity and options, as written in ``"lsq:2@channel"`` or a mapping.

    `channel` holds for weights; `granularity` is what was asked for, None where the method's own was taken.
    """

    method: str
    bits: int
    channel: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    granularity: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """The spec as text, options in brackets."""
        options = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.method}:{self.bits}" + ("@channel" if self.channel else "") + (f"[{options}]" if options else "")

    def written(self) -> str | dict[str, Any]:
        """As rules and recipes write it: `parse` gives an equal Spec back.

        Example:
            >>> parse("lsq:2@channel").written(), parse({"method": "twn", "threshold": "exact"}).written()
            ('lsq:2@channel', {'method': 'twn', 'bits': 2, 'threshold': 'exact'})
        """
        if self.options:
            own = {"granularity": self.granularity} if self.granularity else {}
            return {"method": self.method, "bits": self.bits, **own, **self.options}
        return f"{self.method}:{self.bits}" + (f"@{self.granularity}" if self.granularity else "")

    def build(self, role: str, signed: bool | None = None) -> Quantizer:
        """A new quantizer.

        Raises:
            ValueError: where the method cannot have the role, the bits or an option, or where one scale a channel was
                asked for and the role is not weight.
        """
        if self.granularity == "channel" and role != "weight":
            raise ValueError(
                f"one scale a channel is for weights, not for role {role!r}: write '{self.method}:{self.bits}' there"
            )
        channel = self.channel and role == "weight"
        method, own = METHODS[self.method], {k: v for k, v in self.options.items() if k not in _OPTIONS}
        try:
            made = method(self.bits, role=role, channel=channel, signed=signed, **self.options)
        except (TypeError, KeyError):
            check_options(self.method, method.__init__, own)  # what the method says itself is more precise
            raise
        check_options(self.method, method.__init__, own)
        made.spec = self
        return made


def parse(spec: str | Mapping[str, Any] | Spec) -> Spec:
    """Read a method specification.

    Args:
        spec: ``"name"``, ``"name:bits"``, ``"name:bits@channel"`` (or ``@tensor``), or a mapping with `method`,
            `bits`, `granularity` and the method's options.

    Raises:
        UnknownName: for an unknown method or option, with the nearest known one.
        ValueError: for bits that are missing or out of range, or a contradiction.

    Example:
        >>> str(parse("lsq:2@channel")), str(parse({"method": "twn", "threshold": "exact"}))
        ('lsq:2@channel', 'twn:2[threshold=exact]')
    """
    if isinstance(spec, Spec):
        return spec
    if isinstance(spec, str):
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            raise ValueError(f"{spec!r} is no method; write name:bits, e.g. 'lsq:2' or 'lsq:2@channel'")
        name, bits, granularity, options = *match.group("name", "bits", "granularity"), {}
    elif isinstance(spec, Mapping):
        options = dict(spec)
        if "method" not in options:
            raise ValueError(f"{dict(spec)} names no method; write {{'method': 'lsq', 'bits': 2}}")
        name, bits, granularity = options.pop("method"), options.pop("bits", None), options.pop("granularity", None)
        match = _SPEC.fullmatch(name.strip()) if isinstance(name, str) else None
        if match is not None:
            name = match["name"]
            bits = _agreed(spec, "bits", match["bits"], bits)
            granularity = _agreed(spec, "granularity", match["granularity"], granularity)
    else:
        raise ValueError(f"{spec!r} is no method; write a text such as 'lsq:2' or a mapping")
    if not isinstance(name, str) or name not in METHODS:
        raise unknown("method", name, METHODS)
    method = METHODS[name]
    card = method.card
    known = [p for p in inspect.signature(method.__init__).parameters if p not in ("self", "common", *_COMMON)]
    known += [option for option in _OPTIONS if option not in known]
    for key in options:
        if key not in known:
            raise unknown(f"option of {name}", key, [*known, "method", "bits", "granularity"])
    if granularity not in (None, "tensor", "channel"):
        raise unknown("granularity", granularity, ["tensor", "channel"])
    channel = card.channel if granularity is None else granularity == "channel"
    return Spec(name, _bits(name, bits), channel, options, granularity)


def _agreed(spec: Mapping[str, Any], key: str, inner: str | None, given: Any) -> Any:
    """What ``{"method": "lsq:2@channel"}`` says, or the mapping's own key; a ValueError where they differ."""
    if given is None or inner is None:
        return inner if given is None else given
    if str(given) != str(inner):
        raise ValueError(f"{dict(spec)} says {key} {inner} and {given}: leave one of them out")
    return given


def _bits(name: str, bits: Any) -> int:
    card = METHODS[name].card
    allowed = f"{card.min_bits}" if card.min_bits == card.max_bits else f"{card.min_bits} to {card.max_bits}"
    if bits is None and card.min_bits == card.max_bits:
        return card.min_bits
    try:
        # of texts only plain digits: int() reads '0_2' and digits of other scripts too
        value = int(bits) if not isinstance(bits, str) or re.fullmatch("[0-9]+", bits) else -1
    except (TypeError, ValueError):
        value = -1
    if isinstance(bits, (bool, float)) or not card.min_bits <= value <= card.max_bits:
        given = "none were given" if bits is None else f"got {bits!r}"
        if value == 32:
            given += " (floats are method None)"
        bits = "bit" if allowed == "1" else "bits"
        usual = min(max(card.min_bits, 2), card.max_bits)
        raise ValueError(f"{name} takes {allowed} {bits}, {given}; write e.g. '{name}:{usual}'")
    return value


def quantizer(spec: str | Mapping[str, Any], role: str = "weight", signed: bool | None = None) -> Quantizer:
    """One quantizer alone.

    Args:
        spec: ``"lsq:2"``, ``"lsq:2@channel"``, or a mapping with options.
        role: weight, activation, output or gradient.
        signed: whether activations can be negative; None: `calibrate` looks.

    Returns:
        A `Quantizer`; call its `calibrate(x)` before its first forward.

    Example:
        >>> import torch
        >>> q = quantizer("lsq:2", role="weight")
        ... w = torch.randn(8, 4)
        ... q.calibrate(w)
        ... len(q(w).unique()) <= 4
        True
    """
    if role not in ROLES:
        raise unknown("role", role, ROLES)
    return parse(spec).build(role, signed)


def methods() -> list[dict[str, Any]]:
    """The catalogue as records: name, family, kind (W/A/G/P), bits, grid, learned, paper, equation, options, summary.

    Example:
        >>> [m["bits"] for m in methods() if m["name"] == "bwn"]
        ['1']
    """
    rows = []
    for name, method in sorted(METHODS.items()):
        card = asdict(method.card)
        low, high = card.pop("min_bits"), card.pop("max_bits")
        signature = inspect.signature(method.__init__).parameters.values()
        options = {p.name: p.default for p in signature if p.name not in ("self", "common", *_COMMON)}
        options = {**options, **dict.fromkeys(_OPTIONS)}
        summary = (inspect.getdoc(method) or "").splitlines()[0]
        rows.append({**card, "name": name, "bits": f"{low}" if low == high else f"{low}-{high}",
                     "options": options, "summary": summary})  # fmt: skip
    return rows
