"""What a program consists of: one row a layer, and totals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lowbit.infer import LAYERS, Value, infer
from lowbit.program import Op, Program
from lowbit.table import Table

COLUMNS = ("layer", "kind", "output", "W", "A", "weight grid", "parameters", "MACs", "bit ops", "bytes", "exact")


def layer_macs(op: Op, out: Value) -> int:
    """Multiply-adds of one image."""
    shape = op.weight.shape if op.weight is not None else op.arrays["weight"].shape
    return math.prod(shape[1:]) * out.size


def op_bytes(op: Op) -> int:
    """Bytes of an operation's tensors in the file."""
    arrays = sum(a.nbytes for a in op.arrays.values())
    scales = 0
    if op.weight is not None:
        arrays += op.weight.packed.nbytes
        scales = op.weight.grid.term_scales()[..., None].nbytes if op.weight.grid.channels else 0
    return arrays + scales


def peak_activation_bytes(program: Program, types: Mapping[str, Value]) -> int:
    """Largest sum of live values while the program runs, codes at their bits, accumulators and floats at 4 bytes."""
    last = {name: i for i, op in enumerate(program.ops) for name in op.inputs}
    last[program.output] = len(program.ops)
    live, peak = {"input": _bytes(types["input"])}, 0
    for i, op in enumerate(program.ops):
        live[op.output] = _bytes(types[op.output])
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last.get(name, -1) > i}
    return peak


def _bytes(value: Value) -> int:
    bits = value.grid.bits if value.kind == "codes" and value.grid is not None else 8 if value.kind == "bytes" else 32
    return (value.size * bits + 7) // 8


def summary(program: Program) -> Table:
    """One row a layer with bits, grids, parameters, MACs, bit operations (MACs x bits x bits) and bytes.

    Returns:
        A `Table`; totals hold parameters, MACs, bit operations, bytes of all tensors, peak activation bytes, exact.
    """
    types = infer(program)
    rows: list[dict[str, Any]] = []
    for op in program.ops:
        if op.kind not in LAYERS:
            continue
        x, out = types[op.inputs[0]], types[op.output]
        bits = op.weight.grid.bits if op.weight is not None else 32
        a_bits = x.grid.bits if x.grid is not None else 32
        macs = layer_macs(op, out)
        parameters = math.prod(op.weight.shape) if op.weight is not None else op.arrays["weight"].size
        rows.append({
            "layer": op.name, "kind": op.kind, "output": "x".join(map(str, out.shape)), "W": bits, "A": a_bits,
            "weight grid": op.weight.grid.describe() if op.weight is not None else "float32",
            "activation grid": x.grid.describe() if x.grid is not None else "float32",
            "parameters": parameters, "MACs": macs, "bit ops": macs * bits * a_bits, "bytes": op_bytes(op),
            "exact": not op.kind.startswith("float_"),
        })  # fmt: skip
    totals = {
        "parameters": sum(r["parameters"] for r in rows),
        "MACs": sum(r["MACs"] for r in rows),
        "bit ops": sum(r["bit ops"] for r in rows),
        "bytes": sum(op_bytes(op) for op in program.ops),
        "peak activation bytes": peak_activation_bytes(program, types),
        "exact": program.exact,
    }
    return Table(COLUMNS, rows, totals=totals)
