"""Reports: one HTML page that opens offline, and the same numbers as JSON beside it.

This package is what `lowbit.report(runs, path)` calls: importing a submodule would hide a function of that name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def report(
    runs: str | Path | Sequence[str | Path],
    path: str | Path = "report.html",
    *,
    show: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, Any]:
    """Write a page about one or several finished runs, and `report.json` beside it.

    Args:
        runs: folders of finished runs.
        path: of the page, ending in .html.
        show: called with what is being done, how much is done, and how much there is.

    Returns:
        What the page shows, JSON-able.

    Raises:
        InvalidInput: a folder holds no finished run, or the page cannot be written.

    Example:
        ``lowbit.report(["runs/float", "runs/digits"], "report.html")``
    """
    from lowbit.report.from_runs import content_of
    from lowbit.report.page import require_page, write_page

    require_page(path)
    folders = [runs] if isinstance(runs, (str, Path)) else list(runs)
    content = content_of([Path(folder) for folder in folders], show=show)
    write_page(content, path)
    return content


class _Callable(ModuleType):
    """A module that can be called."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return report(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
