"""Training procedures, one a file; `procedure(name, **settings)` makes one by name."""

from __future__ import annotations

import inspect
from typing import Any

from lowbit.errors import unknown
from lowbit.procedures.base import Procedure, Run
from lowbit.procedures.retrain import Retrain

__all__ = ["PROCEDURES", "Procedure", "Retrain", "Run", "procedure"]

PROCEDURES: dict[str, type[Procedure]] = {kind.name: kind for kind in (Procedure, Retrain)}


def procedure(name: str, **settings: Any) -> Procedure:
    """Make a procedure by name, as recipes and the command line do.

    Args:
        name: a key of ``PROCEDURES``.
        settings: the procedure's own.

    Raises:
        UnknownName: there is none of that name, or no such setting of it; the message holds the nearest name.

    Example:
        >>> procedure("retrain").needs_float_start
        True
    """
    if name not in PROCEDURES:
        raise unknown("procedure", name, PROCEDURES)
    kind = PROCEDURES[name]
    allowed = [] if kind.__init__ is object.__init__ else list(inspect.signature(kind).parameters)
    for setting in settings:
        if setting not in allowed:
            raise unknown(f"setting of procedure {name!r}", setting, allowed)
    return kind(**settings)
