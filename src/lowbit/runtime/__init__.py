"""Run `.lowbit` programs: `load` for the fast engine, `reference` for the normative interpreter.

Imports neither torch nor anything else heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from lowbit.runtime import reference
    from lowbit.runtime.engine import Engine

__all__ = ["load", "reference"]


def load(path: str | Path, threads: int = 1, isa: str | None = None, max_arena_mb: int = 1024) -> Engine:
    """Load a `.lowbit` file for execution.

    Args:
        path: file written by `Program.save`.
        threads: worker threads, 1 to 256.
        isa: "scalar", "avx2", "avx512bw" (without VNNI and VPOPCNTDQ), "avx512" or "amx", on Arm "neon"; None takes
            the best that this processor has.
        max_arena_mb: refuse networks whose activations of one image need more memory than this.

    Returns:
        A network: ``net.run(x)`` (numpy in, numpy out), ``net.profile(x)``, ``net.program``.

    Raises:
        InvalidProgram: for a damaged or hostile file.
        OSError: if the file cannot be read.
    """
    from lowbit.file import load as read
    from lowbit.runtime.engine import Engine

    return Engine(read(path), threads=threads, isa=isa, max_arena_mb=max_arena_mb)


def __getattr__(name: str) -> Any:
    if name in ("reference", "engine"):
        return importlib.import_module(f"lowbit.runtime.{name}")
    raise AttributeError(f"module 'lowbit.runtime' has no attribute {name!r}")
