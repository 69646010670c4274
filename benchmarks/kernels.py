"""Single layers of low-bit networks beside onnxruntime's float32 and int8, interleaved, on one core.

    python benchmarks/kernels.py [--isa NAME] [--seconds 0.4] [--json FILE] [part of a row's name ...]

Float input to float output everywhere: quantizing, packing and the rescale are part of a row. onnxruntime's int8 is its
QDQ form, unsigned activations and signed weights a channel. Each round times every contender once, one after another;
a figure is the median over rounds of onnxruntime's time divided by ours within the round. Times are CPU times of this
process, which other processes on a shared machine disturb less than the clock on the wall. A row is marked `noisy`
where the quartiles of our own time, or of onnxruntime's, are more than 15 % apart.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lowbit.atomic import write_text
from lowbit.bench.file import add_others
from lowbit.bench.layers import Shape, layer_program
from lowbit.bench.rounds import NOISY, Timing, interleave
from lowbit.grid import Grid, Levels
from lowbit.program import Op, Program, Weight
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine

CONVS = tuple(Shape(channels, size) for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)))
MATRIX = Shape(4096, 0)
MODES = ("W1A1", "WtA1", "WtA2", "W2A2", "W4A4", "W2A8", "W8A8")
# Must and aim of issue 5: onnxruntime float32, int8. A matrix row has a target against int8 only.
TARGETS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "W1A1": ((15, 5), (19, 6)),
    "WtA1": ((13, 3.9), (17, 5)),
    "WtA2": ((7, 2.0), (10, 2.8)),
    "W2A2": ((4.8, 1.4), (6, 1.8)),
    "W4A4": ((2.6, 0.75), (3.5, 1.0)),
    "W8A8": ((2.8, 0.78), (3.4, 1.0)),
}
VECTOR_TARGETS = {"W1A1": (9, 12), "W2A2": (3, 5), "W2A8": (1.7, 3)}
BATCH_TARGETS = {"W1A1": (7, 8)}
SEED = 0


def mode_program(shape: Shape, mode: str) -> Program:
    """A layer with the grids of `mode`: weights of one bit, ternary (t) or more, and activations."""
    weight, activation = mode[1], int(mode[3])
    program = layer_program(shape, 2 if weight == "t" else int(weight), activation)
    if weight != "t":
        return program
    scale = np.full(shape.channels, 0.05, np.float32)
    grid: Grid = Levels(bits=2, scale=scale, table=(-1, 0, 1))
    ops = []
    for op in program.ops:
        if op.weight is not None:
            codes = np.random.default_rng(SEED).integers(*_codes(grid), op.weight.shape)
            op = Op(kind=op.kind, name=op.name, inputs=op.inputs, output=op.output, attrs=op.attrs,
                    weight=Weight.from_codes(codes, grid))  # fmt: skip
        ops.append(op)
    return Program(ops=tuple(ops), input_shape=program.input_shape, output=program.output)


def _codes(grid: Grid) -> tuple[int, int]:
    low, high = grid.code_range
    return low, high + 1


def measure(shape: Shape, modes: tuple[str, ...], batch: int, isa: str | None, seconds: float) -> list[dict[str, Any]]:
    """Rows of one shape: all modes and both onnxruntime forms take turns."""
    programs = {mode: mode_program(shape, mode) for mode in modes}
    inputs = np.random.default_rng(SEED).random((max(batch, 8), *programs[modes[0]].input_shape), dtype=np.float32)
    x = np.ascontiguousarray(inputs[:batch])
    calls: dict[str, Callable[[], object]] = {}
    kernels = {}
    for mode, program in programs.items():
        engine = Engine(program, isa=isa)
        kernels[mode] = engine.kernels()["out"]
        calls[mode] = lambda engine=engine: engine.run(x)  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        add_others(calls, {}, ("onnxruntime",), Path(folder), programs[modes[0]], None, inputs[:8], batch, 1)
    timings = interleave(calls, seconds, time.process_time)
    name = f"{batch} x {shape}" if batch > 1 else str(shape)
    return [row(name, mode, kernels[mode], shape.macs * batch, timings, mode) for mode in modes]


def row(name: str, mode: str, kernel: str, macs: int, timings: dict[str, Timing], key: str) -> dict[str, Any]:
    """One line of the table and of the file."""
    ours = timings[key]
    found: dict[str, Any] = {"layer": name, "bits": mode, "kernel": kernel, "us": 1e6 * ours.seconds}
    noisy = ours.spread > NOISY
    for form in ("float32", "int8"):
        other = timings[f"onnxruntime {form}"]
        found[form] = statistics.median(a / b for a, b in zip(other.samples, ours.samples, strict=True))
        found[f"{form}_best"] = min(other.samples) / min(ours.samples)
        found[f"{form}_us"] = 1e6 * other.seconds
        noisy |= other.spread > NOISY
    return found | {"gops": 2e-9 * macs / ours.seconds, "noisy": noisy, "rounds": ours.rounds}


def target(found: dict[str, Any]) -> str:
    """Must and aim of a row as text."""
    if found["layer"].startswith("conv"):
        pair = TARGETS.get(found["bits"])
        return "" if pair is None else f"{pair[0][0]:g} / {pair[0][1]:g}  ({pair[1][0]:g} / {pair[1][1]:g})"
    single = (VECTOR_TARGETS if found["layer"].startswith("linear") else BATCH_TARGETS).get(found["bits"])
    return "" if single is None else f"- / {single[0]:g}  (- / {single[1]:g})"


def text(found: dict[str, Any]) -> str:
    """A row for people, ratios first."""
    return (
        f"{found['layer']:<24}{found['bits']:<6}{found['float32']:>7.1f} /{found['int8']:>5.2f}   {target(found):<22}"
        f"{found['us']:>9.1f} us{found['gops']:>7.0f} GOP/s  {'noisy ' if found['noisy'] else ''}{found['kernel']}"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--isa")
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json")
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    cases = [(shape, MODES, 1) for shape in CONVS]
    cases += [(MATRIX, ("W1A1", "W2A2", "W4A4", "W2A8", "W8A8"), 1), (MATRIX, ("W1A1", "WtA1", "W2A2", "W8A8"), 32)]
    rows = []
    print(f"{'':<30}{'onnxruntime / lowbit':<17}  must (aim)\n{'':<30}{'float32 / int8':<17}")
    for shape, modes, batch in cases:
        chosen = tuple(m for m in modes if all(part in f"{batch} x {shape} {m}" for part in options.names))
        if not chosen:
            continue
        for found in measure(shape, chosen, batch, options.isa, options.seconds):
            rows.append(found)
            print(text(found), flush=True)
    if options.json:
        result = {"command": " ".join(sys.argv), "isa": options.isa or "best", "rows": rows, **provenance(threads=1)}
        write_text(Path(options.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
