"""Quantizers: one method family a file, all under the contract of `base.Quantizer`."""

from lowbit.quantizers.base import Card, Quantizer
from lowbit.quantizers.catalog import METHODS, Spec, methods, parse, quantizer

__all__ = ["METHODS", "Card", "Quantizer", "Spec", "methods", "parse", "quantizer"]
