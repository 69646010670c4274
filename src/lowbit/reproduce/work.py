"""Trains what a plan lacks, one run after another or several at once; whatever has finished is kept.

Several at once are processes of their own, each with as many threads as torch has in this one. Ctrl-C ends all of them
at their last finished epoch, from which the same command goes on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lowbit.atomic import write_text
from lowbit.errors import DataSetMissing, InvalidInput, LowbitError
from lowbit.reproduce.measures import MEASURES
from lowbit.reproduce.plan import REFUSED, Plan
from lowbit.reproduce.table import Row
from lowbit.training.recipes import Recipe, parse_recipe
from lowbit.training.runs import RESULT, train


@dataclass(frozen=True)
class Job:
    """One training: the row that first asked for it, the seed, the recipe, the folder, what is measured after it."""

    key: str
    seed: int
    recipe: Recipe
    folder: Path
    measures: Sequence[str]


def jobs(plan: Plan, rows: Sequence[Row]) -> tuple[list[Job], dict[str, str]]:
    """The trainings that rows lack, and the rows that cannot be trained.

    Returns:
        Jobs seed by seed, so that an interrupted table is whole for the first seeds; a network that others start from
        comes before them. And, by key, why a row cannot be planned.
    """
    found: dict[Path, Job] = {}
    impossible: dict[str, str] = {}
    for seed in plan.seeds:
        for row in rows:
            try:
                _add(found, plan, row, seed)
            except LowbitError as error:
                impossible[row.key] = str(error)
    return list(found.values()), impossible


def _add(found: dict[Path, Job], plan: Plan, row: Row, seed: int) -> None:
    if row.start:
        _add(found, plan, plan.row(row.start), seed)
    recipe = plan.recipe(row, seed)
    folder = plan.folder(recipe)
    if not (folder / RESULT).exists():
        found.setdefault(folder, Job(row.key, seed, recipe, folder, plan.table.measures))


def work(
    plan: Plan,
    rows: Sequence[Row],
    *,
    processes: int = 1,
    progress: bool = True,
    accelerator: str = "auto",
) -> dict[str, str]:
    """Train what the rows lack.

    Args:
        plan: the table, seeds and folder.
        rows: of it.
        processes: trainings at a time, at least 1; a single one runs in this process.
        progress: whether to show it on standard error.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.

    Returns:
        Why a row could not be trained, by its key; the others have finished.

    Raises:
        InvalidInput: `processes` is below 1.
        DataSetMissing: the data is not on this machine.
        KeyboardInterrupt: Ctrl-C; calling again goes on.
    """
    if processes < 1:
        raise InvalidInput(f"--jobs is {processes}; use 1 or more")
    lacking, impossible = jobs(plan, rows)
    with _board(plan.name, len(lacking), progress, bar=processes > 1) as say:
        for job, ended in (_one_by_one if processes == 1 else _at_once)(lacking, processes, progress, accelerator):
            say(job, ended)
            if isinstance(ended, str):
                impossible[job.key] = ended
    return impossible


KILLED = (
    "a training was killed from outside, perhaps for lack of memory, and ended the others; use fewer --jobs, the same "
    "command goes on"
)
Ended = float | str
"""Accuracy in percent, or why there is none."""


def _one_by_one(lacking: list[Job], processes: int, progress: bool, accelerator: str) -> Iterator[tuple[Job, Ended]]:
    for job in lacking:
        yield job, _train(job.recipe, job.folder, job.measures, progress, accelerator)


def _at_once(lacking: list[Job], processes: int, progress: bool, accelerator: str) -> Iterator[tuple[Job, Ended]]:
    if not lacking:
        return
    count = min(processes, len(lacking))
    threads = torch.get_num_threads()  # the same whatever runs beside: results depend on it
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=(threads,)) as pool:
        running: dict[Future[Ended], Job] = {}
        waiting = list(lacking)
        try:
            while waiting or running:
                while len(running) < count and (job := _next(waiting, running.values())) is not None:
                    what = (job.recipe.to_yaml(), str(job.folder), list(job.measures), accelerator)
                    running[pool.submit(_train_there, *what)] = job
                    waiting.remove(job)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    ended = future.result()  # raises before its job is taken out, which then has a reason below
                    yield running.pop(future), ended
        except BrokenProcessPool:
            for job in (*running.values(), *waiting):
                yield job, KILLED
        except BaseException:
            for child in active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGINT)
            raise


def _next(waiting: Sequence[Job], running: Collection[Job]) -> Job | None:
    """The first job whose start nobody has still to train; there is one where nothing runs, as starts come first."""
    unfinished = {job.folder for job in (*waiting, *running)}
    ready = (job for job in waiting if job.recipe.start is None or Path(job.recipe.start) not in unfinished)
    return next(ready, None)


def _begin(threads: int) -> None:
    """Start of a process: while idle it leaves Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _train_there(recipe: str, folder: str, measures: list[str], accelerator: str) -> Ended:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _train(parse_recipe(recipe), Path(folder), measures, False, accelerator)
    finally:
        signal.signal(signal.SIGINT, before)


def _train(recipe: Recipe, folder: Path, measures: Sequence[str], progress: bool, accelerator: str) -> Ended:
    """One run; what is wrong with this run alone is returned and kept beside it, so that the others go on."""
    kept = folder / REFUSED
    with suppress(OSError):  # training says what is wrong with the folder
        kept.unlink()
    try:
        accuracy = float(train(recipe, folder, progress=progress, accelerator=accelerator).result["accuracy"])
        for name in measures:
            MEASURES[name](folder)  # keeps what takes time; the numbers are read when the record is made
        return accuracy
    except DataSetMissing:
        raise
    except LowbitError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  a fault, which must not take the other rows with it
        reason = f"unexpected {type(error).__name__}: {error}; this is a fault in lowbit"
    if folder.is_dir():
        with suppress(LowbitError):  # a folder that cannot be written is what the reason says already
            write_text(kept, f"{reason}\n")
    return reason


@contextmanager
def _board(name: str, total: int, progress: bool, *, bar: bool) -> Iterator[Callable[[Job, Ended], None]]:
    """Prints a line for every run that ends; `bar` adds one that moves (a run in this process shows its own)."""
    console = Console(stderr=True, highlight=False)
    hidden = not (bar and progress and console.is_terminal)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("runs"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    moving = Progress(*columns, console=console, transient=True, disable=hidden)
    task = moving.add_task(name, total=total)
    count = 0

    def say(job: Job, ended: Ended) -> None:
        nonlocal count
        count += 1
        if progress:
            text = f"{ended:.2f} %" if isinstance(ended, float) else ended
            console.print(f"{name} {count}/{total}  {job.key}, seed {job.seed}: {text}", markup=False, soft_wrap=True)
            moving.update(task, completed=count)

    with moving:
        yield say
