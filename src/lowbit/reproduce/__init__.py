"""A paper's table or figure, run row by row and set beside the paper: ``lowbit reproduce``.

tables/*.yaml   the tables as data: rows (a recipe each), the paper's numbers, claims
budgets.yaml    the recipe that all rows start from, one for each budget
table.py        reads and checks them
plan.py         from a row and a seed to a recipe, its folder, and what it has left there
work.py         trains what is missing, one after another or in several processes
measures.py     figures of finished runs beside accuracy
picture.py      panels of decision regions
claims.py       held, contradicted or undecided
outcome.py      the record of all this, as JSON and as text
"""

from __future__ import annotations

from lowbit.reproduce.outcome import outcome, write_outcome
from lowbit.reproduce.plan import Plan
from lowbit.reproduce.table import Table, read_table, table_names
from lowbit.reproduce.work import work

__all__ = ["Plan", "Table", "outcome", "read_table", "table_names", "work", "write_outcome"]
