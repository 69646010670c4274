"""Types of options, read off the annotations of a method's constructor: what the catalogue checks for all."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a name", type(None): "none"}
"""How a type is called in a message."""


def check_options(method: str, constructor: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options whose type is not the annotated one; values, and lists, are the constructor's to judge.

    Args:
        method: its name, for the message.
        constructor: annotated with bool, int, float, str, None and unions of these; other types are not checked.
        options: name to value; names that the constructor does not spell out are left to it.

    Raises:
        ValueError: naming the method, the option, the value, and what is allowed.

    Example:
        >>> def build(bits: int, *, clip: bool = False) -> None: ...
        >>> check_options("sawb", build, {"clip": True})
        >>> try:
        ...     check_options("sawb", build, {"clip": "no"})
        ... except ValueError as error:
        ...     print(error)
        sawb's clip is 'no', allowed is true or false, by default False
    """
    hints = typing.get_type_hints(constructor)
    for name, value in options.items():
        if name in hints and not _fits(value, hints[name]):
            usual = inspect.signature(constructor).parameters[name].default
            raise ValueError(f"{method}'s {name} is {value!r}, allowed is {_words(hints[name])}, by default {usual!r}")


def _union(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_is(value, kind) for kind in _union(hint))


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return kind not in WORDS or isinstance(value, kind)


def _words(hint: Any) -> str:
    return ", or ".join(WORDS[kind] for kind in _union(hint))
