"""Time of one training step, quantized against float, one thread, interleaved.

    python benchmarks/training_step.py [--net resnet20|mlp] [--rounds 21] [--json FILE] [method ...]

Each round runs one float step and one step of every variant; a variant's figure is the median over rounds of its time
divided by the float step of the same round. Brevitas and torch.ao join where they are installed.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

import lowbit
from lowbit import models
from lowbit.provenance import provenance

VARIANTS = {
    "lsq W4A4": {"weight": "lsq:4", "activation": "lsq:4"},
    "lsq W2A2": {"weight": "lsq:2", "activation": "lsq:2"},
    "sign W1A1": {"weight": "sign", "activation": "sign"},
    "bwn W1A1": {"weight": "bwn", "activation": "sign"},
    "minmax W4A4": {"weight": "minmax:4", "activation": "minmax:4"},
    "affine W8A8": {"weight": "affine:8", "activation": "affine:8"},
    "pact+sawb W4A4": {"weight": "sawb:4", "activation": "pact:4"},
    "twn+pact W2A2": {"weight": "twn", "activation": "pact:2"},
    "dorefa W2A2": {"weight": "dorefa:2", "activation": "dorefa:2"},
    "lsq+hwgq W2A2": {"weight": "lsq:2", "activation": "hwgq:2"},
    "lsq W2 weights only": {"weight": "lsq:2", "activation": None, "first": None, "last": None},
}
BATCH = 128


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """The float network and one input batch."""
    torch.manual_seed(0)
    if name == "resnet20":
        return models.build("resnet20"), torch.randn(BATCH, 3, 32, 32)
    layers: list[nn.Module] = []
    for i, o in ((784, 1024), (1024, 1024)):
        layers += [nn.Linear(i, o, bias=False), nn.BatchNorm1d(o), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(1024, 10)), torch.randn(BATCH, 784)


def stepper(model: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    """One SGD step; returns its seconds."""
    y = torch.randint(10, (len(x),), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.train()

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def brevitas(name: str, bits: int) -> nn.Module | None:
    """The network with Brevitas' layer classes and defaults, or None where it is not installed."""
    try:
        import brevitas.nn as qnn
        from brevitas.quant import Int8WeightPerTensorFloat
    except ImportError:
        return None
    model, _ = network(name)
    for parent in list(model.modules()):
        for key, child in list(parent.named_children()):
            common = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": bits}
            if type(child) is nn.Conv2d:
                new = qnn.QuantConv2d(child.in_channels, child.out_channels, child.kernel_size, child.stride,
                                      child.padding, bias=False, **common)  # fmt: skip
            elif type(child) is nn.Linear:
                new = qnn.QuantLinear(child.in_features, child.out_features, child.bias is not None, **common)
            elif type(child) is nn.ReLU:
                new = qnn.QuantReLU(bit_width=bits)
            else:
                continue
            setattr(parent, key, new)
    return model


def main() -> None:
    """Run and print; ratios first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=("resnet20", "mlp"), default="resnet20")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json")
    parser.add_argument("variants", nargs="*", help="parts of the names to run; all without")
    options = parser.parse_args()
    torch.set_num_threads(1)
    base, x = network(options.net)
    known = {m["name"] for m in lowbit.methods()}
    steps = {"float": stepper(copy.deepcopy(base), x), "float again": stepper(copy.deepcopy(base), x)}
    for name, methods in VARIANTS.items():
        used = {str(m).split(":")[0] for m in methods.values() if m}
        if not used <= known or (options.variants and not any(v in name for v in options.variants)):
            continue
        steps[name] = stepper(lowbit.prepare(copy.deepcopy(base), example=x, **methods), x)
    peer = brevitas(options.net, 4)
    if peer is None:
        print("Brevitas is not installed here: pip install brevitas to compare")
    else:
        steps["Brevitas W4A4 (first 300 steps)"] = stepper(peer, x)
    for step in steps.values():
        step(), step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            times[name].append(step())
    rows = {}
    for name, seconds in times.items():
        ratios = sorted(t / f for t, f in zip(seconds, times["float"], strict=True))
        quarter = len(ratios) // 4
        rows[name] = {"ratio": statistics.median(ratios), "quartiles": [ratios[quarter], ratios[-1 - quarter]],
                      "ms": 1e3 * statistics.median(seconds)}  # fmt: skip
        print(f"{rows[name]['ratio']:6.2f}x  [{ratios[quarter]:.2f}, {ratios[-1 - quarter]:.2f}]  "
              f"{rows[name]['ms']:8.1f} ms  {name}")  # fmt: skip
    if options.json:
        setting = {"net": options.net, "batch": BATCH, "rounds": options.rounds}
        record = {**setting, "rows": rows, **provenance(seed=0, threads=1)}
        with open(options.json, "w") as stream:
            json.dump(record, stream, indent=1)


if __name__ == "__main__":
    main()
