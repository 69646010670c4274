"""Where a value of a recipe was written, and what is wrong with it, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from lowbit.errors import InvalidInput, LowbitError, UnknownName, unknown

Path = Sequence[str | int]


@dataclass(frozen=True)
class Change:
    """One ``key=value`` from the command line."""

    text: str
    path: tuple[str, ...]
    value: Any


class Origin:
    """The text of a recipe and the changes to it, which know where each key was written.

    Args:
        text: YAML.
        name: of the file, for messages.
        changes: ``"key=value"``.

    Raises:
        InvalidInput: the text is not YAML, not a mapping, has a key twice, or a change is not ``key=value``.
    """

    def __init__(self, text: str, name: str, changes: Sequence[str] = ()) -> None:
        self.name = name
        self.changes = [self._change(change) for change in changes]
        try:
            self.root = yaml.compose(text, Loader=yaml.SafeLoader)
            values = yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or "it cannot be parsed"
            raise InvalidInput(f"{name}{line}: not valid YAML ({problem})") from None
        if not isinstance(values, dict):
            raise InvalidInput(f"{name}: a recipe is a list of `key: value` lines, this is not")
        self._refuse_doubles(self.root)
        self.values: dict[str, Any] = values

    def where(self, path: Path) -> str:
        """``file, line n`` or ``change 'key=value'`` for the deepest part of `path` that was written."""
        for change in reversed(self.changes):
            shared = min(len(path), len(change.path))
            if list(path[:shared]) == list(change.path[:shared]):
                return f"change '{change.text}'"
        line = self._line(path)
        return f"{self.name}, line {line}" if line else self.name

    def _line(self, path: Path) -> int:
        node, line = self.root, 0
        for key in path:
            if isinstance(node, yaml.MappingNode):
                for name, value in node.value:
                    if name.value == str(key):
                        node, line = value, name.start_mark.line + 1
                        break
                else:
                    break
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def _refuse_doubles(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_doubles(item)
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for name, value in node.value:
                line = name.start_mark.line + 1
                if name.value in seen:
                    first = seen[name.value]
                    raise InvalidInput(
                        f"{self.name}, line {line}: key {name.value!r} was given in line {first} already"
                    )
                seen[name.value] = line
                self._refuse_doubles(value)

    @staticmethod
    def _change(text: str) -> Change:
        key, equals, value = text.partition("=")
        if not equals or not key or not all(key.split(".")):
            raise InvalidInput(f"change '{text}': write key=value, for example epochs=3 or optimizer.lr=0.01")
        try:
            return Change(text, tuple(key.split(".")), yaml.safe_load(value))
        except yaml.YAMLError:
            raise InvalidInput(f"change '{text}': {value!r} is not a YAML value; put it in quotes") from None


def unknown_option(origin: Origin, path: Path, what: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for an unknown name at a place of the recipe."""
    return UnknownName(f"{origin.where(path)}: {unknown(what, name, known)}")


def first_problem(error: ValidationError, model: type[BaseModel], origin: Origin) -> LowbitError:
    """The first of pydantic's complaints as one sentence with file, line, value and what is allowed."""
    problems = error.errors(include_url=False)
    problem = problems[0]
    path: tuple[str | int, ...] = problem["loc"]
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = fields_at(model, path[:-1])
        return UnknownName(f"{origin.where(path)}: {unknown('key', path[-1], known)}{more}")
    if problem["type"] == "missing":
        name = ".".join(map(str, path))
        return InvalidInput(f"{origin.where(path[:-1])}: the key {name!r} is missing{more}")
    given = problem["input"]
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not path:  # the whole file: what is wrong between its parts
        return InvalidInput(f"{origin.where(path)}: {message}{more}")
    return InvalidInput(f"{origin.where(path)}: {_dotted(path)} is {given!r}; {message}{more}")


def fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """Names of the keys that the part of `model` at `path` knows."""
    for key in path:
        field = model.model_fields.get(str(key))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            break
        model = inner[0]
    return list(model.model_fields)


def _dotted(path: Path) -> str:
    """The key as one writes it in a change; pydantic's names of union members end the path."""
    kept = []
    for part in path:
        if isinstance(part, str) and ("[" in part or part in ("str", "dict", "function-before")):
            break
        kept.append(str(part))
    return ".".join(kept)
