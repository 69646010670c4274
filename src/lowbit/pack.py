"""Dense bit packing of codes: the layout of every integer tensor in a `.lowbit` file.

Codes are shifted to start at 0 (`code - low`) and stored back to back, `bits` bits each, in row-major order,
least significant bit first; the last byte is filled with zeros. Kernels repack this at load into layouts of
their own; the file layout is the same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 16  # codes unpacked at a time: bounds the temporary bit array; a multiple of 8


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` codes of `bits` bits take."""
    return (count * bits + 7) // 8


def pack(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Pack non-negative integers.

    Args:
        codes: integers in 0..2^bits - 1, any shape, flattened in row-major order.
        bits: 1 to 16.

    Returns:
        uint8 [packed_bytes(codes.size, bits)].

    Raises:
        ValueError: if a code does not fit.

    Example:
        >>> pack(np.array([1, 2, 3, 0, 1]), 2).tolist()
        [57, 1]
    """
    flat = np.ascontiguousarray(codes).reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= 2**bits):
        raise ValueError(f"codes span {flat.min()}..{flat.max()}, but {bits} bits hold 0..{2**bits - 1}")
    parts = []
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype("<u2").view(np.uint8).reshape(-1, 2)
        parts.append(
            np.packbits(np.unpackbits(block, axis=1, bitorder="little")[:, :bits].reshape(-1), bitorder="little")
        )
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def largest(data: NDArray[np.uint8], bits: int, count: int) -> int:
    """Largest packed code, found block by block so that hostile files cannot make it allocate much."""
    if bits == 8:
        return int(data.max())
    step = _BLOCK * bits // 8
    blocks = range(0, count, _BLOCK)
    return max(
        int(unpack(data[i * step : (i + 1) * step], bits, min(_BLOCK, count - start)).max())
        for i, start in enumerate(blocks)
    )


def unpack(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint16]:
    """Undo `pack`.

    Args:
        data: uint8 [packed_bytes(count, bits)].
        bits: 1 to 16.
        count: number of codes.

    Returns:
        uint16 [count].

    Raises:
        ValueError: if `data` has another length.

    Example:
        >>> unpack(np.array([57, 1], np.uint8), 2, 5).tolist()
        [1, 2, 3, 0, 1]
    """
    if data.size != packed_bytes(count, bits):
        raise ValueError(f"{count} codes of {bits} bits take {packed_bytes(count, bits)} bytes, got {data.size}")
    codes = np.empty(count, np.uint16)
    weights = (1 << np.arange(bits)).astype(np.uint16)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        block = data[start * bits // 8 : packed_bytes(stop, bits)]
        digits = np.unpackbits(block, count=(stop - start) * bits, bitorder="little").reshape(-1, bits)
        codes[start:stop] = digits @ weights
    return codes
