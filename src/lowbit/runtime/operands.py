"""What integer layers multiply: codes of grids as operands of the native kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.grid import Grid
from lowbit.infer import Value

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Operand:
    """How a layer reads one input term: unit = slope * operand + first, operand = table[code] (None: the code)."""

    table: bytes | None
    slope: int
    first: int
    largest: int

    @property
    def planes(self) -> int:
        """Bits of the operand."""
        return max(1, self.largest.bit_length())


def operands(grid: Grid) -> list[Operand]:
    """Byte form of every term of an activation grid; empty where a term has none."""
    found = []
    for units in grid.unit_table().astype(np.int64):
        slope = int(units[1] - units[0]) if len(units) > 1 else 1
        if (np.diff(units) == slope).all():
            found.append(Operand(table=None, slope=slope, first=int(units[0]), largest=len(units) - 1))
            continue
        low = int(units.min())
        slope = int(np.gcd.reduce(units - low))
        codes = (units - low) // slope
        if codes.max() > 255:
            return []
        table = np.zeros(256, np.uint8)
        table[: len(codes)] = codes
        found.append(Operand(table=table.tobytes(), slope=slope, first=low, largest=int(codes.max())))
    return found


def coefficients(x: Value) -> Array:
    """float32(scale_x * scale_w) of every accumulator, [terms, 1 or channels]; see `reference.coefficients`."""
    assert x.grid is not None and x.weight_grid is not None
    scales, offset = x.weight_grid.term_scales(), getattr(x.weight_grid, "offset", None)
    if offset is not None:
        scales = np.concatenate([scales, offset[None]])
    scales = scales.reshape(len(scales), -1)
    return np.stack([sw * sx for sw in scales for sx in x.grid.term_scales()]).astype(np.float32)
