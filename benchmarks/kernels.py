"""Single layers of low-bit networks beside the runtimes that are installed, interleaved, on one core.

    python benchmarks/kernels.py [--isa NAME] [--seconds 0.4] [--json FILE] [part of a row's name ...]

Float input to float output everywhere: quantizing, packing and the rescale are part of a row. Each round times every
contender once, one after another; a ratio is the median over rounds of the other's time divided by ours within the
round. Times are CPU times of this process, which other processes on a shared machine disturb less than the clock on
the wall. A row is marked `noisy` where the quartiles of a time are more than 15 % apart.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import FLOAT32, HEADER, INT8, Call, Limits, compare, peer_calls, text
from torch import nn

from lowbit.atomic import write_text
from lowbit.bench.layers import Shape, layer_program
from lowbit.bench.rounds import interleave
from lowbit.grid import Grid, Levels
from lowbit.program import Op, Program, Weight
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine

CONVS = tuple(Shape(channels, size) for channels, size in ((64, 56), (128, 28), (256, 14), (512, 7)))
MATRIX = Shape(4096, 0)
MODES = ("W1A1", "WtA1", "WtA2", "W2A2", "W4A4", "W2A8", "W8A8")
# Must and aim of one convolution, against onnxruntime's float32 and int8.
TARGETS = {
    "W1A1": ((15, 5), (19, 6)),
    "WtA1": ((13, 3.9), (17, 5)),
    "WtA2": ((7, 2.0), (10, 2.8)),
    "W2A2": ((4.8, 1.4), (6, 1.8)),
    "W4A4": ((2.6, 0.75), (3.5, 1.0)),
    "W8A8": ((2.8, 0.78), (3.4, 1.0)),
}
# Of a vector or a matrix times a matrix, against int8; of AVX2 alone, against float32 at its own best.
VECTOR_TARGETS = {"W1A1": (9, 12), "W2A2": (3, 5), "W2A8": (1.7, 3)}
BATCH_TARGETS = {"W1A1": (7, 8)}
AVX2_TARGETS = {"W1A1": (2, 2), "W4A4": (0.8, 0.8)}
CASES = (
    *((shape, MODES, 1) for shape in CONVS),
    (MATRIX, ("W1A1", "W2A2", "W4A4", "W2A8", "W8A8"), 1),
    (MATRIX, ("W1A1", "WtA1", "W2A2", "W8A8"), 32),
)
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


def limits(shape: Shape, mode: str, batch: int, isa: str | None) -> tuple[Limits | None, Limits | None]:
    """Must and aim of a row."""
    if isa not in (None, "avx2"):
        return None, None
    if shape.size and isa is None and mode in TARGETS:
        must, aim = TARGETS[mode]
        return {FLOAT32: must[0], INT8: must[1]}, {FLOAT32: aim[0], INT8: aim[1]}
    single = (AVX2_TARGETS if isa else {}) if shape.size else VECTOR_TARGETS if batch == 1 else BATCH_TARGETS
    if mode not in single or (isa and not shape.size):
        return None, None
    other = FLOAT32 if isa else INT8
    return {other: single[mode][0]}, {other: single[mode][1]}


def measure(shape: Shape, modes: tuple[str, ...], batch: int, isa: str | None, seconds: float) -> list[dict[str, Any]]:
    """Rows of one shape: all modes and all peers take turns."""
    torch.manual_seed(SEED)
    n = shape.channels
    model = nn.Conv2d(n, n, 3, padding=1, bias=False) if shape.size else nn.Linear(n, n, bias=False)
    programs = {mode: mode_program(shape, mode) for mode in modes}
    inputs = np.random.default_rng(SEED).random((max(batch, 8), *programs[modes[0]].input_shape), dtype=np.float32)
    x = np.ascontiguousarray(inputs[:batch])
    calls: dict[str, Call] = {}
    kernels = {}
    for mode, program in programs.items():
        engine = Engine(program, isa=isa)
        kernels[mode] = engine.kernels(batch)["out"]
        calls[mode] = lambda engine=engine: engine.run(x)  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        calls |= peer_calls(model, inputs, batch, 1, Path(folder))
        timings = interleave(calls, seconds, time.process_time)
    rows = []
    for mode in modes:
        gops = 2e-9 * shape.macs * batch / timings[mode].seconds
        named = {"layer": str(shape), "batch": batch, "bits": mode, "isa": isa or "best", "kernel": kernels[mode]}
        rows.append(named | {"gops": gops} | compare(timings, mode, *limits(shape, mode, batch, isa)))
    return rows


def measure_all(names: list[str], isa: str | None, seconds: float) -> Iterator[dict[str, Any]]:
    """Rows whose names hold every part given."""
    for shape, modes, batch in CASES:
        chosen = tuple(m for m in modes if all(part in f"{batch} x {shape} {m}" for part in names))
        if chosen:
            yield from measure(shape, chosen, batch, isa, seconds)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--isa")
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--json")
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    rows = []
    print(HEADER)
    for found in measure_all(options.names, options.isa, options.seconds):
        rows.append(found)
        title = f"{found['batch']} x {found['layer']} {found['bits']}"
        print(text(found, title), f"{found['gops']:6.0f} GOP/s {found['kernel']}", flush=True)
    if options.json:
        result = {"rows": rows, **provenance(seed=SEED, threads=1)}
        write_text(Path(options.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
