"""`lowbit.summary`: what each layer of a prepared model does, and what was left alone."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from lowbit.layers import Add, Concat, WeightLayer
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table

COLUMNS = (
    "layer", "kind", "weight", "activation", "output", "gradient", "W", "A", "G", "parameters", "MACs", "bytes",
    "exact", "note",
)  # fmt: skip
OPTIONAL = ("output", "gradient", "G")
"""Columns that are only shown where a layer has something in them."""
_UNQUANTIZED = (nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Embedding, nn.LSTM, nn.GRU)


def summary(model: nn.Module) -> Table:
    """One row for each layer with weights, addition and concatenation.

    W, A and G are bits of weight, activation and gradient (32 where a layer is float), bytes what the packed weights
    and bias take in a file, MACs those of one image (known once `calibrate` or an `example` has run). Notes name
    everything that is no plain integer layer.

    Args:
        model: a prepared model.

    Returns:
        A `Table`: ``str()`` for people, ``.to_dict()`` for programs.

    Example:
        >>> import lowbit, torch
        >>> net = lowbit.prepare(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)), last=None)
        >>> [row["exact"] for row in lowbit.summary(net).to_dict()["rows"]]
        [True, False]
    """
    rows, notes = [], []
    for name, module in model.named_modules():
        if isinstance(module, WeightLayer):
            rows.append(_layer(name, module))
        elif isinstance(module, (Add, Concat)):
            q = module.input_quantizer
            rows.append({
                "layer": name, "kind": type(module).__name__, "activation": _method(q), "A": q.bits if q else 32,
                "exact": True, "note": _state(q) if q else "float32 stream",
            })  # fmt: skip
        elif type(module) in _UNQUANTIZED:
            rows.append({"layer": name, "kind": type(module).__name__, "W": 32, "A": 32, "exact": False,
                         "note": "not quantized: no such layer in lowbit"})  # fmt: skip
    for name, readers in getattr(model, "lowbit_folded", {}).items():
        notes.append(f"{name}: ReLU folded into the input quantizer of {readers}")
    reason = getattr(model, "lowbit_trace_error", "")
    if reason:
        notes.append(f"not traced ({reason}): prepared module by module, `+` and pooling functions stay float")
    totals: dict[str, Any] = {
        "parameters": sum(r.get("parameters") or 0 for r in rows),
        "bytes": sum(r.get("bytes") or 0 for r in rows),
        "exact": all(r["exact"] for r in rows),
    }
    shown = [c for c in COLUMNS if c not in OPTIONAL or any(r.get(c) not in (None, 32) for r in rows)]
    return Table(shown, rows, notes=notes, totals=totals)


def _method(q: Quantizer | None) -> str:
    if q is None:
        return "float"
    granularity = "@channel" if q.channel and q.role == "weight" else ""
    return f"{q.card.name}:{q.bits}{granularity}" + (f" ste={q.ste}" if q.ste else "")


def _state(*quantizers: Quantizer | None) -> str:
    waiting = any(q is not None and not q.calibrated for q in quantizers)
    off = any(q is not None and not q.enabled for q in quantizers)
    soft = any(q is not None and q.relaxed for q in quantizers)
    notes = (("not calibrated", waiting), ("quantizer switched off", off), ("float while it trains", soft))
    return "; ".join(words for words, on in notes if on)


def _layer(name: str, layer: WeightLayer) -> dict[str, Any]:
    wq, xq, oq, gq = layer.weight_quantizer, layer.input_quantizer, layer.output_quantizer, layer.gradient_quantizer
    count = layer.weight.numel()
    bits = wq.bits if wq is not None else 32
    shape = getattr(layer, "lowbit_output_shape", None)
    biases = layer.bias.numel() if layer.bias is not None else 0
    scales = layer.weight.shape[0] if wq is not None and wq.channel else 1
    note = _state(wq, xq, oq, gq)
    if not layer.exact:
        note = "; ".join(filter(None, [note, "inexact: a float operand"]))
    elif bits > 8 or (xq is not None and xq.bits > 8):
        note = "; ".join(filter(None, [note, "more than 8 bits: trains, does not convert"]))
    return {
        "layer": name, "kind": type(layer).__name__, "weight": _method(wq), "activation": _method(xq),
        "output": _method(oq) if oq is not None else None, "gradient": _method(gq) if gq is not None else None,
        "W": bits, "A": xq.bits if xq is not None else 32, "G": gq.bits if gq is not None else 32,
        "parameters": count + biases,
        "MACs": None if shape is None else layer.fan_in * math.prod(shape),
        "bytes": (count * bits + 7) // 8 + 4 * biases + 4 * scales, "exact": layer.exact, "note": note or None,
    }  # fmt: skip
