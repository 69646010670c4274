"""Recipes: everything a training is made of, as one YAML file.

`read_recipe` checks a file and the ``key=value`` changes from the command line, and says in which line what is
wrong; `Recipe` documents every key. A recipe that was read and written again gives the same training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lowbit.errors import InvalidInput
from lowbit.training.recipe_errors import Origin, first_problem, unknown_option
from lowbit.training.recipe_errors import Path as KeyPath
from lowbit.training.recipe_procedures import check_procedure


def _method(value: Any) -> Any:
    if value is None or isinstance(value, (str, dict)):
        return value
    raise ValueError("write the method with its bits, for example lsq:2")


Method = Annotated[str | dict[str, Any] | None, BeforeValidator(_method)]
Positive = Annotated[int, Field(ge=1, strict=True)]


class Part(BaseModel):
    """A part of a recipe; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Named(BaseModel):
    """Something chosen by name with options of its own; ``key: name`` is short for ``key: {name: name}``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What was given besides the declared keys."""
        return dict(self.model_extra or {})


class DataPart(Named):
    """A data set of `lowbit.data` and how much of it."""

    train: Positive | None = None
    """Training inputs to keep, chosen at random with `choice`; None keeps all."""
    choice: Annotated[int, Field(ge=0)] = 0
    """Seed of that choice."""
    validation: Annotated[int, Field(ge=0)] = 0
    """Training inputs to hold out and evaluate on in place of the test set, for tuning."""
    normalize: bool = False
    """Subtract the mean and divide by the standard deviation of each channel."""


class OptimizerPart(Part):
    """The optimizer; `lr` is the peak learning rate, `scale_lr` a factor on it for what quantizers learn."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    scale_lr: Annotated[float, Field(gt=0)] = 1.0


class SchedulePart(Part):
    """The learning rate over the epochs, see `lowbit.training.schedules`."""

    name: Literal["cosine", "steps", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0)] = 1.0
    at: list[float] = []
    factor: Annotated[float, Field(gt=0)] = 0.1


class PretrainPart(Part):
    """A float training before the low-bit one; what is not given is as in the recipe."""

    epochs: Positive
    optimizer: OptimizerPart | None = None
    schedule: SchedulePart | None = None


class Recipe(Part):
    """One training.

    Example:
        >>> recipe = Recipe.model_validate({"data": "digits", "model": "digits_net", "epochs": 3})
        >>> recipe.low_bit, recipe.data.name
        (False, 'digits')
    """

    title: str = ""
    source: str = ""
    """Paper and table that the recipe reproduces."""
    expect: tuple[float, float] | None = None
    """Range of test accuracy, in percent, that this recipe gave over its seeds."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: DataPart
    model: Named
    weight: Method = None
    """Method of the weights, e.g. ``lsq:2``; None leaves floats. The following are arguments of `prepare`."""
    activation: Method = None
    output: Method = None
    gradient: Method = None
    add: Method = None
    first: Method = "affine:8"
    last: Method = "affine:8"
    rules: list[dict[str, Any]] = []
    calibration: Positive = 512
    """Training inputs that the quantizers are calibrated on."""
    start: str | None = None
    """Folder of a float run whose weights are the start, or of a low-bit run with the same methods, which is trained
    on; exclusive with `pretrain`."""
    pretrain: PretrainPart | None = None
    procedure: Named = Named(name="plain")
    modifiers: list[Named] = []
    """What goes beside the procedure, e.g. ``[bn-reestimate, {name: lipschitz, strength: 1.0e-4}]``."""
    optimizer: OptimizerPart = OptimizerPart()
    schedule: SchedulePart = SchedulePart()
    epochs: Annotated[int, Field(ge=0, strict=True)]
    """0 trains nothing: the network is calibrated and evaluated."""
    batch: Positive = 128
    """Inputs in one optimizer step, over all processes."""
    augmentation: list[str] = []
    """Random changes of the training images in order, e.g. ``[shift:2, flip]``."""
    evaluate_every: Positive = 1
    """Epochs between evaluations; the last epoch is always evaluated."""

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, values: Any) -> Any:
        return expand(values) if isinstance(values, dict) else values

    @property
    def low_bit(self) -> bool:
        """Whether anything is quantized."""
        return any((self.weight, self.activation, self.output, self.gradient, self.rules))

    def float_part(self) -> Recipe:
        """The recipe of the float training that goes before this one.

        Raises:
            InvalidInput: there is none.
        """
        if self.pretrain is None:
            raise InvalidInput("this recipe has no `pretrain`, so there is no float training before it")
        return self.model_copy(
            update={
                "title": f"{self.title} (float)".strip(),
                "expect": None,
                **dict.fromkeys(("weight", "activation", "output", "gradient", "add", "pretrain")),
                "rules": [],
                "procedure": Named(name="plain"),
                "modifiers": [],
                "optimizer": self.pretrain.optimizer or self.optimizer,
                "schedule": self.pretrain.schedule or self.schedule,
                "epochs": self.pretrain.epochs,
            }
        )

    def to_yaml(self) -> str:
        """The recipe with every value, defaults too: they may change, a run does not."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


SHORT = ("data", "model", "procedure", "optimizer", "schedule")


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``model: resnet8`` out as ``model: {name: resnet8}``, and the like, in the list of modifiers too."""
    written = {key: named(value) if key in SHORT else value for key, value in values.items()}
    if isinstance(written.get("modifiers"), list):
        written["modifiers"] = [named(item) for item in written["modifiers"]]
    return written


def named(value: Any) -> Any:
    """A name as the mapping that it is short for; anything else as it is."""
    return {"name": value} if isinstance(value, str) else value


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply changes, and check it.

    Args:
        path: a YAML file.
        changes: ``"key=value"``, the key dotted for parts (``"optimizer.lr=0.01"``), the value in YAML.

    Raises:
        UnknownName: a key or name does not exist; the message holds file, line and the nearest one.
        InvalidInput: the file cannot be read, is not YAML, or a value is not allowed.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(f"{file}: cannot be read ({reason}); give the path of a recipe (YAML)") from error
    return parse_recipe(text, str(file), changes)


def parse_recipe(text: str, name: str = "recipe", changes: Sequence[str] = ()) -> Recipe:
    """As `read_recipe`, from the text itself; `name` stands for the file in messages."""
    origin = Origin(text, name, changes)
    values = expand(origin.values)
    for change in origin.changes:
        _apply(values, change.path, change.value, change.text)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise first_problem(error, Recipe, origin) from None
    _check_names(recipe, origin)
    return recipe


def _apply(values: dict[str, Any], path: Sequence[str], value: Any, text: str) -> None:
    """Set one dotted key, making the parts on its way."""
    place = values
    for depth, key in enumerate(path[:-1]):
        inner = place.get(key)
        if depth == 0 and key in SHORT:
            inner = named(inner)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            raise InvalidInput(f"change '{text}': {'.'.join(path[: depth + 1])} is {inner!r}, it has no parts")
        place[key] = dict(inner)
        place = place[key]
    place[path[-1]] = expand({path[0]: value})[path[0]] if len(path) == 1 else value


def _check_names(recipe: Recipe, origin: Origin) -> None:
    """Names and options that other modules own, checked here so that the message has a line."""
    import inspect

    from lowbit.data import READERS, augmentation
    from lowbit.models import MODELS
    from lowbit.procedures import MODIFIERS, PROCEDURES

    chosen: list[tuple[str, KeyPath, Named, Mapping[str, Any]]] = [
        ("data", ("data",), recipe.data, READERS),
        ("model", ("model",), recipe.model, MODELS),
        ("procedure", ("procedure",), recipe.procedure, PROCEDURES),
        *(("modifier", ("modifiers", i), part, MODIFIERS) for i, part in enumerate(recipe.modifiers)),
    ]
    for kind, place, part, known in chosen:
        if part.name not in known:
            if kind == "procedure" and part.name in MODIFIERS:
                raise InvalidInput(
                    f"{origin.where(place)}: {part.name} is a modifier; write `modifiers: [{part.name}]`"
                )
            if kind == "modifier" and part.name in PROCEDURES:
                raise InvalidInput(f"{origin.where(place)}: {part.name} is a procedure; write `procedure: {part.name}`")
            raise unknown_option(origin, (*place, "name"), kind, part.name, known)
        make = known[part.name]
        takes = () if make.__init__ is object.__init__ else inspect.signature(make).parameters
        own = set(type(part).model_fields)
        for option in part.options:
            if option not in takes:
                allowed = sorted(own | set(takes))
                raise unknown_option(origin, (*place, option), f"option of {part.name}", option, allowed)
    _check_methods(recipe, origin)
    for index, item in enumerate(recipe.augmentation):
        try:
            augmentation(item)
        except ValueError as error:
            raise type(error)(f"{origin.where(('augmentation', index))}: {error}") from None
    if recipe.start and recipe.pretrain:
        raise InvalidInput(f"{origin.where(('pretrain',))}: `start` and `pretrain` exclude each other; keep one")
    check_procedure(recipe, origin)


def _check_methods(recipe: Recipe, origin: Origin) -> None:
    """Methods, before a folder is made or a float network is trained for nothing."""
    from lowbit.quantizers.catalog import parse

    roles = ("weight", "activation", "output", "gradient")
    used: list[tuple[KeyPath, str, Method]] = [
        *(((key,), key, getattr(recipe, key)) for key in (*roles, "add", "first", "last")),
        *((("rules", i, key), key, rule.get(key)) for i, rule in enumerate(recipe.rules) for key in roles),
    ]
    for place, key, method in used:
        if method is None or method == "same":
            continue
        try:
            spec = parse(method)
            for role in (
                ("weight", "activation") if key in ("first", "last") else (key if key in roles else "activation",)
            ):
                spec.build(role)
        except ValueError as error:
            raise type(error)(f"{origin.where(place)}: {error}") from None
