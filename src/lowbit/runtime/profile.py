"""What each step of a network costs, and how close its kernel comes to what the processor can do."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

from lowbit.runtime import _kernels
from lowbit.table import Table

ARITHMETIC = ("bits", "bytes", "words", "floats", "tiles", "nibbles")
"""Kinds of arithmetic by native number: bit planes by population counts; 8-bit and 16-bit dot products; products and
sums of floats, each rounded; 8-bit dot products by matrix registers; four one-bit products a byte by shuffles."""

_KERNEL = re.compile(r"([a-z0-9]+)_(?:(?:and|xor|mask)(\d)x(\d)_)?\S*(?: x(\d+))?$")
_KINDS = {
    "bits": "bits",
    "nibbles1": "nibbles",
    "nibbles2": "nibbles",
    "dot8": "bytes",
    "tile8": "bytes",
    "depthwise": "words",
    "direct": "words",
    "float": "floats",
    "floats": "floats",
}


@functools.cache
def peak(isa: int, arithmetic: str) -> float:
    """Billions of operations a second that one core reaches with all operands in registers; 0: no such arithmetic.

    Measured at the first request of a process, 20 ms long; a multiply-add counts as two operations.

    Args:
        isa: native number of the instruction set, a value of `lowbit.runtime.engine.ISAS`.
        arithmetic: of `ARITHMETIC`.
    """
    return float(_kernels.peak(isa, ARITHMETIC.index(arithmetic)))


def arithmetic(kernel: str) -> tuple[str | None, int]:
    """Kind of arithmetic of a kernel, and how many such products make one product of its layer.

    Example:
        >>> arithmetic("bits_and2x2_8x16_avx512vpopcntdq"), arithmetic("dot8_u8s8_6x64_avx512vnni x6")
        (('bits', 4), ('bytes', 6))
        >>> arithmetic("tile8_u8s8_96x16_avx512amx_w2"), arithmetic("map_floats")
        (('tiles', 1), (None, 1))
        >>> arithmetic("nibbles1_4x32_avx2"), arithmetic("nibbles2_4x32_avx2")
        (('nibbles', 1), ('nibbles', 2))
    """
    found = _KERNEL.match(kernel.partition(" > ")[0])  # a layer that hands its strips to a pool counts as the layer
    kind = _KINDS.get(found[1]) if found else None
    if found is None or kind is None:
        return None, 1
    products = int(found[2] or 1) * int(found[3] or 1) * int(found[4] or 1)
    if found[1] == "nibbles2":  # half a byte looks up two products of two bits, or four of one
        products *= 2
    return "tiles" if "amx" in kernel else kind, products


@dataclass(frozen=True, kw_only=True)
class StepProfile:
    """One step of a plan, on one thread.

    Attributes:
        name: of the operations it executes, for people.
        kinds: their kinds.
        kernel: that runs it, by the grammar of native/README.md.
        ns: median time, in nanoseconds.
        ops: operations, two for a multiply-add; 0 where nothing is multiplied.
        bytes: weights and values read and written, as far as the step counts them.
        share: of the peak of its arithmetic (1 is all of it); None where it has none or the peaks were not measured.
    """

    name: str
    kinds: tuple[str, ...]
    kernel: str
    ns: float
    ops: int
    bytes: int
    share: float | None = None

    @property
    def gops(self) -> float | None:
        """Billions of operations a second."""
        return self.ops / self.ns if self.ops and self.ns else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name, "kinds": list(self.kinds), "kernel": self.kernel, "ms": 1e-6 * self.ns, "ops": self.ops,
            "bytes": self.bytes, "gops": self.gops, "share": self.share,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Profile(Sequence[StepProfile]):
    """The steps of a network in their order; `str` is a table for people, `to_dict` data for programs.

    Attributes:
        steps: one record a step.
        isa: instruction set they ran on.
        images: inputs of one pass; times, operations and bytes are of all of them.
        peaks: billions of operations a second by kind of arithmetic, where they were asked for.
    """

    steps: tuple[StepProfile, ...]
    isa: str
    images: int = 1
    peaks: Mapping[str, float] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> StepProfile: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[StepProfile]: ...

    def __getitem__(self, index: int | slice) -> StepProfile | Sequence[StepProfile]:
        return self.steps[index]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[StepProfile]:
        return iter(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: isa, images, peaks, ms of all steps, and the steps."""
        return {
            "isa": self.isa, "images": self.images, "peaks": dict(self.peaks),
            "ms": 1e-6 * sum(step.ns for step in self.steps), "steps": [step.to_dict() for step in self.steps],
        }  # fmt: skip

    def __str__(self) -> str:
        total = sum(step.ns for step in self.steps) or 1.0
        rows = [
            {
                "step": step.name, "does": " ".join(step.kinds), "kernel": step.kernel, "ms": round(1e-6 * step.ns, 4),
                "% of time": round(100 * step.ns / total), "MOP": 1e-6 * step.ops if step.ops else None,
                "kB": 1e-3 * step.bytes if step.bytes else None,
                "GOP/s": None if step.gops is None else round(step.gops),
                "% of peak": None if step.share is None else round(100 * step.share),
            }
            for step in self.steps
        ]  # fmt: skip
        columns: tuple[str, ...] = ("step", "does", "kernel", "ms", "% of time", "MOP", "kB", "GOP/s")
        inputs = "one input" if self.images == 1 else f"{self.images} inputs"
        notes = [f"{1e-6 * total:.4f} ms for {inputs} on one thread, {self.isa}; one multiply-add is two operations"]
        if self.peaks:
            columns += ("% of peak",)
            peaks = ", ".join(f"{kind} {value:.0f}" for kind, value in self.peaks.items())
            notes.append(f"peaks of one core, measured just now, GOP/s: {peaks}")
        return str(Table(columns, rows, notes=notes))


def with_shares(profile: Profile, number: int) -> Profile:
    """The profile with measured peaks.

    Args:
        profile: without shares.
        number: of its instruction set, the native one.
    """
    kinds = sorted({kind for step in profile if step.ops for kind, _ in [arithmetic(step.kernel)] if kind})
    peaks = {kind: peak(number, kind) for kind in kinds}
    shared = []
    for step in profile:
        kind, products = arithmetic(step.kernel)
        share = step.gops * products / peaks[kind] if kind in peaks and step.gops and peaks[kind] else None
        shared.append(replace(step, share=share))
    return replace(profile, steps=tuple(shared), peaks=peaks)
