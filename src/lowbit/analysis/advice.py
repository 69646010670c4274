"""Recommendations from measurements: one rule a function, each with its evidence and something that can be run.

A rule is silent unless accuracy was lost and its own cause is seen. Where a remedy needs no training it was tried (see
`trials`), and its effect is the evidence. The training remedies follow Boo, Shin, Sung, sections 4 and 5: cyclical
learning rates help weights, the Lipschitz penalty helps activations, and depth accumulates the noise of activations.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import yaml

from lowbit.analysis.findings import Findings
from lowbit.analysis.trials import ALL, BITS, CHANNEL, NORMS, NOTHING, RANGE, decibels
from lowbit.quantizers.catalog import METHODS, parse

LOST = 0.5
"""Points of accuracy (without labels, of agreement) from which a loss is spoken of."""
DEEP = 8
"""Layers with weights from which depth is a cause of its own."""
DEAD = 1e-4
"""Largest level over largest value, under which a tensor has no levels: learned steps end at 1e-8."""
AMPLIFIED = 6.0
"""Decibels: noise at the output is four times the sum of what was put in."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One recommendation.

    Attributes:
        rule: its name.
        title: what to do, one sentence.
        evidence: what was measured.
        weight: for ranking, the share of the error that the remedy is expected to take away, 0 to 1.
        changes: keys of the recipe with new values.
        action: a shell command, or YAML for a recipe, whose `rules` `prepare` takes too.
    """

    rule: str
    title: str
    evidence: str
    weight: float
    changes: Mapping[str, Any]
    action: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


Made = tuple[str, str, float, dict[str, Any]] | None
"""Title, evidence, weight and changes, or nothing to say."""
Rule = Callable[[Findings], Made]


def advise(findings: Findings) -> list[Advice]:
    """All recommendations, the one that promises most first; none where nothing was lost."""
    if findings.lost < LOST:
        return []
    found = []
    for rule in RULES:
        made = rule(findings)
        if made is not None:
            title, evidence, weight, changes = made
            name = rule.__name__.replace("_", "-")
            found.append(
                Advice(rule=name, title=title, evidence=evidence, weight=weight, changes=changes,
                       action=_action(findings, name, changes))
            )  # fmt: skip
    return sorted(found, key=lambda advice: -advice.weight)


def _action(findings: Findings, name: str, changes: Mapping[str, Any]) -> str:
    run = findings.context.run
    if not run:
        return yaml.safe_dump(dict(changes), sort_keys=False, default_flow_style=None).strip()
    words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return shlex.join(["lowbit", "train", f"{run}/recipe.yaml", *words, "--out", f"{run}-{name}"])


def batchnorm(findings: Findings) -> Made:
    """Running statistics are not those of the quantized network."""
    spared = findings.spared(NORMS)
    row = findings.trial(NORMS)
    if row is None or spared < 0.3 or _dead(findings):
        return None
    modifiers = [*_recipe(findings).get("modifiers", []), {"name": "bn-reestimate"}]
    return (
        "Measure BatchNorm again on the quantized network.",
        f"Its statistics are not those of the quantized network: measured again, {_after(findings, row)}",
        spared,
        {"modifiers": modifiers},
    )


def dead_step(findings: Findings) -> Made:
    """A learned step was driven through zero, where training cannot bring it back."""
    dead = _dead(findings)
    if not dead:
        return None
    first = dead[0]
    others = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
    return (
        f"Train again with steps that learn slower: the step of the {first['role']} of {first['layer']} is dead.",
        f"All {first['levels']} levels of the {first['role']} of {first['layer']}{others} lie within "
        f"{max(map(abs, first['values'])):.1g} of zero, its values within {_reach(first):.2g}",
        1.0,
        {"optimizer": {**_recipe(findings).get("optimizer", {}), "scale_lr": 0.1}},
    )


def tensor_range(findings: Findings) -> Made:
    """One tensor's levels do not fit its values."""
    if _stale(findings) or _dead(findings):
        return None
    spared, row = findings.best(RANGE)
    if row is None or spared < 0.4:
        return None
    used = next(u for u in findings.tables["usage"].rows
                if u["layer"] == row["layer"] and u["role"] == row["quantized"].removesuffix("s"))  # fmt: skip
    return (
        f"Give the {row['quantized']} of {row['layer']} another range.",
        f"{used['clipped']:.1%} of its values are clipped, {used['dead']} of {used['levels']} levels are never used; "
        f"with the range of least squared error {_after(findings, row)}",
        spared,
        {"rules": _rules(findings, row)},
    )


def channel_scales(findings: Findings) -> Made:
    """Filters of one layer have very different sizes, and share one scale."""
    if _stale(findings) or _misfit(findings):
        return None
    spared, row = findings.best(CHANNEL)
    if row is None or spared < 0.4:
        return None
    return (
        f"Give every filter of {row['layer']} a scale of its own.",
        f"Its filters are of very different sizes: with one scale a channel {_after(findings, row)}",
        spared,
        {"rules": _rules(findings, row)},
    )


def weak_layer(findings: Findings) -> Made:
    """One tensor causes most of the error, and bits help it."""
    if _explained(findings) or findings.amplified > AMPLIFIED or not findings.shares:
        return None
    part = max(findings.shares, key=lambda key: findings.shares[key])
    share = findings.shares[part]
    layer, role = part
    row = findings.trial(BITS, layer=layer, quantized=role)
    spared = findings.spared(BITS, layer=layer, quantized=role)
    if row is None or len(findings.shares) < 4 or share < 0.5 or spared < 0.4:
        return None
    return (
        f"Give the {role} of {layer} more bits.",
        f"They alone cause {share:.0%} of the error of single tensors; with two more bits {_after(findings, row)}",
        spared,
        {"rules": _rules(findings, row)},
    )


def weights_first(findings: Findings) -> Made:
    """Weights cause the error, everywhere a little."""
    if not _weights_everywhere(findings) or (findings.context.trained and max(findings.bits("weight")) <= 2):
        return None
    return _more_bits(findings, "weights", "weight")


def activations_first(findings: Findings) -> Made:
    """Activations cause the error, everywhere a little, in a network that is not deep."""
    if not _activations_everywhere(findings) or findings.depth >= DEEP or findings.amplified > AMPLIFIED:
        return None
    return _more_bits(findings, "activations", "activation")


def lipschitz(findings: Findings) -> Made:
    """Layers amplify the noise of activations."""
    if _stale(findings) or _misfit(findings) or not findings.activations_rule or findings.amplified <= AMPLIFIED:
        return None
    if any(part["name"] == "lipschitz" for part in _recipe(findings).get("modifiers", [])):
        return None
    largest = max(findings.tables["lipschitz"].rows, key=lambda row: row["float"])
    return (
        "Train with the Lipschitz penalty, so that layers amplify less.",
        f"At the output the activations' noise is {findings.amplified:.1f} dB above the sum of what the layers put in; "
        f"{largest['layer']} alone can amplify {largest['float']:.1f} times",
        1 - 10 ** (-findings.amplified / 10),
        {"modifiers": [*_recipe(findings).get("modifiers", []), {"name": "lipschitz"}]},
    )


def shallower(findings: Findings) -> Made:
    """Noise of activations adds up over many layers."""
    if not _activations_everywhere(findings) or findings.depth < DEEP or findings.amplified > AMPLIFIED:
        return None
    model = dict(_recipe(findings).get("model", {"name": "fcdnn", "width": 128, "depth": findings.depth}))
    if model["name"] == "fcdnn":
        width, depth = model.get("width", 128), model.get("depth", 4)
        less = max(3, depth // 2)
        changes = {"model": {**model, "depth": less, "width": round(width * math.sqrt((depth - 2) / (less - 2)))}}
    else:
        changes = {"model": {**model, "width": 2 * model.get("width", 16)}}
    rows = [row for row in findings.tables["noise"].rows if row["quantized"] == "activations"]
    first, last = rows[0]["distortion"] + rows[0]["noise"], rows[-1]["distortion"] + rows[-1]["noise"]
    return (
        "Use a shallower and wider network.",
        f"Over {findings.depth} layers the activations' error grows from {first:.2g} to {last:.2g} of the signal",
        0.3,
        changes,
    )


def cyclical_rate(findings: Findings) -> Made:
    """Trained weights of one or two bits cause the error beside quantized activations."""
    if not _trained_weights(findings) or not findings.bits("activation"):
        return None
    if any(part["name"] == "clr" for part in _recipe(findings).get("modifiers", [])):
        return None
    return (
        "Train on at a cyclical learning rate.",
        _both(findings) + "; cyclical rates find flatter minima, which weights of few bits distort less",
        0.25,
        {
            "modifiers": [*_recipe(findings).get("modifiers", []), {"name": "clr"}],
            "schedule": {"name": "constant", "warmup": 0},
        },
    )


def attention(findings: Findings) -> Made:
    """Trained weights of two bits cause the error, activations are float."""
    if not _trained_weights(findings) or findings.bits("activation") or min(findings.bits("weight")) < 2:
        return None
    if _recipe(findings).get("procedure", {}).get("name") == "dqa":
        return None
    mixture = {"method": "mixture", "learned": True, "parts": ["minmax:2", "minmax:4", "minmax:8"], "bits": 2}
    return (
        "Train by attention over 2, 4 and 8 bits (DQA).",
        _both(findings) + "; DQA moves from many bits to few while it trains",
        0.25,
        {"weight": mixture, "procedure": {"name": "dqa", "strength": 5, "norm": "layer_share"}},
    )


def distill(findings: Findings) -> Made:
    """Trained already, and weights and activations cause the error together."""
    recipe = _recipe(findings)
    if not findings.context.trained or findings.weights_rule or findings.activations_rule or _explained(findings):
        return None
    if recipe.get("procedure", {}).get("name") == "distill" or _one_part(findings):
        return None
    start = (
        {} if recipe.get("pretrain") or recipe.get("start") else {"pretrain": {"epochs": recipe.get("epochs") or 16}}
    )
    return (
        "Let the float network teach: distillation.",
        _both(findings) + f"; after training {findings.lost:.2f} points are still missing",
        0.2,
        {"procedure": {"name": "distill"}, **start},
    )


RULES: Sequence[Rule] = (
    dead_step, batchnorm, tensor_range, channel_scales, weak_layer, weights_first, activations_first, lipschitz,
    shallower, cyclical_rate, attention, distill,
)  # fmt: skip


def _recipe(findings: Findings) -> Mapping[str, Any]:
    return findings.context.recipe or {}


def _stale(findings: Findings) -> bool:
    return findings.spared(NORMS) >= 0.3


def _misfit(findings: Findings) -> bool:
    return bool(_dead(findings)) or findings.best(RANGE)[0] >= 0.4


def _dead(findings: Findings) -> list[Mapping[str, Any]]:
    """Tensors whose levels are all zero beside their values."""
    return [
        row for row in findings.tables["usage"].rows
        if 0 < max(map(abs, row["values"])) < DEAD * _reach(row)
    ]  # fmt: skip


def _reach(row: Mapping[str, Any]) -> float:
    return max(abs(row["lowest"]), abs(row["highest"]))


def _explained(findings: Findings) -> bool:
    """Whether something more particular is wrong."""
    return _stale(findings) or _misfit(findings) or findings.best(CHANNEL)[0] >= 0.4


def _one_part(findings: Findings) -> bool:
    return max(findings.shares.values(), default=0.0) >= 0.5 and findings.best(BITS)[0] >= 0.4


def _weights_everywhere(findings: Findings) -> bool:
    return findings.weights_rule and not _explained(findings) and not _one_part(findings)


def _activations_everywhere(findings: Findings) -> bool:
    return findings.activations_rule and not _explained(findings) and not _one_part(findings)


def _trained_weights(findings: Findings) -> bool:
    widths = findings.bits("weight")
    return bool(findings.context.trained and widths and max(widths) <= 2 and _weights_everywhere(findings))


def _more_bits(findings: Findings, role: str, key: str) -> Made:
    row = findings.trial(ALL, quantized=role)
    if row is None or not findings.spared(ALL, quantized=role):
        return None
    used = {u["layer"]: u["bits"] for u in findings.tables["usage"].rows if u["role"] == key}
    methods = findings.tables["methods"].rows
    rules = []
    for method in methods:
        wider = _wider(method[key]) if used.get(method["layer"], 8) < 8 else None
        if wider is not None:
            rules.append({"match": method["layer"], key: wider})
    return (
        f"Give the {role} more bits first.",
        f"{_both(findings)}; with one more bit for all {role} {_after(findings, row)}",
        findings.spared(ALL, quantized=role),
        {"rules": _before(findings, rules)},
    )


def _wider(method: str | Mapping[str, Any] | None) -> str | dict[str, Any] | None:
    """The method with one more bit, or None where it cannot have it."""
    spec = None if method is None else parse(method)
    if spec is None or spec.bits >= METHODS[spec.method].card.max_bits:
        return None
    return replace(spec, bits=spec.bits + 1).written()


def _rules(findings: Findings, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    key = row["quantized"].removesuffix("s")
    return _before(findings, [{"match": row["layer"], key: row["method"]}])


def _before(findings: Findings, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """New rules in front of the recipe's, whole in themselves: the first that matches a layer is all that it gets."""
    old = _recipe(findings).get("rules", [])
    made = []
    for rule in rules:
        row = next(r for r in findings.tables["methods"].rows if r["layer"] == rule["match"])
        other: Mapping[str, Any] = next((o for o in old if fnmatchcase(rule["match"], o["match"])), {})
        now = {"weight": row["weight"], "activation": row["activation"]}
        made.append({"match": rule["match"], **{key: other[key] for key in other if key != "match"}, **now, **rule})
    return [*made, *old]


def _both(findings: Findings) -> str:
    weights, activations = findings.error("weights"), findings.error("activations")
    return (
        f"Quantized alone, weights leave {decibels(weights):.1f} dB at the output and activations "
        f"{decibels(activations):.1f} dB"
    )


def _after(findings: Findings, row: Mapping[str, Any]) -> str:
    now = findings.trial(NOTHING)
    assert now is not None
    text = f"the answers' SQNR goes from {decibels(now['error']):.1f} to {decibels(row['error']):.1f} dB"
    if row["accuracy"] is not None:
        text += f", accuracy from {now['accuracy']:.1f} to {row['accuracy']:.1f} %"
    return text
