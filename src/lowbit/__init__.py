"""lowbit: train 1- to 8-bit networks, convert them without changing one answer, run them fast on a CPU.

Importing this package loads neither torch nor anything else heavy; training names load on first use.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from lowbit.errors import LowbitError, MissingExtra

__version__ = "0.1.0"

_TRAINING = {
    "prepare": "lowbit.prepare",
    "summary": "lowbit.summary",
    "calibrate": "lowbit.calibrate",
    "convert": "lowbit.convert",
    "Pixels": "lowbit.pixels",
    "methods": "lowbit.quantizers.catalog",
    "quantizer": "lowbit.quantizers.catalog",
    "procedure": "lowbit.procedures",
    "allocate": "lowbit.analysis",
    "diagnose": "lowbit.analysis",
    "report": "lowbit.report",
}
_MODULES = ("runtime", "layers", "quantizers", "data", "models", "procedures", "training")

if TYPE_CHECKING:
    from lowbit.calibrate import calibrate
    from lowbit.convert import convert
    from lowbit.pixels import Pixels
    from lowbit.prepare import prepare
    from lowbit.quantizers.catalog import methods, quantizer
    from lowbit.summary import summary

__all__ = ["LowbitError", "Pixels", "calibrate", "convert", "methods", "prepare", "quantizer", "summary"]


def __getattr__(name: str) -> Any:
    if name in _TRAINING:
        try:
            value = getattr(importlib.import_module(_TRAINING[name]), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("lowbit"):
                raise
            raise MissingExtra(
                f"lowbit.{name} needs {error.name}, which the base install leaves out: pip install 'lowbit[train]'"
            ) from error
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"lowbit.{name}")
    raise AttributeError(f"module 'lowbit' has no attribute {name!r}")


class _Package(types.ModuleType):
    """`lowbit.prepare` is the function, never the submodule of that name, whoever imports the submodule first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _TRAINING and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
