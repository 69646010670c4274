"""The constant of XNOR-Net's K, the same number wherever K is computed."""

from __future__ import annotations

import math

from lowbit.program import Op

FIXED = 2.0**16
"""Magnitudes are summed as multiples of 1 / FIXED, so that sums are exact integers in any order."""


def factor(channels: int, taps: int) -> float:
    """float64 factor that turns a sum of fixed-point magnitudes into their mean over channels and window taps."""
    return 1.0 / (channels * taps * FIXED)


def magnitude_factor(op: Op, channels: int) -> float:
    """The factor of a `magnitude` operation."""
    return factor(channels, math.prod(op.attrs["kernel"]) if op.attrs else 1)
