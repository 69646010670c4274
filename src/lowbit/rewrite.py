"""Rewrites of a program that keep every answer: quantize early, keep codes packed, drop what nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lowbit.infer import infer
from lowbit.program import Op, Program
from lowbit.thresholds import encodes, fold


def simplify(program: Program) -> Program:
    """Move quantizers in front of pools, joins and flattening, then fold chains into thresholds."""
    program = replace(program, ops=tuple(_sort(hoist(program.ops))))
    return replace(program, ops=tuple(fold(program.ops, infer(program))))


def hoist(ops: Sequence[Op]) -> list[Op]:
    """quantize(max_pool(x)) = max_pool(quantize(x)), and the same for concat and flatten.

    Exact because quantizing is monotone and works element by element. Done where the quantizer is the only reader.
    """
    current = list(ops)
    while True:
        writer = {op.output: op for op in current}
        readers: dict[str, int] = {}
        for op in current:
            for name in op.inputs:
                readers[name] = readers.get(name, 0) + 1
        for index, op in enumerate(current):
            before = writer.get(op.inputs[0])
            movable = before is not None and before.kind in ("max_pool", "concat", "flatten")
            if encodes(op) and movable and before is not None and readers[before.output] == 1:
                grid = op.grid
                if (
                    before.kind == "max_pool"
                    and grid is not None
                    and (grid.terms > 1 or (grid.term_scales() <= 0).any())
                ):
                    continue  # a program compares codes of one term only
                early = [replace(op, inputs=(name,), output=f"{op.output}.{i}") for i, name in enumerate(before.inputs)]
                late = replace(before, inputs=tuple(q.output for q in early), output=op.output)
                current[index : index + 1] = [*early, late]
                current.remove(before)
                break
        else:
            return current


def _sort(ops: Sequence[Op]) -> list[Op]:
    """Execution order: every value is written before it is read; otherwise the given order."""
    ready, waiting, done = {"input"}, list(ops), []
    while waiting:
        op = next(op for op in waiting if all(name in ready for name in op.inputs))
        waiting.remove(op)
        done.append(op)
        ready.add(op.output)
    return done
