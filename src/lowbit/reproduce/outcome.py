"""What came out of a table: ours beside the paper's, every claim with its verdict, and where it all comes from."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowbit.atomic import make_folder, write_text
from lowbit.errors import InvalidInput, LowbitError
from lowbit.provenance import provenance, without
from lowbit.reproduce.claims import UNDECIDED, Verdict, judge
from lowbit.reproduce.measures import ABOUT, MEASURES
from lowbit.reproduce.plan import Plan
from lowbit.reproduce.table import Row
from lowbit.table import Table as Lines


def outcome(plan: Plan, impossible: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The record of a plan, from the runs that have finished.

    Args:
        plan: the table, seeds and folder.
        impossible: why rows could not be trained, by key.

    A run that is damaged counts as not run, with the reason.
    """
    reasons = impossible or {}
    claims = []
    here = {row.key for row in plan.rows}
    for claim in plan.table.claims:
        if {term.key for term in claim.comparison.factors} <= here:
            try:
                found = judge(claim.comparison, plan.results)
            except LowbitError as error:
                found = Verdict(UNDECIDED, reason=str(error))
            claims.append({"text": claim.text, "says": claim.says, "verdict": found.verdict, "value": found.value,
                           "deviation": found.deviation, "reason": found.reason})  # fmt: skip
    return {
        "name": plan.name,
        "title": plan.table.title,
        "source": plan.table.source,
        "note": plan.table.note,
        "budget": plan.budget,
        "seeds": list(plan.seeds),
        "measures": list(plan.table.measures),
        "rows": [_row(plan, row, reasons.get(row.key, "")) for row in plan.rows],
        "claims": claims,
        **provenance(),
    }


def _row(plan: Plan, row: Row, reason: str) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    for seed in plan.seeds:
        try:
            done = plan.done(row, seed)
            measured = {} if done is None else {name: MEASURES[name](done.folder) for name in plan.table.measures}
        except LowbitError as error:
            reason = reason or str(error)
            continue
        if done is None:
            reason = reason or plan.refused(row, seed)
        else:
            kept = ("accuracy", "loss", "images", "evaluated_on", "seconds", "threads", "command", "commit", "machine")
            result = {key: done.result.get(key) for key in kept}
            result["command"] = _anywhere(result["command"])
            curve = [log.get("test_accuracy") for log in done.rows]
            runs.append({"seed": seed, **result, **measured, "run": done.folder.name, "test_accuracy": curve})
    accuracies = [run["accuracy"] for run in runs]
    missing = [seed for seed in plan.seeds if seed not in {run["seed"] for run in runs}]
    return {
        "key": row.key,
        "label": row.label,
        "paper": row.paper,
        "mean": statistics.fmean(accuracies) if accuracies else None,
        "std": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        **{name: statistics.fmean(run[name] for run in runs) if runs else None for name in plan.table.measures},
        "missing_seeds": missing,
        "reason": reason,
        "resume": plan.command(row, missing) if missing else None,
        "runs": runs,
    }


def _anywhere(command: str | None) -> str | None:
    """A command without the folder that it wrote to, which is another one for everybody who types it."""
    if command is None:
        return None
    return shlex.join(without(shlex.split(command), "--out"))


def place(plan: Plan) -> Path:
    """The file of `write_outcome`: OUT/NAME.json, and OUT/NAME-full.json for the full budget."""
    stem = Path(plan.name).stem
    return plan.out / f"{stem}{'' if plan.budget == 'small' else '-' + plan.budget}.json"


def write_outcome(plan: Plan, record: Mapping[str, Any]) -> str:
    """Write the record as JSON to `place`, unless that holds one of more runs; returns what was done, in words.

    Raises:
        InvalidInput: the folder cannot be written, or holds the record of another table.
    """
    make_folder(plan.out)
    path = place(plan)
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
        other, count = there["title"] != record["title"], _count(there)
    except (OSError, ValueError, LookupError, TypeError):
        other, count = False, 0  # no record, or a damaged one
    if other:
        raise InvalidInput(f"{path}: holds the record of another table ({there['title']}); choose another --out")
    if count > _count(record):
        return f"{path} is left as it is, since it holds {count} runs and these are {_count(record)}; give all --seeds"
    write_text(path, json.dumps(record, indent=1) + "\n")
    return f"written to {path}"


def _count(record: Mapping[str, Any]) -> int:
    return sum(len(row["runs"]) for row in record["rows"])


def text(record: Mapping[str, Any]) -> str:
    """The record for people."""
    seeds, measures = [f"seed {seed}" for seed in record["seeds"]], record["measures"]
    lines = []
    for row in record["rows"]:
        by_seed = {f"seed {run['seed']}": f"{run['accuracy']:.2f}" for run in row["runs"]}
        ours = "not run" if row["mean"] is None else f"{row['mean']:.2f}"
        if row["std"] is not None:
            ours += f" +- {row['std']:.2f}"
        paper = None if row["paper"] is None else f"{row['paper']:g}"
        measured = {name: None if row[name] is None else f"{row[name]:.2f}" for name in measures}
        lines.append({"row": row["key"], "network": row["label"], "paper": paper, "ours": ours, **measured, **by_seed})
    parts = [
        f"{record['title']} ({record['source']}), budget {record['budget']}; last-epoch accuracy in percent",
        str(
            Lines(
                ("row", "network", "paper", "ours", *measures, *seeds), lines, notes=[ABOUT[name] for name in measures]
            )
        ),
    ]
    if record["claims"]:
        parts.append("\n".join(map(_claim_line, record["claims"])))
    if record["note"]:
        parts.append(record["note"].strip())
    unrun = [row for row in record["rows"] if row["resume"]]
    if unrun:
        about = ["not run:"]
        for row in unrun:
            what = row["reason"] or f"seed {', '.join(map(str, row['missing_seeds']))}"
            about.append(f"  {row['key']}: {what}\n    {row['resume']}")
        parts.append("\n".join(about))
    return "\n\n".join(parts)


def _claim_line(claim: Mapping[str, Any]) -> str:
    value, deviation = claim["value"], claim["deviation"]
    measured = claim["reason"] if value is None else f"{value:+.2f} +- {deviation:.2f}"
    return f"{claim['verdict']:<12}  {claim['text']}  ({measured})"
