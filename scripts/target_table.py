"""Write what the records of docs/runtime reached into the tables of targets of docs/runtime.md.

    python scripts/target_table.py [--check]

The block between `<!-- reached -->` and `<!-- end -->` is made of docs/runtime/*.json, `reached-NAME` of those in
the folder NAME, another machine's; `--check` writes nothing and fails if one is stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from page_blocks import refresh

PAGE = Path(__file__).parents[1] / "docs" / "runtime.md"
RECORDS = PAGE.with_suffix("")
PEERS = ("onnxruntime float32", "onnxruntime int8", "openvino int8")
PARTS = ("layers", "matrices", "networks18", "networks20", "avx2", "threads", "process")
Row = dict[str, Any]


def _subject(row: Row) -> str:
    name = row.get("network") or f"{row['layer']}, {row['bits']}"
    return f"{name}, batch {row['batch']}"


def _ratios(values: dict[str, float] | None) -> str:
    return "" if not values else " / ".join(f"{values[peer]:.3g}" if peer in values else "-" for peer in PEERS)


def _line(part: str, row: Row) -> list[str]:
    if part == "threads":
        return [
            _subject(row) + ", two threads",
            f"{row['us']['2'] / 1e3:.2f}",
            f"{row['speedup']:.2f} x one",
            f"{row['must']} x",
        ]
    if part == "process":
        must = row["must"]
        reached = f"{row['cpu_share']:.2f} x onnxruntime int8, {row['peak_mb']:.0f} MB"
        return [
            "whole process, ResNet-18 W1A1",
            f"{row['cpu_ms']:.0f}",
            reached,
            f"{must['cpu_share']} x, {must['peak_mb']} MB",
        ]
    label = _subject(row) + (", AVX2" if part == "avx2" else "")
    return [label, f"{row['us'] / 1e3:.3f}", _ratios(row["ratio"]), _ratios(row["must"])]


def table(block: str) -> str:
    """Markdown: one line for every row that has a target."""
    folder = RECORDS / block.removeprefix("reached").removeprefix("-")
    lines = ["| what | ms | reached | must | met |", "| --- | ---: | --- | --- | --- |"]
    origins = []
    for part in PARTS:
        record = json.loads((folder / f"{part}.json").read_text())
        origins.append(f"{part} {record['commit'][:7]}")
        for row in record["rows"]:
            if row.get("must"):
                noisy = " (noisy)" if row.get("noisy") else ""
                lines.append("| " + " | ".join([*_line(part, row), ("yes" if row["met"] else "**no**") + noisy]) + " |")
    machine = record["machine"]["processor"]
    return "\n".join([*lines, "", f"{machine}, {record['machine']['cores']} cores; commits: {', '.join(origins)}.", ""])


def main() -> int:
    """Write, or check; 1 if the block is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    return refresh(PAGE, table, check=parser.parse_args().check)


if __name__ == "__main__":
    sys.exit(main())
