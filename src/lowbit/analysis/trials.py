"""Remedies that need no training, each tried on a copy: what it does to the error of the answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.samples import Samples
from lowbit.analysis.sensitivity import legal_widths, rebuilt, relative_error
from lowbit.analysis.split import agreement
from lowbit.analysis.switches import layer_inputs, quantizing, weight_layers
from lowbit.procedures.bn_reestimate import norms, reestimate
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.catalog import Spec, parse
from lowbit.table import Table
from lowbit.training.evaluate import logits, score

COLUMNS = ("trial", "layer", "quantized", "method", "error", "accuracy", "agreement")
NOTHING, NORMS, RANGE, CHANNEL, BITS, ALL = (
    "as it is", "BatchNorm measured again", "range of least squared error", "one scale a channel", "two more bits",
    "one more bit for all",
)  # fmt: skip
SHARE = 0.1
"""A tensor is tried alone where at least this share of the summed error is its own."""
BATCH = 64


def trials(model: nn.Module, data: Samples, parts: Table, tick: Callable[[], Any] = lambda: None) -> Table:
    """Error of the logits against the float network, accuracy (percent) and agreement after each remedy.

    Args:
        model: prepared and calibrated; it is left as it was.
        data: labels may be missing.
        parts: from `split_by_layer`.
        tick: called after each trial.

    Returns:
        A table whose first row is the network as it is; `method` is what a rule would give the layer.
    """
    with quantizing(model, weights=False, activations=False):
        reference, given = logits(model, data.x), layer_inputs(model, data.x)
    rows: list[dict[str, Any]] = []

    def measure(net: nn.Module, **what: Any) -> None:
        y = logits(net, data.x)
        rows.append({
            **what, "error": relative_error(y, reference),
            "accuracy": None if data.y is None else score(y, data.y.cpu()).accuracy,
            "agreement": agreement(y, reference),
        })  # fmt: skip
        tick()

    measure(model, trial=NOTHING)
    if norms(model):
        net = copy.deepcopy(model)
        pieces = [piece for piece in data.x.split(BATCH) if len(piece) > 1]
        reestimate(net, pieces, len(pieces))
        measure(net, trial=NORMS)
    for name, role in worst(parts):
        layer = weight_layers(model).get(name)
        if layer is None:
            continue
        quantizer = layer.weight_quantizer if role == "weights" else layer.input_quantizer
        if quantizer is None or quantizer.spec is None:
            continue
        x = layer.weight if role == "weights" else torch.cat([part.flatten() for part in given[name]])
        for trial, spec in _remedies(quantizer, role):
            net = copy.deepcopy(model)
            _exchange(net, name, role, spec, x)
            measure(net, trial=trial, layer=name, quantized=role, method=spec.written())
    for role in ("weights", "activations"):
        net = copy.deepcopy(model)
        if _widened(net, role, given):
            measure(net, trial=ALL, quantized=role)
    return Table(COLUMNS, rows)


def share_of(parts: Table) -> dict[tuple[str, str], float]:
    """Share of the summed error of single tensors that each has, by layer and "weights" or "activations"."""
    errors = {
        (row["layer"], row["quantized"]): 0.0 if row["sqnr"] is None else 10 ** (-row["sqnr"] / 10)
        for row in parts.rows
    }
    total = sum(errors.values())
    return {part: error / total if total else 0.0 for part, error in errors.items()}


def worst(parts: Table) -> list[tuple[str, str]]:
    """Tensors with a large share, the largest first."""
    shares = share_of(parts)
    return sorted((part for part in shares if shares[part] >= SHARE), key=lambda part: -shares[part])


def _remedies(quantizer: Quantizer, role: str) -> list[tuple[str, Spec]]:
    spec: Spec = quantizer.spec
    bits = quantizer.bits
    found = []
    if bits > 1:
        best = "l2" if role == "weights" else "lsq"
        again = replace(parse(f"{best}:{bits}"), options={} if role == "weights" else {"init": "mse"})
        if role == "weights" and quantizer.channel:
            again = replace(again, channel=True, granularity="channel")
        found.append((RANGE, again))
    if role == "weights" and not quantizer.channel and quantizer.card.per_channel:
        found.append((CHANNEL, replace(spec, channel=True, granularity="channel")))
    more = [width for width in legal_widths(quantizer, range(bits + 1, min(bits + 2, 8) + 1)) if width > bits]
    if more:
        found.append((BITS, replace(spec, bits=max(more))))
    return found


def _exchange(net: nn.Module, name: str, role: str, spec: Spec, x: Tensor) -> None:
    layer = weight_layers(net)[name]
    quantizer = layer.weight_quantizer if role == "weights" else layer.input_quantizer
    assert quantizer is not None
    quantizer.spec = spec
    rebuilt(net, quantizer, spec.bits, x)


def _widened(net: nn.Module, role: str, given: dict[str, list[Tensor]]) -> bool:
    """One more bit for every tensor of a role that can have it; whether there was one."""
    done = set()
    for name, layer in weight_layers(net).items():
        quantizer = layer.weight_quantizer if role == "weights" else layer.input_quantizer
        if quantizer is None or quantizer in done or quantizer.bits >= 8 or quantizer.spec is None:
            continue
        if quantizer.bits + 1 in legal_widths(quantizer, [quantizer.bits + 1]):
            x = layer.weight if role == "weights" else torch.cat([part.flatten() for part in given[name]])
            done.add(rebuilt(net, quantizer, quantizer.bits + 1, x))
    return bool(done)


def decibels(error: float) -> float:
    """SQNR of a relative error; at most 200 dB.

    Example:
        >>> decibels(0.01)
        20.0
    """
    return -10 * math.log10(max(error, 1e-20))
