"""Tables as data: what their YAML may hold, and reading it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from lowbit.errors import InvalidInput, unknown
from lowbit.reproduce.claims import Comparison, parse_comparison
from lowbit.reproduce.measures import MEASURES
from lowbit.training.recipe_errors import Origin, first_problem
from lowbit.training.recipes import Part

Budget = Literal["small", "full"]
Changes = dict[str, Any]
"""Dotted keys of a recipe and their values: ``{weight: "lsq:2", optimizer.lr: 0.01}``."""


class Row(Part):
    """One network of a table: a recipe over several seeds."""

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    """For ``--rows`` and for claims."""
    label: str
    """As printed."""
    set: Changes = Field(default={})
    """What makes it differ from the table's recipe."""
    start: str | None = None
    """Key of the row whose network of the same seed it continues."""
    paper: float | None = None
    """The paper's number, in percent."""
    only: Budget | None = None
    """The one budget that has this row; None: both."""


class Claim(Part):
    """One sentence of the paper, or an aim of ours, and the comparison that decides it."""

    text: str
    says: str
    """See `lowbit.reproduce.claims`."""

    @field_validator("says")
    @classmethod
    def _readable(cls, says: str) -> str:
        parse_comparison(says)
        return says

    @property
    def comparison(self) -> Comparison:
        """`says`, read."""
        return parse_comparison(self.says)


class Picture(Part):
    """Decision regions of the rows' networks, drawn as panels."""

    lines: Annotated[list[str], Field(min_length=1)]
    """What stands left of each line of panels."""
    columns: Annotated[dict[str, list[str]], Field(min_length=1)]
    """By heading: keys of the rows, one for each line."""


class Table(Part):
    """A table or figure.

    Attributes:
        title, source: one line each; the source names the paper's table.
        note: what differs from the paper, printed below.
        recipe, small, full: changes to the budget's recipe: of both budgets, of one.
        continued: further changes, by budget, for the rows that start from another.
        finetuned: further changes on top, by budget, for those that start from a row that itself starts from another.
        seeds: by default.
        measures: of `lowbit.reproduce.measures`, taken of every run.
        picture: None draws nothing.
        rows, claims: in the order in which they are printed.
    """

    title: str
    source: str
    note: str = ""
    recipe: Changes = Field(default={})
    small: Changes = Field(default={})
    full: Changes = Field(default={})
    continued: dict[Budget, Changes] = Field(default={})
    finetuned: dict[Budget, Changes] = Field(default={})
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1, 2], min_length=1)
    measures: list[str] = Field(default=[])
    picture: Picture | None = None
    rows: Annotated[list[Row], Field(min_length=1)]
    claims: list[Claim] = Field(default=[])

    @model_validator(mode="after")
    def _refers_to_measures(self) -> Table:
        for name in self.measures:
            if name not in MEASURES:
                raise ValueError(f"measures: {unknown('measure', name, MEASURES)}")
        for claim in self.claims:
            for term in claim.comparison.factors:
                if term.column in MEASURES and (term.column not in self.measures or term.epoch):
                    wants = "is of the last epoch" if term.epoch else f"needs `measures: [{term.column}]`"
                    raise ValueError(f"claim {claim.text!r}: {term} {wants}")
        return self

    @model_validator(mode="after")
    def _refers_to_rows(self) -> Table:
        keys = [row.key for row in self.rows]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"two rows have the key {key!r}")
        named = [(f"row {row.key!r}: start", row.start) for row in self.rows if row.start]
        named += [(f"claim {claim.text!r}", term.key) for claim in self.claims for term in claim.comparison.factors]
        if self.picture is not None:
            for heading, column in self.picture.columns.items():
                if len(column) != len(self.picture.lines):
                    raise ValueError(
                        f"picture: column {heading!r} has {len(column)} rows; give one for each of the "
                        f"{len(self.picture.lines)} lines"
                    )
                named += [(f"picture: column {heading!r}", key) for key in column]
        for place, key in named:
            if key not in keys:
                raise ValueError(f"{place}: {unknown('row', key, keys)}")
        starts = {row.key: row.start for row in self.rows}
        for key in keys:
            before = [key]
            while (start := starts[before[-1]]) is not None:
                if start in before:
                    raise ValueError(f"row {key!r} starts from itself, by way of {', '.join(before[1:]) or 'no other'}")
                before.append(start)
        return self

    def rows_of(self, budget: Budget) -> list[Row]:
        """The rows that a budget has."""
        return [row for row in self.rows if row.only in (None, budget)]


def table_names() -> list[str]:
    """Names of the tables that come with lowbit.

    Example:
        >>> "dqa-table1" in table_names()
        True
    """
    folder = resources.files("lowbit.reproduce") / "tables"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_table(name: str | Path) -> Table:
    """Read a table of lowbit by name, or one's own by the path of its YAML file.

    Raises:
        UnknownName: there is no table of that name, or a key does not exist.
        InvalidInput: the file cannot be read, or a value is not allowed; the message holds file and line.
    """
    if str(name).endswith((".yaml", ".yml")):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise InvalidInput(f"{name}: cannot be read ({reason}); give the path of a table (YAML)") from error
    elif name in table_names():
        text = _packaged(f"tables/{name}.yaml")
    else:
        raise unknown("table", name, table_names())
    origin = Origin(text, str(name))
    try:
        return Table.model_validate(origin.values)
    except ValidationError as error:
        raise first_problem(error, Table, origin) from None


def budget_recipe(budget: Budget) -> Changes:
    """The recipe that all tables start from."""
    return yaml.safe_load(_packaged("budgets.yaml"))[budget]


def _packaged(path: str) -> str:
    return (resources.files("lowbit.reproduce") / path).read_text(encoding="utf-8")
