"""Write what share of the peak each kernel reaches into native/README.md.

    python scripts/kernel_table.py [--measure] [--check]

`--measure` times whole layers of every instruction set here (half a minute) and writes docs/runtime/shares.json. The
block between `<!-- shares -->` and `<!-- end -->` is made of that file; `--check` writes nothing and fails if it is
stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page_blocks import refresh

from lowbit.atomic import write_text
from lowbit.bench.layers import Shape, layer_program
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine, available

ROOT = Path(__file__).parents[1]
PAGE, RECORD = ROOT / "native" / "README.md", ROOT / "docs" / "runtime" / "shares.json"
SHAPE = Shape(128, 28)
BITS = ((1, 1), (2, 2), (4, 4), (8, 8))
SEED, ROUNDS = 0, 40


def measure() -> dict[str, Any]:
    """Rows of all instruction sets but `scalar`, which is for tests."""
    x = np.random.default_rng(SEED).random((1, SHAPE.channels, SHAPE.size, SHAPE.size), dtype=np.float32)
    rows = []
    for isa in available():
        if isa == "scalar":
            continue
        for weight, activation in BITS:
            engine = Engine(layer_program(SHAPE, weight, activation), isa=isa)
            shots = [engine.profile(x, 3, peaks=True) for _ in range(ROUNDS)]
            # Of a layer of milliseconds other work takes a part of most rounds, so the calmest one counts.
            step = min((max(shot.steps, key=lambda s: s.ops) for shot in shots), key=lambda s: s.ns)
            rows.append({"isa": isa, "bits": f"W{weight}A{activation}", "kernel": step.kernel, "us": step.ns / 1e3,
                         "gops": step.gops, "share": step.share})  # fmt: skip
    return {"layer": str(SHAPE), "rows": rows, **provenance(seed=SEED, threads=1)}


def table(record: dict[str, Any]) -> str:
    """Markdown: one line a row."""
    lines = ["| set | bits | kernel | us | GOP/s | share of peak |", "| --- | --- | --- | ---: | ---: | ---: |"]
    for row in record["rows"]:
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        cells = (row["isa"], row["bits"], f"`{row['kernel']}`", f"{row['us']:.0f}", f"{row['gops']:.0f}", share)
        lines.append("| " + " | ".join(cells) + " |")
    machine = record["machine"]
    origin = f"{machine['processor']}, {machine['cores']} cores; {record['layer']}, commit {record['commit'][:7]}."
    return "\n".join([*lines, "", origin, ""])


def main() -> int:
    """Measure, write or check; 1 if the block is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.measure:
        write_text(RECORD, json.dumps(measure(), indent=1) + "\n")
    made = {"shares": table(json.loads(RECORD.read_text(encoding="utf-8")))}
    return refresh(PAGE, made.__getitem__, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
