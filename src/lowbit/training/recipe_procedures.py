"""The procedure of a recipe with its modifiers: made, and checked against the rest of the recipe."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from lowbit.errors import InvalidInput
from lowbit.procedures import LEARNING_RATE, Procedure, combine, procedure
from lowbit.procedures.combine import clash
from lowbit.training.recipe_errors import Origin

if TYPE_CHECKING:
    from lowbit.training.recipes import Recipe


def made(recipe: Recipe) -> Procedure:
    """The recipe's procedure with its modifiers, as one procedure.

    Raises:
        UnknownName: there is no such procedure, modifier or option.
        InvalidInput: an option has a value that is not allowed, or two parts cannot work together.
    """
    base = procedure(recipe.procedure.name, **recipe.procedure.options)
    return combine(base, [procedure(part.name, **part.options) for part in recipe.modifiers])


def check_procedure(recipe: Recipe, origin: Origin) -> None:
    """Refuse options and combinations that cannot work, with the line.

    Raises:
        InvalidInput: naming the part and the reason.
    """
    places: list[tuple[str | int, ...]] = [("procedure",), *(("modifiers", i) for i in range(len(recipe.modifiers)))]
    parts = []
    for place, part in zip(places, (recipe.procedure, *recipe.modifiers), strict=True):
        try:
            parts.append(procedure(part.name, **part.options))
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{origin.where(place)}: {error}") from None
    for (_, first), (place, second) in combinations(zip(places, parts, strict=True), 2):
        reason = clash(first, second)
        if reason:
            raise InvalidInput(f"{origin.where(place)}: {reason}")
    used = _methods(recipe)
    for place, one in zip(places, parts, strict=True):
        if one.needs_float_start and not (recipe.start or recipe.pretrain):
            raise InvalidInput(
                f"{origin.where(place)}: {one.name} continues a trained float network; give "
                "`pretrain: {epochs: ..}`, or `start:` with the folder of a float run"
            )
        if one.needs_method and one.needs_method not in used:
            raise InvalidInput(
                f"{origin.where(place)}: {one.name} needs the method {one.needs_method} for weights or activations; "
                f"the recipe has {', '.join(sorted(used)) or 'none'}"
            )
        if recipe.epochs and not one.trains:
            raise InvalidInput(
                f"{origin.where(('epochs',))}: {one.name} trains nothing, but epochs is {recipe.epochs}; use epochs: 0"
            )
        if LEARNING_RATE in one.owns and (recipe.schedule.name != "constant" or recipe.schedule.warmup):
            raise InvalidInput(
                f"{origin.where(('schedule',))}: {one.name} sets the learning rate itself; "
                "write `schedule: {name: constant, warmup: 0}`"
            )


def _methods(recipe: Recipe) -> set[str]:
    """Names of the methods that the recipe's layers may use."""
    roles = ("weight", "activation", "output", "add")
    given: list[Any] = [recipe.weight, recipe.activation, recipe.output, recipe.add, recipe.first, recipe.last]
    given += [rule.get(role) for rule in recipe.rules for role in roles]
    names = set()
    for method in given:
        text = method.get("method") if isinstance(method, dict) else method
        if isinstance(text, str):
            names.add(text.split(":")[0].split("@")[0])
    return names
