"""Whole networks beside other runtimes' float32 and int8 of the identical graph, interleaved, on one core.

    python benchmarks/networks.py [--isa NAME] [--threads 1] [--seconds 1] [--json FILE] [part of a row's name ...]

ResNet-18 on 224 x 224 images is torchvision's graph; with binary layers no convolution's input is rectified, since its
sign would always be +1. `bi-real` adds a shortcut to each convolution. ResNet-20 is the CIFAR network with projections.
Weights are random, which is all that speed needs. First and last layers have 8 bits. The float network that the others
execute, and onnxruntime quantizes to QDQ int8 (U8S8), is the one that was prepared. Ratios are medians over rounds of
the other's time divided by ours within the round.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import FLOAT32, HEADER, INT8, Call, compare, peer_calls, text
from torch import Tensor, nn

import lowbit
from lowbit import models
from lowbit.atomic import write_text
from lowbit.bench.rounds import interleave
from lowbit.program import Program
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine

OV_INT8 = "openvino int8"
# Must and aim, at batch 1.
TARGETS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "resnet18 W1A1": ({FLOAT32: 9, INT8: 3, OV_INT8: 2.4}, {FLOAT32: 13, INT8: 4.3}),
    "resnet18 bi-real W1A1": ({FLOAT32: 11, INT8: 3.6}, {FLOAT32: 14, INT8: 4.5}),
    "resnet18 W2A2": ({FLOAT32: 3.6, INT8: 1.15}, {FLOAT32: 5, INT8: 1.6}),
    "resnet20 W1A1": ({FLOAT32: 9, INT8: 4.6}, {FLOAT32: 12, INT8: 6}),
    "resnet20 W2A2": ({FLOAT32: 2.5, INT8: 1.3}, {FLOAT32: 4, INT8: 2}),
}


class Block(nn.Module):
    """Two 3x3 convolutions with one shortcut, or one each (Bi-Real)."""

    def __init__(self, inner: int, outer: int, stride: int, relu: bool, bi_real: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer)
        self.conv2, self.bn2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False), nn.BatchNorm2d(outer)
        self.act: nn.Module = nn.ReLU() if relu else nn.Identity()
        self.bi_real = bi_real
        self.down: nn.Module = nn.Identity()
        if stride > 1 or inner != outer:
            self.down = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        """[N, inner, H, W] -> [N, outer, H / stride, W / stride]."""
        if self.bi_real:
            y = self.act(self.bn1(self.conv1(x)) + self.down(x))
            return self.act(self.bn2(self.conv2(y)) + y)
        y = self.act(self.bn1(self.conv1(x)))
        return self.act(self.bn2(self.conv2(y)) + self.down(x))


class ResNet18(nn.Module):
    """torchvision's graph: 7x7 stem, max-pool, four stages of two blocks, mean, linear."""

    def __init__(self, relu: bool, bi_real: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
        self.blocks = nn.Sequential(*(Block(a, b, 1 if a == b else 2, relu, bi_real) for a, b in pairwise(widths)))
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 224, 224] -> [N, 1000]."""
        return self.fc(self.pool(self.blocks(self.stem(x))).flatten(1))


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The float network of a row, and the shape of its input."""
    torch.manual_seed(0)
    binary = name.endswith("W1A1")
    if name.startswith("resnet18"):
        return ResNet18(relu=not binary, bi_real="bi-real" in name), (3, 224, 224)
    return models.build("resnet20"), (3, 32, 32)


def low_bit(name: str, model: nn.Module, x: Tensor) -> Program:
    """The program of a row: all layers but the first and last at the row's bits."""
    binary = name.endswith("W1A1")
    methods = {"weight": "bwn", "activation": "sign"} if binary else {"weight": "lsq:2", "activation": "lsq:2"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signs of what is never negative: resnet20 keeps its ReLUs
        prepared = lowbit.prepare(copy.deepcopy(model), **methods)
    lowbit.calibrate(prepared, [x])
    prepared.train()
    with torch.no_grad():
        prepared(x)  # running statistics
    return lowbit.convert(prepared.eval(), x)


def measure(name: str, batch: int, threads: int, isa: str | None, seconds: float) -> dict[str, Any]:
    """One row."""
    model, shape = network(name)
    x = torch.rand(max(4, batch), *shape)
    model.train()
    with torch.no_grad():
        model(x)
    model.eval()
    engine = Engine(low_bit(name, model, x), threads=threads, isa=isa)
    data = np.ascontiguousarray(x[:batch].numpy())
    calls: dict[str, Call] = {"lowbit": lambda: engine.run(data)}
    with tempfile.TemporaryDirectory() as folder:
        calls |= peer_calls(model, x.numpy(), batch, threads, Path(folder))
        timings = interleave(calls, seconds, time.process_time if threads == 1 else time.perf_counter)
    targets = TARGETS[name] if batch == 1 and threads == 1 and isa is None else (None, None)
    steps = [
        {"name": s.name, "kernel": s.kernel, "us": s.ns / 1e3, "operations": s.ops}
        for s in engine.profile(data[:1], 31)
    ]
    named = {"network": name, "batch": batch, "threads": threads, "isa": isa or "best"}
    return named | compare(timings, "lowbit", *targets) | {"steps": steps}


def measure_all(names: list[str], threads: int, isa: str | None, seconds: float) -> Iterator[dict[str, Any]]:
    """Rows whose names hold every part given."""
    for name in TARGETS:
        for batch in (1, 32) if name.startswith("resnet20") else (1,):
            if all(part in f"{name} {batch}" for part in names):
                yield measure(name, batch, threads, isa, seconds)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--isa")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json")
    parser.add_argument("--steps", action="store_true", help="show the steps of each network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    rows = []
    print(HEADER)
    for found in measure_all(options.names, options.threads, options.isa, options.seconds):
        rows.append(found)
        print(text(found, f"{found['batch']} x {found['network']}"), flush=True)
        for step in found["steps"] if options.steps else ():
            print(f"    {step['us']:>9.1f} us  {step['name']:<28}{step['kernel']}")
    if options.json:
        result = {"rows": rows, **provenance(seed=0, threads=options.threads)}
        write_text(Path(options.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
