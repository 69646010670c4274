"""Thin layers that share Parameters with the float layers they replace."""

from lowbit.layers.add import Add, Concat
from lowbit.layers.base import WeightLayer
from lowbit.layers.batchnorm import QuantBatchNorm1d, QuantBatchNorm2d
from lowbit.layers.conv import QuantConv2d
from lowbit.layers.linear import QuantLinear
from lowbit.layers.pool import AdaptiveAvgPool2d, AvgPool2d, Mean

__all__ = [
    "AdaptiveAvgPool2d",
    "Add", "AvgPool2d", "Concat", "Mean", "QuantBatchNorm1d", "QuantBatchNorm2d", "QuantConv2d", "QuantLinear",
    "WeightLayer",
]  # fmt: skip
