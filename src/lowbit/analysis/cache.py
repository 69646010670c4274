"""Finished measurements on disk, found again by the content of model and data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import Tensor, nn

from lowbit import __version__
from lowbit.analysis.samples import Samples
from lowbit.atomic import make_folder, write_text
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table

FORMAT = 2
"""Raised whenever a measurement changes what it means."""


def digest(model: nn.Module, data: Samples) -> str:
    """Hash of everything that a measurement depends on: structure, state, methods, inputs, labels, version."""
    found = hashlib.sha256(f"{FORMAT} {__version__} {model!r}".encode())
    for module in model.modules():
        if isinstance(module, Quantizer):
            found.update(f"{module.spec} {module.identity} {module.enabled} {module.replaces_relu}".encode())
    for name, value in model.state_dict().items():
        found.update(name.encode())
        _add(found, value)
    _add(found, data.x)
    if data.y is not None:
        _add(found, data.y)
    return found.hexdigest()[:16]


def _add(found: hashlib._Hash, tensor: Tensor) -> None:
    found.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
    found.update(tensor.detach().cpu().contiguous().numpy().tobytes())


class Cache:
    """One JSON file a measurement in a folder.

    Args:
        folder: made where it is missing.
        key: from `digest`.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.place = Path(folder) / key
        make_folder(self.place)

    def read(self, name: str) -> Table | None:
        """A finished measurement, or None where there is none, or its file is damaged."""
        try:
            record = json.loads((self.place / f"{name}.json").read_text(encoding="utf-8"))
            return Table(record["columns"], record["rows"], notes=record["notes"], totals=record["totals"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, name: str, table: Table) -> None:
        """Keep a measurement."""
        record = {"columns": list(table.columns), **table.to_dict()}
        write_text(self.place / f"{name}.json", json.dumps(record) + "\n")
