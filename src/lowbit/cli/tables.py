"""Catalogue records as a table for people."""

from __future__ import annotations

from typing import Any

from lowbit.table import Table

KINDS = {"W": "weights", "A": "activations", "G": "gradients", "P": "procedure"}


def methods_text(records: list[dict[str, Any]]) -> str:
    """One line a method."""
    rows = [
        {
            "method": record["name"],
            "for": ", ".join(KINDS.get(letter, letter) for letter in record["kind"]),
            "bits": record["bits"],
            "grid": record["grid"],
            "paper": record["paper"],
            "what it does": record["summary"],
        }
        for record in records
    ]
    note = "write name:bits, name:bits@channel, or a mapping with options; see --json for the options"
    return str(Table(tuple(rows[0]), rows, notes=[note]))
