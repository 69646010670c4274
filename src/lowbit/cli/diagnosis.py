"""`lowbit diagnose` and `lowbit report`: runs are measured, and a page is written about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lowbit.analysis import Context, Diagnosis, diagnose
from lowbit.analysis.diagnosis import Show
from lowbit.data import DataSet
from lowbit.errors import InvalidInput
from lowbit.table import Table
from lowbit.training.evaluate import evaluate
from lowbit.training.runs import Trained, load_run

BATCH = 256
CACHE = "diagnosis"
BEST = (("bytes", "size"), ("us_1", "time"))
"""Pareto fronts in words."""


def diagnose_run(run: Path, output: Path, *, images: int, progress: bool) -> tuple[Diagnosis, dict[str, Any]]:
    """Diagnose a run and write the page, with everything on it as JSON beside it.

    Args:
        run: folder of a finished low-bit run; finished measurements are kept in its folder `diagnosis`.
        output: of the page.
        images: test inputs to measure on, at least 2; fewer where there are fewer.
        progress: whether to show it on standard error.

    Returns:
        The diagnosis, and what is on the page.

    Raises:
        InvalidInput: there is no finished low-bit run, the page cannot be written, or `images` is too small.
        DataSetMissing: the run's data is not on this machine.
    """
    from lowbit.report.diagnosed import content_of_diagnosis
    from lowbit.report.page import require_page, write_page

    if images < 2:
        raise InvalidInput(f"--images is {images}, allowed are numbers from 2")
    require_page(output)
    trained = load_run(run)
    if not trained.recipe.low_bit:
        raise InvalidInput(f"{run}: is a float run; quantize it first: lowbit quantize {run} --weight .. --out RUN2")
    x, y = chosen(trained.data, images)
    context = Context(
        trained=trained.recipe.epochs > 0,
        recipe=trained.recipe.model_dump(mode="json"),
        run=str(run),
        float_accuracy=_float_accuracy(trained, x, y),
    )
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))
    with shown(progress, "diagnose") as show:
        found = diagnose(trained.model, batches, context=context, cache=run / CACHE, show=show)
        content = content_of_diagnosis(trained, found, x, show=show)
    write_page(content, output)
    return found, content


def report_runs(runs: list[Path], output: Path, *, progress: bool) -> tuple[dict[str, Any], Table]:
    """Write the page about several runs.

    Returns:
        What is on the page, and its comparison as a table.

    Raises:
        InvalidInput: a folder holds no finished run or is given twice, or the page cannot be written.
    """
    from lowbit.report import report

    with shown(progress, "report") as show:
        content = report(runs, output, show=show)
    fronts = content["fronts"]
    rows = [
        {
            "run": row["name"], "accuracy": row["accuracy"], "bytes": row["bytes"], "µs, batch 1": row["us_1"],
            "timed by": row["timed_by"],
            "best in": ", ".join(word for cost, word in BEST if row["name"] in fronts[cost]),
        }
        for row in content["contenders"]
    ]  # fmt: skip
    marked = [f"{row['name']}: {row['reason']}" for row in content["contenders"] if row["reason"]]
    return content, Table(tuple(rows[0]), rows, notes=marked)


def chosen(data: DataSet, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Test inputs and labels, drawn with seed 0 so that all classes are there; all of them where there are fewer.

    Raises:
        InvalidInput: the data has no test inputs.
    """
    total = len(data.test_x)
    if total < 2:
        raise InvalidInput(f"data set {data.name!r} has {total} test inputs; a diagnosis needs at least 2")
    order = torch.randperm(total, generator=torch.Generator().manual_seed(0))[:count]
    return data.test_x[order], data.test_y[order]


def _float_accuracy(trained: Trained, x: torch.Tensor, y: torch.Tensor) -> float | None:
    """Percent on the same inputs, of the float run that this one started from, if it is still there."""
    from lowbit.training.starts import float_run

    folder = float_run(trained.recipe, trained.folder)
    return None if folder is None else evaluate(load_run(folder).model, x, y).accuracy


@contextmanager
def shown(progress: bool, command: str) -> Iterator[Show]:
    """A bar on a terminal, and lines where standard error is none; neither without `progress`."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description:<30}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not (progress and console.is_terminal))
    task = bar.add_task(command, total=None)

    def show(name: str, done: int, total: int) -> None:
        bar.update(task, description=name, completed=done, total=total)
        if progress and not console.is_terminal and done < total:
            console.print(f"{command} {done + 1}/{total}  {name}", markup=False)

    with bar:
        yield show
