"""Which method each layer gets: rules first, then the policy for the first and last layer, then the default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from lowbit.errors import UnknownName, unknown
from lowbit.quantizers.catalog import Spec, parse

ROLE_KEYS = ("weight", "activation", "output", "gradient")
Method = str | Mapping[str, Any] | Spec | None


@dataclass(frozen=True)
class Choice:
    """Methods of one layer; None leaves floats."""

    weight: Spec | None
    activation: Spec | None
    output: Spec | None
    gradient: Spec | None


def spec(method: Method) -> Spec | None:
    """A method as a Spec, None as None."""
    return None if method is None else parse(method)


def choose(
    names: Sequence[str],
    default: Mapping[str, Method],
    first: Method,
    last: Method,
    rules: Sequence[Mapping[str, Any]] | None,
) -> dict[str, Choice]:
    """Assign methods to layers.

    Args:
        names: module paths of the weight layers in execution order.
        default: methods by role.
        first, last: a method for weight and activation of that layer, None for floats, or "same" for the default;
            ``@channel`` in it is for the weight.
        rules: mappings with `match` (glob over module paths) and any role; the first match wins, a role that it leaves
            out takes what the layer would have had without rules.

    Raises:
        UnknownName: for an unknown method or key, or a rule that matches no layer.
        ValueError: for bits that a method cannot have, or rules of a wrong type.
    """
    if isinstance(rules, (str, Mapping)) or not isinstance(rules, (Iterable, type(None))):
        raise ValueError(f"rules is {rules!r}, allowed is a list of mappings such as {{'match': 'layer1.*'}}")
    rules = list(rules or ())
    for method in (*default.values(), first, last):  # also those that no layer happens to use
        if method != "same":
            spec(method)
    for i, rule in enumerate(rules):
        if not isinstance(rule, Mapping):
            raise ValueError(f"rule {i} is {rule!r}, allowed is a mapping such as {{'match': 'layer1.*'}}")
        for key in rule:
            if key != "match" and key not in ROLE_KEYS:
                raise unknown(f"key in rule {i}", key, ["match", *ROLE_KEYS])
        if "match" not in rule:
            raise UnknownName(f"rule {i} has no 'match'; give a glob over module names, e.g. 'layer1.*'")
        if not isinstance(rule["match"], str):
            raise ValueError(
                f"rule {i} matches {rule['match']!r}, allowed is a glob over module names, e.g. 'layer1.*'"
            )
        if not any(fnmatchcase(name, rule["match"]) for name in names):
            raise UnknownName(
                f"rule {i} matches nothing: {rule['match']!r}; the layers are {', '.join(names) or 'none'}"
            )
        for role in ROLE_KEYS:
            spec(rule.get(role))
    chosen = {}
    for index, name in enumerate(names):
        methods = dict(default)
        edge = first if index == 0 else last if index == len(names) - 1 else "same"
        if edge != "same":
            both = spec(edge)  # a granularity in it is the weight's
            methods["weight"], methods["activation"] = both, both and replace(both, granularity=None)
        rule = next((r for r in rules if fnmatchcase(name, r["match"])), {})
        methods.update({key: rule[key] for key in ROLE_KEYS if key in rule})
        chosen[name] = Choice(**{role: spec(methods[role]) for role in ROLE_KEYS})
    return chosen
