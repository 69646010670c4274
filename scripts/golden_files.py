"""Writes `.lowbit` files of today's format with inputs and outputs, which later versions must still run.

    python scripts/golden_files.py

Run it once when `FORMAT_VERSION` grows. It never changes a file that is there: those are the promise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lowbit.atomic import replacing
from lowbit.file import to_bytes
from lowbit.program import FORMAT_VERSION, Program
from lowbit.runtime import reference

TESTS = Path(__file__).resolve().parents[1] / "tests"
FOLDER = TESTS / "golden"


def write(name: str, program: Program) -> None:
    """One file, and beside it an input and every value that the reference interpreter makes of it."""
    path = FOLDER / f"{name}-{FORMAT_VERSION}.lowbit"
    if path.exists():
        print(f"{path}: is there already")
        return
    rng = np.random.default_rng(7)
    shape = (3, *program.input_shape)
    whole = rng.integers(0, 256, shape, dtype=np.uint8)
    x = whole if program.input_dtype == "uint8" else rng.normal(0, 1, shape).astype(np.float32)
    with replacing(path) as place:
        place.write_bytes(to_bytes(program))
    with replacing(path.with_suffix(".npz")) as place, place.open("wb") as stream:
        np.savez_compressed(stream, **reference.run(program, x, trace=True)[1])
    print(path)


def main() -> None:
    """Write what is missing."""
    sys.path.insert(0, str(TESTS))
    from file_programs import bytes_and_floats, every_integer_operation

    write("integers", every_integer_operation())
    write("bytes-and-floats", bytes_and_floats())


if __name__ == "__main__":
    main()
