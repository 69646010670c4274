"""Whole networks beside onnxruntime's float32 and int8 of the identical graph, interleaved, on one core.

    python benchmarks/networks.py [--isa NAME] [--threads 1] [--seconds 1] [--json FILE] [part of a row's name ...]

ResNet-18 on 224 x 224 images is torchvision's graph; with binary layers no convolution's input is rectified, since its
sign would always be +1. `bi-real` adds a shortcut to each convolution. ResNet-20 is the CIFAR network with projections.
Weights are random, which is all that speed needs. First and last layers have 8 bits. The float network that onnxruntime
executes, and quantizes to QDQ int8 (U8S8), is the one that was prepared. Figures are medians over rounds of
onnxruntime's time divided by ours within the round.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lowbit
from lowbit import models
from lowbit.atomic import write_text
from lowbit.bench.contenders import onnxruntime_call
from lowbit.bench.onnx_models import export_torch, quantize_int8
from lowbit.bench.rounds import NOISY, interleave
from lowbit.program import Program
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine

# Must and aim of issue 5: onnxruntime float32, int8.
TARGETS = {
    "resnet18 W1A1": ((9, 3), (13, 4.3)),
    "resnet18 bi-real W1A1": ((11, 3.6), (14, 4.5)),
    "resnet18 W2A2": ((3.6, 1.15), (5, 1.6)),
    "resnet20 W1A1": ((9, 4.6), (12, 6)),
    "resnet20 W2A2": ((2.5, 1.3), (4, 2)),
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
    calls: dict[str, Callable[[], object]] = {"lowbit": lambda: engine.run(data)}
    with tempfile.TemporaryDirectory() as folder:
        exact, int8 = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        export_torch(model, x[:1], exact)
        quantize_int8(exact, int8, x.numpy())
        for form, path in (("float32", exact), ("int8", int8)):
            calls[form] = onnxruntime_call(path, data, threads)
    timings = interleave(calls, seconds, time.process_time if threads == 1 else time.perf_counter)
    ours = timings["lowbit"]
    found: dict[str, Any] = {"network": name, "batch": batch, "threads": threads, "us": 1e6 * ours.seconds}
    for form in ("float32", "int8"):
        other = timings[form]
        found[form] = statistics.median(a / b for a, b in zip(other.samples, ours.samples, strict=True))
        found[f"{form}_best"] = min(other.samples) / min(ours.samples)
        found[f"{form}_us"] = 1e6 * other.seconds
    found["best_us"] = 1e6 * min(ours.samples)
    found["noisy"] = any(timing.spread > NOISY for timing in timings.values())
    found["steps"] = [
        {"name": s.name, "kernel": s.kernel, "us": s.ns / 1e3, "operations": s.ops} for s in engine.profile(data, 31)
    ]
    return found


def text(found: dict[str, Any]) -> str:
    """A row for people, ratios first."""
    pair = TARGETS.get(found["network"]) if found["batch"] == 1 else None
    target = "" if pair is None else f"{pair[0][0]:g} / {pair[0][1]:g}  ({pair[1][0]:g} / {pair[1][1]:g})"
    return (
        f"{found['network']:<24}{found['batch']:>4}{found['float32']:>8.1f} /{found['int8']:>5.2f}   {target:<22}"
        f"{found['us']:>10.1f} us  {'noisy' if found['noisy'] else ''}"
    )


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
    print(f"{'':<24}{'batch':>5}  onnxruntime / lowbit, float32 / int8   must (aim)")
    for name in TARGETS:
        for batch in (1, 32) if name.startswith("resnet20") else (1,):
            if not all(part in f"{name} {batch}" for part in options.names):
                continue
            found = measure(name, batch, options.threads, options.isa, options.seconds)
            rows.append(found)
            print(text(found), flush=True)
            for step in found["steps"] if options.steps else ():
                print(f"    {step['us']:>9.1f} us  {step['name']:<28}{step['kernel']}")
    if options.json:
        result = {"command": " ".join(sys.argv), "isa": options.isa or "best", "rows": rows}
        write_text(Path(options.json), json.dumps(result | provenance(threads=options.threads), indent=1) + "\n")


if __name__ == "__main__":
    main()
