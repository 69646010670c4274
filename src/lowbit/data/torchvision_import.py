"""Import torchvision beside a CPU build of torch.

torchvision's wheel is built for CUDA. Beside a CPU torch its compiled half does not load, and then its Python
half fails on import, because it describes two operators (``torchvision::nms`` and ``torchvision::qnms``) that
nobody has declared. Declaring their schemas first is enough: data sets, transforms and model definitions are
Python. Where the compiled half loads, it declares them itself and nothing is done here.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from lowbit.errors import MissingExtra

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

# A Library takes its declarations along when it is collected.
_declared: list[torch.library.Library] = []


def import_torchvision(submodule: str = "") -> ModuleType:
    """The torchvision module, or one of its submodules, e.g. ``"datasets"``.

    Raises:
        MissingExtra: torchvision is not installed.

    Example:
        >>> import_torchvision("transforms").__name__
        'torchvision.transforms'
    """
    if "torchvision" not in sys.modules:
        spec = importlib.util.find_spec("torchvision")
        if spec is None or not spec.submodule_search_locations:
            raise MissingExtra("torchvision is not installed; run: pip install 'lowbit[train]'")
        _declare_operators(Path(spec.submodule_search_locations[0]))
    return importlib.import_module(f"torchvision.{submodule}" if submodule else "torchvision")


def _declare_operators(package: Path) -> None:
    """Declare what torchvision's own library would, where that library does not load."""
    for library in package.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    missing = [schema for name, schema in SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)]
    if missing and not _declared:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for schema in missing:
            declared.define(schema)
        _declared.append(declared)
