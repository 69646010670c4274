"""Settings that recipes and the command line give by name, as the types that a signature says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lowbit.errors import InvalidInput, unknown


def typed_settings(what: str, kind: str, make: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, with numbers where it is the text of numbers: YAML reads 1e-4 as text.

    Args:
        what: has the settings, for messages.
        kind: what they are called there, "setting" or "option".
        make: class or function that takes them; those without an annotation may be anything.
        given: by name.

    Raises:
        UnknownName: `make` takes none of that name; the message holds the nearest.
        InvalidInput: one is of another type, infinite or NaN.

    Example:
        >>> def train(rate: float, epochs: int = 1) -> None: ...
        >>> typed_settings("this training", "setting", train, {"rate": "1e-4"})
        {'rate': 0.0001}
    """
    function = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]  # of this very class
    allowed = [] if function is object.__init__ else list(inspect.signature(make).parameters)
    for name in given:
        if name not in allowed:
            raise unknown(f"{kind} of {what}", name, allowed)
    kinds = get_type_hints(function) if given else {}
    return {name: _checked(f"{name} of {what}", value, kinds.get(name, Any)) for name, value in given.items()}


def _checked(what: str, value: Any, kind: Any) -> Any:
    loose = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
    try:
        typed = TypeAdapter(kind, config=loose).validate_python(value)
    except ValidationError as error:
        needed = error.errors()[0]["msg"]
        for theirs, ours in (
            ("Input should", "it should"), ("a valid integer", "an integer"), ("valid ", ""),
            ("an instance of Sequence", "a list"),
        ):  # fmt: skip
            needed = needed.replace(theirs, ours)
        raise InvalidInput(f"{what} is {value!r}: {needed}") from None
    texts = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, str)]
    return typed if texts else value
