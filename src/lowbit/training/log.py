"""The log of a run: one row an epoch, in memory and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lowbit.atomic import write_text

Row = dict[str, Any]


def write_log(path: str | Path, rows: list[Row]) -> None:
    """Write the rows as CSV; columns in the order in which they first appear, empty where a row has none.

    Raises:
        InvalidInput: the file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_log(path: str | Path) -> list[Row]:
    """The rows of `write_log`, numbers as int or float, empty cells left out.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.csv"
        >>> write_log(path, [{"epoch": 0, "train_loss": 2.5}])
        >>> read_log(path)
        [{'epoch': 0, 'train_loss': 2.5}]
    """
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [{name: _number(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(file)]


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
