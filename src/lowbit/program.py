"""The integer program: what `convert` produces, a `.lowbit` file stores, and every runtime executes.

A program is a list of operations in execution order over named values. One image goes through it at a time;
shapes here leave out the batch. A value is one of

    float   float32 stream                                    [features] or [channels, height, width]
    codes   integer codes on a grid                           the same
    acc     int32 accumulators of a layer, one per term pair  [features] or [channels, height, width]
    bytes   the uint8 input image of a program with a lookup table

and an operation one of those that `lowbit.infer` lists with their rules. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowbit.grid import Grid
from lowbit.pack import pack, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from lowbit.table import Table

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Weight:
    """Packed weight codes of one layer.

    Args:
        packed: uint8, `lowbit.pack` of `codes - low`.
        shape: [out, in / groups, height, width] for a convolution, [out, in] for a linear layer.
        grid: scales are one for the tensor or one for each output channel.
    """

    packed: NDArray[np.uint8]
    shape: tuple[int, ...]
    grid: Grid

    @classmethod
    def from_codes(cls, codes: NDArray[Any], grid: Grid) -> Weight:
        """Pack an integer array of codes in the grid's code range."""
        return cls(packed=pack(codes - grid.code_range[0], grid.bits), shape=tuple(codes.shape), grid=grid)

    def codes(self) -> NDArray[np.int32]:
        """Unpacked codes, int32 of `shape`."""
        count = int(np.prod(self.shape, dtype=np.int64))
        return unpack(self.packed, self.grid.bits, count).astype(np.int32).reshape(self.shape) + self.grid.code_range[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Op:
    """One operation.

    Args:
        kind: name of the operation, a key of `lowbit.infer.RULES`.
        name: module path (or call site) in the source model, for people.
        inputs: names of the values it reads.
        output: name of the value it writes; each value is written once.
        attrs: numbers, strings and integer tuples, as the rule of `kind` says.
        arrays: float32, int32 or uint8 arrays (bias, thresholds, ...).
        grid: grid of the output where that is codes and not inherited.
        weight: of layers.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    grid: Grid | None = None
    weight: Weight | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A whole network in integers.

    Args:
        ops: in execution order.
        input_shape: shape of one image or feature vector, without the batch.
        input_dtype: "float32", or "uint8" where the first operation is a `lookup`.
        output: name of the value that `run` returns.
        source: provenance, strings only (model class, versions, seed, commit).

    The value that enters is always called "input".
    """

    ops: tuple[Op, ...]
    input_shape: tuple[int, ...]
    output: str
    input_dtype: str = "float32"
    source: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write a `.lowbit` file; a crash or a full disk leaves an older file of that name untouched.

        Raises:
            OSError: if the folder does not exist or cannot be written.
        """
        from lowbit.file import save

        save(self, path)

    def summary(self) -> Table:
        """One row a layer: bits, grids, parameters, multiply-adds, bytes; see `lowbit.inspect.summary`."""
        from lowbit.inspect import summary

        return summary(self)

    @property
    def exact(self) -> bool:
        """Whether every operation is exact, i.e. no layer multiplies floats."""
        return not any(op.kind in ("float_conv", "float_linear") for op in self.ops)
