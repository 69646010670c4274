"""A table for people (`str`) and programs (`to_dict`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of one set of columns, with notes below.

    Args:
        columns: keys of the rows, in order; also the headings.
        rows: one mapping a row; missing values print as "-".
        notes: lines printed under the table.
        totals: further numbers, printed as one line.

    Example:
        >>> print(Table(("layer", "bits"), [{"layer": "conv1", "bits": 2}]))
        layer  bits
        conv1     2
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    totals: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"rows": [dict(r) for r in self.rows], "totals": dict(self.totals), "notes": list(self.notes)}

    def __str__(self) -> str:
        cells = [[_text(row.get(c)) for c in self.columns] for row in self.rows]
        widths = [max(len(c), *(len(r[i]) for r in cells), 0) for i, c in enumerate(self.columns)]
        right = [all(isinstance(r.get(c), (int, float, type(None))) for r in self.rows) for c in self.columns]

        def line(texts: Sequence[str]) -> str:
            parts = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(texts, widths, right, strict=True)]
            return "  ".join(parts).rstrip()

        lines = [line(list(self.columns)), *(line(r) for r in cells)]
        if self.totals:
            lines.append(", ".join(f"{k} {_text(v)}" for k, v in self.totals.items()))
        return "\n".join([*lines, *self.notes])


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
