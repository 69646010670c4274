"""Write the tables of docs/results.md from the records beside it (docs/results/*.json).

    python scripts/result_page.py [--check]

A block between `<!-- NAME -->` and `<!-- end -->` is what docs/results/NAME.json says: accuracies, verdicts, what has
not run with the command that runs it, commits and machine. The text between the blocks is written by hand. `--check`
writes nothing and fails if a block is not up to date.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from page_blocks import blocks, refresh

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
RECORDS = PAGE.with_suffix("")


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def _origin(runs: list[Mapping[str, Any]]) -> str:
    """Where runs were made, in one sentence."""
    commits = sorted({run["commit"] for run in runs})
    processors = sorted({run["machine"]["processor"] for run in runs})
    minutes = statistics.median(run["seconds"] for run in runs) / 60
    return (
        f"{len(runs)} runs of {runs[0]['threads']} thread, {minutes:.1f} minutes each (median, on a shared "
        f"machine), {', '.join(processors)}; lowbit {', '.join(commits)}."
    )


def table(name: str, record: Mapping[str, Any], beside: Mapping[str, list[float]]) -> str:
    """Markdown of one table of `lowbit reproduce`.

    Args:
        name: of the table.
        record: what `lowbit reproduce NAME` wrote.
        beside: accuracies of Brevitas by row.
    """
    seeds, measures = record["seeds"], record.get("measures", [])
    papers = any(row["paper"] is not None for row in record["rows"])
    head = ["network", *(["paper"] if papers else []), *(["Brevitas"] if beside else []), "ours"]
    head += [*(name.replace("_", " ") for name in measures), *(f"seed {seed}" for seed in seeds)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in record["rows"]:
        by_seed = {run["seed"]: f"{run['accuracy']:.2f}" for run in row["runs"]}
        ours = _mean([run["accuracy"] for run in row["runs"]]) if row["runs"] else "not run"
        peer = [_mean(beside[row["key"]]) if row["key"] in beside else ""] if beside else []
        paper = ["" if row["paper"] is None else f"{row['paper']:g}"] if papers else []
        measured = [_mean([run[name] for run in row["runs"]]) if row["runs"] else "" for name in measures]
        cells = [row["label"], *paper, *peer, ours, *measured, *(by_seed.get(seed, "") for seed in seeds)]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    lines += [f"* **{claim['verdict']}**: {claim['text']} ({_measured(claim)})" for claim in record["claims"]]
    missing = [row for row in record["rows"] if row["missing_seeds"]]
    if missing:
        keys = ",".join(row["key"] for row in missing)
        command = f"lowbit reproduce {name} --budget {record['budget']} --rows {keys}"
        lines += ["", f"Not run, or not with every seed: `{command}` trains what is missing."]
    runs = [run for row in record["rows"] for run in row["runs"]]
    if runs:
        lines += ["", _origin(runs)]
    return "\n".join(lines) + "\n"


def _measured(claim: Mapping[str, Any]) -> str:
    if claim["value"] is None:
        return claim["reason"]
    return f"{claim['value']:+.2f} ± {claim['deviation']:.2f}"


def main() -> int:
    """Write, or check; 1 if something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    peers: dict[str, list[float]] = {}
    if (RECORDS / "brevitas.json").exists():
        for run in json.loads((RECORDS / "brevitas.json").read_text())["runs"]:
            peers.setdefault(run["row"], []).append(run["accuracy"])

    def block(name: str) -> str:
        record = json.loads((RECORDS / f"{name}.json").read_text())
        return table(name, record, peers if name == "fashion-line" else {})

    unquoted = {path.stem for path in RECORDS.glob("*.json")} - {*blocks(PAGE)} - {"brevitas"}
    if unquoted:
        print(f"docs/results.md has no block for {', '.join(sorted(unquoted))}", file=sys.stderr)
        return 1
    return refresh(PAGE, block, check=check)


if __name__ == "__main__":
    sys.exit(main())
