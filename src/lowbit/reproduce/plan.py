"""From a row and a seed to a recipe, to the folder of its run, and to what the run has left there.

A run's folder is named after its recipe alone: rows of any table that ask for the same training share one run, so the
float network is trained once. A finished folder is a result; nothing else is remembered.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lowbit.errors import InvalidInput, LowbitError, UnknownName, unknown
from lowbit.reproduce.claims import Term
from lowbit.reproduce.measures import MEASURES
from lowbit.reproduce.table import Budget, Changes, Row, Table, budget_recipe
from lowbit.training.log import Row as LogRow
from lowbit.training.log import read_log
from lowbit.training.recipes import Recipe, parse_recipe
from lowbit.training.runs import LOG, RESULT, read_result

ACCURACY = "test_accuracy"
REFUSED = "refused.txt"
"""In a run's folder: why its training ended without a result; gone where it is tried again."""
_TEXTS = {"title", "source", "expect", "start"}
"""Keys that do not decide what a training does; `start` is represented by the recipe of what lies there."""


@dataclass(frozen=True)
class Done:
    """A finished run: result.json, the log, and where they lie."""

    result: dict[str, Any]
    rows: list[LogRow]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A table with everything that decides its runs.

    Args:
        name: as the command line gives it.
        table: from `read_table`.
        budget: "small" or "full".
        seeds: of every row.
        out: folder of the runs.

    Raises:
        InvalidInput: no seed, or one twice.
    """

    name: str
    table: Table
    budget: Budget
    seeds: Sequence[int]
    out: Path
    _recipes: dict[tuple[str, int], Recipe] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InvalidInput(f"seeds {list(self.seeds)}: give at least one, each once, 0 or more")

    @property
    def rows(self) -> list[Row]:
        """Of the budget."""
        return self.table.rows_of(self.budget)

    def row(self, key: str) -> Row:
        """A row by its key.

        Raises:
            UnknownName: the table has none of that key in this budget.
        """
        for row in self.rows:
            if row.key == key:
                return row
        raise unknown(f"row of {self.name}", key, [row.key for row in self.rows])

    def recipe(self, row: Row, seed: int) -> Recipe:
        """What a row trains with a seed.

        Raises:
            LowbitError: the row asks for a method, procedure or key that this version does not have.
        """
        if (row.key, seed) not in self._recipes:
            self._recipes[row.key, seed] = self._recipe(row, seed)
        return self._recipes[row.key, seed]

    def _recipe(self, row: Row, seed: int) -> Recipe:
        of_budget: Changes = getattr(self.table, self.budget)
        changes: Changes = {**self.table.recipe, **of_budget}
        if row.start:
            changes |= self.table.continued.get(self.budget, {})
            if self.row(row.start).start:
                changes |= self.table.finetuned.get(self.budget, {})
        changes |= {**row.set, "seed": seed}
        if row.start:
            changes["start"] = str(self.folder(self.recipe(self.row(row.start), seed)))
        words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
        try:
            return parse_recipe(yaml.safe_dump(budget_recipe(self.budget)), f"budget {self.budget}", words)
        except LowbitError as error:
            raise type(error)(f"table {self.name}, row {row.key}: {error}") from None

    def folder(self, recipe: Recipe) -> Path:
        """Of a recipe's run: what it is in words, and a digest of the rest."""
        what = {key: value for key, value in recipe.model_dump(mode="json").items() if key not in _TEXTS}
        if recipe.start:
            what["start"] = Path(recipe.start).name
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
        methods = [_word(method) for method in (recipe.weight, recipe.activation, recipe.gradient) if method]
        names = [recipe.model.name, *(methods or ["float"])]
        if recipe.procedure.name != "plain":
            names.append(recipe.procedure.name)
        words = re.sub(r"[^a-z0-9.+]+", "-", "-".join(names).lower())
        return self.out / "runs" / f"{words}-s{recipe.seed}-{digest}"

    def done(self, row: Row, seed: int) -> Done | None:
        """The run of a row and seed, or None where it has not finished (or cannot be planned).

        Raises:
            InvalidInput: its files are damaged.
        """
        try:
            folder = self.folder(self.recipe(row, seed))
        except LowbitError:
            return None
        if not (folder / RESULT).exists():
            return None
        log = folder / LOG
        return Done(read_result(folder), read_log(log) if log.exists() else [], folder)

    def refused(self, row: Row, seed: int) -> str:
        """Why the last training of a row and seed ended without a result; empty where nothing is known."""
        try:
            kept = self.folder(self.recipe(row, seed)) / REFUSED
            return kept.read_text(encoding="utf-8").strip()
        except LowbitError as error:
            return str(error)
        except (OSError, ValueError):
            return ""

    def results(self, term: Term) -> list[float]:
        """A term's numbers over the seeds that have finished.

        Raises:
            UnknownName: a run's log has no such column or epoch.
        """
        rows = [row for row in self.rows if row.key == term.key]
        found = (self.done(row, seed) for row in rows for seed in self.seeds)
        return [_number(done, term) for done in found if done is not None]

    def command(self, row: Row, seeds: Sequence[int]) -> str:
        """The command that trains what a row lacks."""
        words = ["lowbit", "reproduce", self.name, "--budget", self.budget, "--rows", row.key,
                 "--seeds", ",".join(map(str, seeds)), "--out", str(self.out)]  # fmt: skip
        return shlex.join(words)


def _word(method: Any) -> str:
    return str(method.get("method", "")) if isinstance(method, dict) else str(method)


def _number(done: Done, term: Term) -> float:
    if term.column is None and term.epoch is None:
        return float(done.result["accuracy"])
    if term.column in MEASURES:
        return MEASURES[term.column](done.folder)
    column = term.column or ACCURACY
    epoch = term.epoch or (done.rows[-1]["epoch"] if done.rows else 0)
    for row in done.rows:
        if row["epoch"] == epoch and column in row:
            return float(row[column])
    known = {name for row in done.rows for name in row}
    if column not in known:
        raise unknown("column of the log", column, known)
    raise UnknownName(f"{term}: the log has no {column} of epoch {epoch}; it has {len(done.rows)} epochs")
