"""`lowbit.summary`: what each layer of a prepared model does, and what was left alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lowbit.errors import InvalidInput
from lowbit.layers import Add, Concat, WeightLayer
from lowbit.quantizers.base import Quantizer
from lowbit.table import Table

COLUMNS = (
    "layer", "kind", "weight", "activation", "output", "gradient", "W", "A", "G", "parameters", "MACs", "bytes",
    "exact", "note",
)  # fmt: skip
OPTIONAL = ("output", "gradient", "G")
"""Columns that are only shown where a layer has something in them."""
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Counted with nothing, as their numbers become thresholds or stay beside the weights."""


def summary(model: nn.Module) -> Table:
    """One row for each module with parameters of its own but BatchNorm, and each addition and concatenation.

    W, A and G are bits of weight, activation and gradient as they are now, where widths are trained too (32 where a
    layer is float), bytes what the packed weights and bias take in a file, MACs those of one image (known once
    `calibrate` or an `example` has run). Notes name everything that is no plain integer layer.

    Args:
        model: a prepared model; of any other every layer is float.

    Returns:
        A `Table`: ``str()`` for people, ``.to_dict()`` for programs.

    Raises:
        InvalidInput: for what is no model.

    Example:
        >>> import lowbit, torch
        >>> net = lowbit.prepare(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)), last=None)
        >>> [row["exact"] for row in lowbit.summary(net).to_dict()["rows"]]
        [True, False]
    """
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"summary got {model!r}, allowed is a model, an nn.Module")
    rows, notes = [], []
    for name, module in _outside_quantizers(model):
        if isinstance(module, WeightLayer):
            rows.append(_layer(name, module))
        elif isinstance(module, (Add, Concat)):
            q = module.input_quantizer
            rows.append({
                "layer": name, "kind": type(module).__name__, "activation": _method(q), "A": _width(q),
                "exact": True, "note": _state(q) if q else "float32 stream",
            })  # fmt: skip
        elif not isinstance(module, _NORMS) and (own := list(module.parameters(recurse=False))):
            rows.append(_float(name, module, own))
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


def _outside_quantizers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if isinstance(module, Quantizer):
            inside.update(module.modules())
        elif module not in inside:
            yield name, module


def _float(name: str, module: nn.Module, own: list[nn.Parameter]) -> dict[str, Any]:
    """The row of a module that `prepare` left as it is."""
    count = None if any(is_lazy(p) for p in own) else sum(p.numel() for p in own)
    if type(module) in (nn.Conv2d, nn.Linear):
        why = "call lowbit.prepare first"
    elif isinstance(module, (nn.Conv2d, nn.Linear)):
        why = f"only plain {'Conv2d' if isinstance(module, nn.Conv2d) else 'Linear'} is, no subclass of it"
    else:
        why = "no such layer in lowbit"
    return {
        "layer": name or "(model)", "kind": type(module).__name__, "W": 32, "A": 32, "parameters": count,
        "bytes": None if count is None else 4 * count, "exact": False, "note": f"not quantized: {why}",
    }  # fmt: skip


def _method(q: Quantizer | None) -> str:
    """As asked for; a learned width may have become another (see `_width`)."""
    return "float" if q is None else q.identity + (f" ste={q.ste}" if q.ste else "")


def _width(q: Quantizer | None, x: Tensor | None = None) -> int:
    """Bits of the codes in eval; x is the weight."""
    if q is None:
        return 32
    if not q.calibrated or q.role == "gradient":
        return q.bits
    try:
        with torch.no_grad():
            return q.grid(x).bits
    except ValueError:  # a weight or state that is not finite has no grid
        return q.bits


def _state(*quantizers: Quantizer | None) -> str:
    waiting = any(q is not None and not q.calibrated for q in quantizers)
    off = any(q is not None and not q.enabled for q in quantizers)
    soft = any(q is not None and q.relaxed for q in quantizers)
    notes = (("not calibrated", waiting), ("quantizer switched off", off), ("float while it trains", soft))
    return "; ".join(words for words, on in notes if on)


def _layer(name: str, layer: WeightLayer) -> dict[str, Any]:
    wq, xq, oq, gq = layer.weight_quantizer, layer.input_quantizer, layer.output_quantizer, layer.gradient_quantizer
    count = layer.weight.numel()
    bits, a_bits = _width(wq, layer.weight.detach()), _width(xq)
    shape = getattr(layer, "lowbit_output_shape", None)
    biases = layer.bias.numel() if layer.bias is not None else 0
    scales = layer.weight.shape[0] if wq is not None and wq.channel else 1
    note = _state(wq, xq, oq, gq)
    if not layer.exact:
        note = "; ".join(filter(None, [note, "inexact: a float operand"]))
    elif max(bits, a_bits) > 8:
        note = "; ".join(filter(None, [note, "more than 8 bits: trains, does not convert"]))
    return {
        "layer": name, "kind": type(layer).__name__, "weight": _method(wq), "activation": _method(xq),
        "output": _method(oq) if oq is not None else None, "gradient": _method(gq) if gq is not None else None,
        "W": bits, "A": a_bits, "G": _width(gq),
        "parameters": count + biases,
        "MACs": None if shape is None else layer.fan_in * math.prod(shape),
        "bytes": (count * bits + 7) // 8 + 4 * biases + 4 * scales, "exact": layer.exact, "note": note or None,
    }  # fmt: skip
