"""Where a run starts: the run that it continues, also where folders have moved, and the float run behind it."""

from __future__ import annotations

from pathlib import Path

from lowbit.errors import LowbitError
from lowbit.training.recipes import Recipe, read_recipe

RECIPE, CHECKPOINT, RESULT, FLOAT = "recipe.yaml", "checkpoint.pt", "result.json", "float"


def start_folder(recipe: Recipe, folder: Path) -> Path | None:
    """The folder of the run that a run in `folder` continues, or None where it continues none.

    A `start` that is written relative to another working directory, or whose parent was moved with the run in it, is
    looked for beside the run.
    """
    if recipe.start is None:
        return folder / FLOAT if recipe.pretrain else None
    written, beside = Path(recipe.start), folder.parent / Path(recipe.start).name
    return beside if not written.exists() and beside.exists() else written


def same_start(there: Recipe, recipe: Recipe, folder: Path) -> bool:
    """Whether two recipes of a run in `folder` continue the same run, however its folder is written."""
    first, second = start_folder(there, folder), start_folder(recipe, folder)
    if first is None or second is None:
        return first is second
    return first.resolve() == second.resolve()


def float_run(recipe: Recipe, folder: Path) -> Path | None:
    """The finished float run at the beginning of what led to a run in `folder`; None where there is none, or no more.

    Example:
        >>> from lowbit.training.recipes import parse_recipe
        >>> plain = parse_recipe("{data: digits, model: digits_net, epochs: 1}")
        >>> float_run(plain, Path("trained/float")).as_posix()
        'trained/float'
    """
    seen: set[Path] = set()
    while recipe.low_bit:
        before = start_folder(recipe, folder)
        if before is None or before.resolve() in seen or not (before / RESULT).exists():
            return None
        seen.add(before.resolve())
        try:
            recipe = read_recipe(before / RECIPE)
        except LowbitError:
            return None
        folder = before
    return folder
