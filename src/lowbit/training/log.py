"""The log of a run: one row an epoch, in memory and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lowbit.atomic import write_text
from lowbit.errors import InvalidInput

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

    Raises:
        InvalidInput: the file is not such a log.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.csv"
        >>> write_log(path, [{"epoch": 0, "train_loss": 2.5}])
        >>> read_log(path)
        [{'epoch': 0, 'train_loss': 2.5}]
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            head, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (OSError, UnicodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: cannot be read ({error}); delete the run's folder to train it again") from error
    short = [number for number, line in enumerate(lines, 2) if len(line) != len(head)]
    if "epoch" not in head or short:
        where = f"{path}:{short[0]}" if short else str(path)
        raise InvalidInput(f"{where}: is not the log of a training; delete the run's folder to train it again")
    rows = [{name: _number(cell) for name, cell in zip(head, line, strict=True) if cell != ""} for line in lines]
    if not all(isinstance(row.get("epoch"), int) for row in rows):
        raise InvalidInput(f"{path}: has a row without an epoch; delete the run's folder to train it again")
    return rows


def _number(cell: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
