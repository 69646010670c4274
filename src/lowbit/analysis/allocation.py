"""`lowbit.allocate`: bits for every layer within a budget, as rules that `prepare` takes."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.bits import Bits, closed_form, rounded_up, within_cost, within_error
from lowbit.analysis.kappa import kappa
from lowbit.analysis.samples import Samples, samples
from lowbit.analysis.sensitivity import WIDTHS, legal_widths, macs, rebuilt, relative_error, sensitivity
from lowbit.analysis.switches import layer_inputs, quantizing, weight_layers
from lowbit.errors import InvalidInput, unknown
from lowbit.quantizers.catalog import parse
from lowbit.training.evaluate import logits

BUDGETS = ("bytes", "operations", "sqnr")
HOW = ("greedy", "closed form")
TRIALS = 64
"""Exchanges of bits between two tensors that are measured."""


def allocate(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    budget: Mapping[str, float],
    weight: str = "l2",
    activation: str | None = None,
    widths: Sequence[int] = WIDTHS,
    how: str = "greedy",
    tick: Callable[[], Any] = lambda: None,
) -> list[dict[str, Any]]:
    """Choose bits for every layer so that the answers stay nearest to the float network's within a budget.

    "greedy" measures the error of the logits with each tensor alone at each width, takes errors of several tensors as
    their sum, and searches; within a size or operation budget it then measures exchanges of bits between two tensors
    with all of them quantized together, for a target SQNR it raises the most sensitive tensor until the target holds.
    "closed form" looks at the numbers of weights and at kappa alone (Lin et al. 2016) and measures nothing else.

    Args:
        model: float, or prepared and calibrated, whose methods are then taken; it is left as it was.
        batches: as `lowbit.calibrate` takes them; labels are not needed.
        budget: one of ``{"bytes": n}`` (packed weights of the quantized layers with their scales and biases),
            ``{"operations": n}`` (sum over layers of MACs * weight bits * activation bits of one input; floats count
            32) and ``{"sqnr": dB}`` (of the logits).
        weight, activation: methods without bits for a float model; None leaves activations out.
        widths: bits to choose from.
        how: "greedy" or "closed form" (weights only, not for operations).
        tick: called after each measurement.

    Returns:
        Rules, one a layer: ``[{"match": "0", "weight": "l2:4"}, ...]``.

    Raises:
        InvalidInput: budget, widths, model or data cannot be used, or the budget cannot be kept.
        UnknownName: a method, a kind of budget or `how` does not exist.

    Example:
        >>> import lowbit
        >>> torch.manual_seed(0) and None
        >>> net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
        >>> rules = allocate(net, [torch.randn(64, 8)], budget={"bytes": 320})
        >>> [rule["match"] for rule in rules]
        ['0', '2']
        >>> net = lowbit.prepare(net, rules=rules)
    """
    kind, limit = _budget(budget)
    if how not in HOW:
        raise unknown("how", how, HOW)
    if not widths or min(widths) < 1 or max(widths) > 16:
        raise InvalidInput(f"widths is {list(widths)}, allowed are bits from 1 to 16, at least one")
    if how == "closed form" and kind == "operations":
        raise InvalidInput("the closed form knows sizes, not operations; use how='greedy'")
    batches = list(batches) if not isinstance(batches, Tensor) else batches
    net = _prepared(model, batches, weight, activation, widths)
    data = samples(net, batches)
    if how == "closed form":
        bits = _closed(net, kind, limit, widths)
    else:
        bits = _greedy(net, data, kind, limit, widths, tick)
    return _rules(net, bits)


def _budget(budget: Any) -> tuple[str, float]:
    if not isinstance(budget, Mapping) or len(budget) != 1:
        raise InvalidInput(
            f"budget is {budget!r}, allowed is one of {{'bytes': n}}, {{'operations': n}}, {{'sqnr': dB}}"
        )
    ((kind, limit),) = budget.items()
    if kind not in BUDGETS:
        raise unknown("budget", kind, BUDGETS)
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0:
        raise InvalidInput(f"budget {kind} is {limit!r}, allowed is a number above 0")
    return kind, float(limit)


def _prepared(model: nn.Module, batches: Any, weight: str, activation: str | None, widths: Sequence[int]) -> nn.Module:
    """A calibrated copy in eval mode."""
    import lowbit

    if not isinstance(model, nn.Module):
        raise InvalidInput(f"allocate got {model!r}, allowed is a model, an nn.Module with Conv2d or Linear in it")
    net = copy.deepcopy(model)
    if not weight_layers(net):
        methods = [None if m is None else parse(_with_bits(m, max(widths))) for m in (weight, activation)]
        lowbit.prepare(net, methods[0], methods[1], first="same", last="same")
        lowbit.calibrate(net, batches)
    return net.eval()


def _with_bits(method: str, bits: int) -> str:
    name, at, granularity = method.partition("@")
    return method if ":" in name else f"{name}:{bits}{at}{granularity}"


def _tensors(net: nn.Module) -> Bits:
    """What can be given bits, with the bits that it has."""
    found: Bits = {}
    seen = set()
    for name, layer in weight_layers(net).items():
        for role, quantizer in (("weights", layer.weight_quantizer), ("activations", layer.input_quantizer)):
            if quantizer is not None and quantizer not in seen:
                seen.add(quantizer)
                found[name, role] = quantizer.bits
    return found


def size(net: nn.Module, bits: Mapping[tuple[str, str], int]) -> int:
    """Packed bytes of the layers with quantized weights, as `lowbit.summary` counts them."""
    total = 0
    for name, layer in weight_layers(net).items():
        if (name, "weights") in bits:
            assert layer.weight_quantizer is not None
            scales = len(layer.weight) if layer.weight_quantizer.channel else 1
            biases = 0 if layer.bias is None else layer.bias.numel()
            total += (layer.weight.numel() * bits[name, "weights"] + 7) // 8 + 4 * (scales + biases)
    return total


def operations(net: nn.Module, bits: Mapping[tuple[str, str], int]) -> int:
    """Bit operations for one input: MACs * weight bits * activation bits; floats count as 32 bits."""
    total, by_quantizer = 0, {}
    for name, layer in weight_layers(net).items():
        if (name, "activations") in bits:
            by_quantizer[layer.input_quantizer] = bits[name, "activations"]
        total += macs(layer) * bits.get((name, "weights"), 32) * by_quantizer.get(layer.input_quantizer, 32)
    return total


def _closed(net: nn.Module, kind: str, limit: float, widths: Sequence[int]) -> Bits:
    layers = {name: layer for name, layer in weight_layers(net).items() if layer.weight_quantizer is not None}
    counts = [layer.weight.numel() for layer in layers.values()]
    slopes = [slope for layer in layers.values() if (slope := kappa(layer.weight)) is not None]
    slope = sum(slopes) / len(slopes) if slopes else 5.0

    def at(target: float) -> Bits:
        wanted = rounded_up(closed_form(counts, target, slope))
        allowed = sorted(widths)
        fits = [next((w for w in allowed if w >= bits), allowed[-1]) for bits in wanted]
        return {(name, "weights"): bits for name, bits in zip(layers, fits, strict=True)}

    if kind == "sqnr":
        return at(limit)
    low, high = -100.0, 200.0
    if size(net, at(low)) > limit:
        raise InvalidInput(
            f"the budget is {limit:,.0f} bytes, and the fewest bits need {size(net, at(low)):,}; give at least that"
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if size(net, at(middle)) <= limit else (low, middle)
    return at(low)


def _greedy(
    net: nn.Module, data: Samples, kind: str, limit: float, widths: Sequence[int], tick: Callable[[], Any]
) -> Bits:
    fixed = _tensors(net)
    roles = ("weights",) if kind == "bytes" else ("weights", "activations")
    errors: dict[tuple[str, str], dict[int, float]] = {}
    for row in sensitivity(net, data, widths=widths, roles=roles, tick=tick).rows:
        errors.setdefault((row["layer"], row["quantized"]), {})[row["bits"]] = row["error"]
    count = operations if kind == "operations" else size
    if kind == "sqnr":
        return _reach(net, data, errors, 10 ** (-limit / 10))

    def cost(bits: Bits) -> float:
        return count(net, {**fixed, **bits})

    candidates = [within_cost(errors, cost, limit)]
    for most in sorted(widths, reverse=True):
        equal = {
            part: max((bits for bits in known if bits <= most), default=min(known)) for part, known in errors.items()
        }
        if cost(equal) <= limit:
            candidates.append(equal)
            break
    best = min(candidates, key=lambda bits: joint_error(net, data.x, bits))
    return _exchanged(net, data.x, errors, cost, limit, best, tick)


def _exchanged(
    net: nn.Module, x: Tensor, errors: dict[tuple[str, str], dict[int, float]], cost: Callable[[Bits], float],
    limit: float, bits: Bits, tick: Callable[[], Any],
) -> Bits:  # fmt: skip
    """Move bits from one tensor to another while that lowers the error of all tensors together.

    Errors add only roughly: what one layer distorts, the next may cut off or undo. Exchanges that promise most by the
    sum are tried first.
    """
    best, left = joint_error(net, x, bits), TRIALS
    while left:
        exchanges = []
        for a, b in itertools.permutations(bits, 2):
            up, down = [w for w in errors[a] if w > bits[a]], [w for w in errors[b] if w < bits[b]]
            exchanges += [{**bits, a: more, b: less} for more in up for less in down]
        exchanges = [other for other in exchanges if cost(other) <= limit]
        exchanges.sort(key=lambda other: sum(errors[part][width] for part, width in other.items()))
        for other in exchanges[:left]:
            left -= 1
            tick()
            error = joint_error(net, x, other)
            if error < best:
                best, bits = error, other
                break
        else:
            break
    return bits


def _reach(net: nn.Module, data: Samples, errors: dict[tuple[str, str], dict[int, float]], limit: float) -> Bits:
    """Least size whose errors sum up to the limit, then Anwar's joint check, raising what is most sensitive."""
    weights = {name: layer.weight.numel() for name, layer in weight_layers(net).items()}

    def elements(bits: Bits) -> float:
        return sum(weights[name] * count for (name, _), count in bits.items())

    found = within_error(errors, elements, limit)
    while joint_error(net, data.x, found) > limit:
        higher = {part: [bits for bits in known if bits > found[part]] for part, known in errors.items()}
        open_ = [part for part, more in higher.items() if more]
        if not open_:
            reached = -10 * _log10(joint_error(net, data.x, found))
            raise InvalidInput(f"all layers at their most bits reach {reached:.1f} dB; aim lower, or allow more widths")
        most = max(open_, key=lambda part: errors[part][found[part]])
        found = {**found, most: min(higher[most])}
    return found


def _log10(value: float) -> float:
    return math.log10(max(value, 1e-30))


def joint_error(net: nn.Module, x: Tensor, bits: Mapping[tuple[str, str], int]) -> float:
    """|y - f|^2 / |f|^2 of the logits with all these tensors quantized together, the others float.

    Args:
        net: prepared and calibrated; it is left as it was.
        x: inputs [N, ...].
        bits: by layer and "weights" or "activations".
    """
    with quantizing(net, weights=False, activations=False):
        reference, given = logits(net, x), layer_inputs(net, x)
    other = copy.deepcopy(net)
    layers = weight_layers(other)
    for (name, role), count in bits.items():
        layer = layers[name]
        quantizer = layer.weight_quantizer if role == "weights" else layer.input_quantizer
        assert quantizer is not None
        tensor = layer.weight if role == "weights" else torch.cat([part.flatten() for part in given[name]])
        if count in legal_widths(quantizer, [count]):
            rebuilt(other, quantizer, count, tensor)
    chosen = {role: {name for name, what in bits if what == role} for role in ("weights", "activations")}
    with quantizing(other, chosen["weights"], chosen["activations"]):
        return relative_error(logits(other, x), reference)


def _rules(net: nn.Module, bits: Bits) -> list[dict[str, Any]]:
    """One rule a layer; readers of one tensor get the same activation rule, or they would not share it any more."""
    keys = {"weights": "weight", "activations": "activation"}
    layers = weight_layers(net)
    by_quantizer = {
        layers[name].weight_quantizer if role == "weights" else layers[name].input_quantizer: count
        for (name, role), count in bits.items()
    }
    rules = []
    for name, layer in layers.items():
        rule: dict[str, Any] = {"match": name}
        for role, quantizer in (("weights", layer.weight_quantizer), ("activations", layer.input_quantizer)):
            if quantizer in by_quantizer and quantizer is not None and quantizer.spec is not None:
                rule[keys[role]] = replace(quantizer.spec, bits=by_quantizer[quantizer]).written()
        if len(rule) > 1:
            rules.append(rule)
    return rules
