"""The closed set of number grids that a trained network may use.

A grid says which real value each integer *code* stands for. Everything after training (programs, files,
kernels, exporters) matches on these four classes and on nothing else:

    Uniform   value = scale * unit (+ offset), unit = code - zero, or 2 * code - (2^bits - 1) when `odd`
    Planes    value = sum_i scales[i] * (+1 or -1), bit i of the code chooses the sign (0: -1, 1: +1); or of (1 or 0)
    Levels    value = scale * table[code], integer table
    Codebook  value = table[code], real table

A *code* is what is stored in `bits` bits; a *unit* is the integer that is accumulated. Every grid is a sum of
*terms*: term i has an integer unit per code (`unit_table()[i]`) and one float32 scale per tensor or per channel
(`term_scales()[i]`). Uniform, Levels: one term. Planes: one per plane. Codebook: one 0/1 term per level.
Weights may also have a real `offset` (min-max weights), which the layer adds as one more accumulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]

MAX_BITS = 16
"""Widest grid that training and the reference accept; `convert` refuses more than 8 bits."""


def _scale(value: Any, what: str, *, positive: bool = True) -> Float:
    """A float32 scalar `()` or per-channel vector `(channels,)`, finite and not negative."""
    array = np.asarray(value, dtype=np.float32)
    if array.ndim > 1:
        raise ValueError(f"{what} must be a scalar or one value a channel, got shape {array.shape}")
    if not np.isfinite(array).all() or (positive and (array < 0).any()):
        raise ValueError(f"{what} must be finite{' and not negative' if positive else ''}, got {array}")
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """What all four grids share. `bits` is the storage width of a code, 1 to 16."""

    kind: ClassVar[str]
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise ValueError(f"a grid has 1 to {MAX_BITS} bits, got {self.bits}")

    @property
    def code_range(self) -> tuple[int, int]:
        """Smallest and largest legal code, both included."""
        return 0, 2**self.bits - 1

    def unit_table(self) -> Int:
        """Units of every legal code in ascending order: int32 [terms, high - low + 1]."""
        raise NotImplementedError

    def term_scales(self) -> Float:
        """Scales of the terms: float32 [terms] or [terms, channels]."""
        raise NotImplementedError

    @property
    def terms(self) -> int:
        """How many integer terms a value is the scaled sum of."""
        return len(self.unit_table())

    @property
    def channels(self) -> int | None:
        """Number of channels that have a scale of their own, or None for one scale a tensor."""
        scales = self.term_scales()
        return scales.shape[1] if scales.ndim == 2 else None

    @property
    def has_zero(self) -> bool:
        """Whether the value 0 is a level, so that zero padding stays on the grid."""
        return bool((self.unit_table() == 0).all(axis=0).any())

    @property
    def max_unit(self) -> int:
        """Largest |unit| of any term."""
        return int(np.abs(self.unit_table()).max())

    def units(self, codes: NDArray[Any]) -> Int:
        """Units of an integer array of codes: int32 [terms, *codes.shape]."""
        return self.unit_table()[:, np.asarray(codes, dtype=np.int64) - self.code_range[0]]

    def values(self, codes: NDArray[Any]) -> Float:
        """Real values of codes, float32, rounded operation by operation as the layers do.

        Args:
            codes: integers inside `code_range`; per-channel grids take the channel from axis 0.
        """
        units = self.units(codes).astype(np.float32)
        scales = self.term_scales()
        if scales.ndim == 2:
            scales = scales.reshape(*scales.shape, *(1,) * (units.ndim - 2))
        total = units[0] * scales[0]
        for unit, scale in zip(units[1:], scales[1:], strict=True):
            total = total + unit * scale
        offset = getattr(self, "offset", None)
        if offset is not None:
            total = total + (offset.reshape(-1, *(1,) * (units.ndim - 2)) if offset.ndim else offset)
        return total

    def same(self, other: object) -> bool:
        """Whether two grids have equal numbers, bit for bit."""
        if type(self) is not type(other):
            return False
        pairs = [(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)

    def describe(self) -> str:
        """A few words for tables, e.g. ``uniform -2..1``."""
        low, high = self.code_range
        return f"{self.kind} {low}..{high}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Uniform(Grid):
    """Equally spaced levels.

    Args:
        bits: storage width.
        scale: distance of neighbouring units: scalar or one value a channel.
        signed: codes are -2^(bits-1)..2^(bits-1)-1, else 0..2^bits-1.
        zero: the code whose value is 0 (before `offset`).
        odd: units are 2 * code - (2^bits - 1), symmetric without a zero level; then `scale` is half the step.
        low, high: legal codes where narrower than the bits allow.
        offset: real number added to every value (weights only).

    Example:
        >>> Uniform(bits=2, scale=0.5, signed=True).values(np.array([-2, -1, 0, 1]))
        array([-1. , -0.5,  0. ,  0.5], dtype=float32)
    """

    kind: ClassVar[str] = "uniform"
    scale: Float
    signed: bool = False
    zero: int = 0
    odd: bool = False
    low: int | None = None
    high: int | None = None
    offset: Float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", _scale(self.scale, "Uniform.scale"))
        if self.offset is not None:
            offset = _scale(self.offset, "Uniform.offset", positive=False)
            object.__setattr__(self, "offset", offset)
            if offset.shape != self.scale.shape:
                raise ValueError(f"Uniform.offset has shape {offset.shape}, its scale {self.scale.shape}")
        full_low, full_high = (
            (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)
        )
        low = full_low if self.low is None else self.low
        high = full_high if self.high is None else self.high
        if not full_low <= low <= high <= full_high:
            raise ValueError(f"codes {low}..{high} do not fit {self.bits} bits ({full_low}..{full_high})")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        if self.odd and (self.signed or self.zero or (low, high) != (full_low, full_high)):
            raise ValueError("an odd grid has unsigned codes over the full range and no zero")
        if abs(self.zero) > 2**MAX_BITS:
            raise ValueError(f"Uniform.zero is {self.zero}, allowed is at most 2^{MAX_BITS}")

    @property
    def code_range(self) -> tuple[int, int]:
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def unit_table(self) -> Int:
        low, high = self.code_range
        codes = np.arange(low, high + 1, dtype=np.int32)
        return (2 * codes - (2**self.bits - 1) if self.odd else codes - np.int32(self.zero))[None]

    def term_scales(self) -> Float:
        return self.scale[None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes(Grid):
    """A weighted sum of signs: binary (one plane), XNOR-Net, ABC-Net, LQ-Nets.

    Args:
        bits: number of planes, 1 to 8.
        scales: float32 [planes] or [planes, channels].
        zero_one: planes are worth 0 or 1 instead of -1 or +1.
        patterns: bits of the planes for each code, where codes do not count them up; activations use it to have codes
            that ascend with the value. At most 2^bits distinct ones.

    Example:
        >>> Planes(bits=1, scales=[0.5]).values(np.array([0, 1]))
        array([-0.5,  0.5], dtype=float32)
    """

    kind: ClassVar[str] = "planes"
    scales: Float
    zero_one: bool = False
    patterns: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        scales = np.asarray(self.scales, dtype=np.float32)
        if scales.ndim not in (1, 2) or len(scales) != self.bits or not 1 <= self.bits <= 8:
            raise ValueError(f"Planes of {self.bits} bits need {self.bits} (1 to 8) scales, got shape {scales.shape}")
        if not np.isfinite(scales).all():
            raise ValueError(f"Planes.scales must be finite, got {scales}")
        object.__setattr__(self, "scales", scales)
        if self.patterns is not None:
            patterns = tuple(int(p) for p in self.patterns)
            object.__setattr__(self, "patterns", patterns)
            if not patterns or len(set(patterns)) < len(patterns) or not all(0 <= p < 2**self.bits for p in patterns):
                raise ValueError(f"Planes.patterns must be distinct numbers below {2**self.bits}, got {patterns}")

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, (2**self.bits if self.patterns is None else len(self.patterns)) - 1

    def unit_table(self) -> Int:
        codes = np.arange(2**self.bits) if self.patterns is None else np.array(self.patterns)
        planes = np.stack([(codes >> i) & 1 for i in range(self.bits)]).astype(np.int32)
        return planes if self.zero_one else 2 * planes - 1

    def term_scales(self) -> Float:
        return self.scales


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels(Grid):
    """An integer table times one scale: ternary, -2..2, powers of two, {-4, -2, -1, 0, 1, 2, 4}.

    Args:
        bits: storage width, enough for every index of the table.
        scale: scalar or one value a channel.
        table: strictly ascending integers, 2 to 256 of them, |entry| <= 2^15.

    Example:
        >>> Levels(bits=2, scale=0.8, table=[-1, 0, 1]).values(np.array([0, 1, 2]))
        array([-0.8,  0. ,  0.8], dtype=float32)
    """

    kind: ClassVar[str] = "levels"
    scale: Float
    table: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", _scale(self.scale, "Levels.scale"))
        table = tuple(int(level) for level in self.table)
        object.__setattr__(self, "table", table)
        if not 2 <= len(table) <= min(256, 2**self.bits):
            raise ValueError(f"Levels of {self.bits} bits take 2 to {min(256, 2**self.bits)} entries, got {len(table)}")
        if any(a >= b for a, b in pairwise(table)) or max(map(abs, table)) > 2**15:
            raise ValueError(f"Levels.table must ascend without repeats within +-2^15, got {table}")

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, len(self.table) - 1

    def unit_table(self) -> Int:
        return np.array([self.table], dtype=np.int32)

    def term_scales(self) -> Float:
        return self.scale[None]

    def describe(self) -> str:
        return f"levels {{{','.join(map(str, self.table))}}}" if len(self.table) <= 8 else super().describe()


@dataclass(frozen=True, kw_only=True, eq=False)
class Codebook(Grid):
    """A real table: weight sharing, trained ternary levels. Weights only.

    Args:
        bits: storage width, at most 8.
        table: float32 [levels] or [levels, channels], finite.

    Example:
        >>> Codebook(bits=2, table=[-0.7, 0.0, 0.65]).values(np.array([2, 0]))
        array([ 0.65, -0.7 ], dtype=float32)
    """

    kind: ClassVar[str] = "codebook"
    table: Float

    def __post_init__(self) -> None:
        super().__post_init__()
        table = np.asarray(self.table, dtype=np.float32)
        if table.ndim not in (1, 2) or self.bits > 8 or not 1 <= len(table) <= 2**self.bits:
            raise ValueError(
                f"Codebook of {self.bits} bits takes 1 to {2 ** min(self.bits, 8)} levels, got {table.shape}"
            )
        if not np.isfinite(table).all():
            raise ValueError("Codebook.table must be finite")
        object.__setattr__(self, "table", table)

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, len(self.table) - 1

    def unit_table(self) -> Int:
        return np.eye(len(self.table), dtype=np.int32)

    def term_scales(self) -> Float:
        return self.table


GRIDS: Mapping[str, type[Grid]] = {g.kind: g for g in (Uniform, Planes, Levels, Codebook)}


def quantize(x: Float, grid: Grid) -> Int:
    """Codes of a float32 array on an activation grid, by the arithmetic that every runtime shares.

    Uniform: divide by the scale, round half to even, add zero, clip. Odd Uniform: divide by the step
    (2 * scale), subtract 0.5, round half to even, shift, clip. One plane: code 1 where x >= 0. NaN, which only a
    stream that overflowed can hold, gets the lowest code.

    Args:
        x: float32, any shape.
        grid: Uniform with one scale, or Planes with one plane.

    Raises:
        ValueError: for a grid that has no arithmetic encoding (its producer stores thresholds instead).
    """
    if isinstance(grid, Planes) and grid.bits == 1 and not grid.zero_one and grid.patterns is None:
        return (x >= 0).astype(np.int32)
    if not isinstance(grid, Uniform) or grid.scale.ndim or grid.offset is not None:
        raise ValueError(f"no arithmetic encoding for activations on {grid.describe()}")
    if grid.odd:
        half = np.float32(0.5)
        code = np.rint(x / (np.float32(2) * grid.scale) - half) + np.float32(2 ** (grid.bits - 1))
    else:
        code = np.rint(x / grid.scale) + np.float32(grid.zero)
    low, high = grid.code_range
    return np.fmin(np.fmax(code, np.float32(low)), np.float32(high)).astype(np.int32)
