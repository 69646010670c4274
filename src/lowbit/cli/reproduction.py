"""What `lowbit reproduce` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lowbit.errors import InvalidInput, LowbitError, MissingExtra, unknown
from lowbit.reproduce import Plan, outcome, read_table, table_names, work, write_outcome
from lowbit.reproduce.outcome import place, text


def reproduce_table(
    name: str,
    *,
    budget: str,
    seeds: str | None,
    rows: str | None,
    processes: int,
    out: Path,
    show: bool,
    as_json: bool,
    progress: bool,
    accelerator: str,
) -> None:
    """Run what a table lacks, then write and print what has come out.

    Raises:
        UnknownName: there is no such table, budget or row.
        InvalidInput: seeds or the number of processes are wrong.
        DataSetMissing: the data is not on this machine.
        LowbitError: a row could not be trained; the others were, and are printed.
    """
    if budget not in ("small", "full"):
        raise unknown("budget", budget, ("small", "full"))
    table = read_table(name)
    plan = Plan(
        name=name,
        table=table,
        budget=budget,  # type: ignore[arg-type]  # checked above
        seeds=table.seeds if seeds is None else _numbers(seeds),
        out=out,
    )
    chosen = plan.rows if rows is None else [plan.row(key.strip()) for key in rows.split(",")]
    impossible: dict[str, str] = {}
    if not show:
        impossible = work(plan, chosen, processes=processes, progress=progress, accelerator=accelerator)
    record: dict[str, Any] = outcome(plan, impossible)
    ended = write_outcome(plan, record)
    drawn = _picture(plan, place(plan).with_suffix(".png")) if plan.table.picture else []
    print(json.dumps(record, indent=1) if as_json else "\n".join([f"{text(record)}\n", ended, *drawn]))
    if impossible:
        raise LowbitError(f"{len(impossible)} of {len(chosen)} rows could not be trained: " + "; ".join(
            f"{key} ({reason})" for key, reason in list(impossible.items())[:1]))  # fmt: skip


def _picture(plan: Plan, path: Path) -> list[str]:
    """Draw the table's picture, and say where it is; without matplotlib say that, since the record is whole without."""
    from lowbit.reproduce.picture import draw

    try:
        return [f"picture in {path}"] if draw(plan, path) else []
    except MissingExtra as error:
        print(f"no picture: {error}", file=sys.stderr)
        return []


def list_tables(as_json: bool) -> None:
    """Print names, titles and sources of all tables."""
    tables = {name: read_table(name) for name in table_names()}
    if as_json:
        print(json.dumps([{"name": name, "title": t.title, "source": t.source, "rows": [row.key for row in t.rows]}
                          for name, t in tables.items()], indent=1))  # fmt: skip
    else:
        width = max(map(len, tables))
        print("\n".join(f"{name:<{width}}  {t.title} ({t.source})" for name, t in tables.items()))


def _numbers(seeds: str) -> list[int]:
    try:
        return [int(word) for word in seeds.split(",")]
    except ValueError:
        raise InvalidInput(f"--seeds is {seeds!r}; write whole numbers with commas, for example 0,1,2") from None
