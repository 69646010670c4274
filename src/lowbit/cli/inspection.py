"""`lowbit inspect`: what is in a file, and which kernels would run it here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowbit.file import load
from lowbit.program import Program
from lowbit.table import Table

if TYPE_CHECKING:
    from lowbit.runtime.profile import Profile

SHOWN = ("layer", "kind", "output", "W", "A", "weight grid", "parameters", "MACs", "bytes", "exact", "kernel")


def describe(file: str, batch: int = 1, isa: str | None = None) -> dict[str, Any]:
    """File size, input, output, operations, layers with their kernels, and provenance.

    Args:
        file: a .lowbit file.
        batch: inputs of one run, which may take other kernels than one.
        isa: instruction set of the kernels; None: the best.

    Raises:
        InvalidProgram: the file is damaged.
        OSError: it cannot be read.
    """
    program = load(file)
    table = program.summary().to_dict()
    kernels = kernels_of(file, batch, isa)
    rows = [{**row, "kernel": kernels.get(row["layer"])} for row in table["rows"]]
    return {
        "file": file,
        "bytes": Path(file).stat().st_size,
        "input": {"shape": list(program.input_shape), "dtype": program.input_dtype},
        "operations": [{"kind": op.kind, "name": op.name} for op in program.ops],
        "exact": program.exact,
        "layers": rows,
        "totals": table["totals"],
        "notes": table["notes"],
        "source": dict(program.source),
    }


def kernels_of(file: str, batch: int = 1, isa: str | None = None) -> dict[str, str]:
    """Kernel of each layer on this machine; empty where the native module is missing."""
    from lowbit import runtime
    from lowbit.report.content import layer_kernels

    try:
        return layer_kernels(runtime.load(file, isa=isa), batch)
    except ImportError:
        return {}


def profile_of(file: str, isa: str | None, batch: int = 1, repeats: int = 100) -> Profile:
    """Time of each step on this machine, with shares of the peak, on random inputs.

    Raises:
        UnknownName: this processor lacks the instruction set.
    """
    from lowbit import runtime
    from lowbit.runtime.engine import IMAGES

    net = runtime.load(file, isa=isa)
    return net.profile(random_input(net.program, min(batch, IMAGES)), repeats=repeats, peaks=True)


def random_input(program: Program, batch: int = 1) -> NDArray[Any]:
    """Inputs of a program: uniform floats from 0 to 1, or bytes."""
    random = np.random.default_rng(0)
    shape = (batch, *program.input_shape)
    if program.input_dtype == "uint8":
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.random(shape, dtype=np.float32)


def text(file: str, found: dict[str, Any]) -> str:
    """The description for people."""
    shape = " x ".join(map(str, found["input"]["shape"]))
    head = f"{file}: {found['bytes']:,} bytes, input {found['input']['dtype']} {shape}, "
    head += "exact" if found["exact"] else "not exact: it multiplies floats"
    source = [f"{key}: {value}" for key, value in found["source"].items()]
    table = Table(SHOWN, found["layers"], notes=found["notes"], totals=found["totals"])
    return "\n".join([head, "", str(table), *([""] if source else []), *source])
