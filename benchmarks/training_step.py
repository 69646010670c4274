"""Time of one training step, quantized against float, one thread, interleaved.

    python benchmarks/training_step.py [--net resnet20|mlp] [--rounds 21] [--all] [--json FILE] [part of a name ...]
    python benchmarks/training_step.py --memory [--net ..] [--json FILE]

Each round runs one float step and one step of every variant; a variant's figure is the median over rounds of its time
divided by the float step of the same round. Brevitas (``pip install brevitas``) and torch.ao join where they can run.
`--all` adds every method of the catalogue. `--no-native` takes the one-pass kernels away. `--memory` measures instead
the peak memory of a process that takes three steps, each variant in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import nn

import lowbit
from lowbit import models
from lowbit.provenance import provenance
from lowbit.training.memory_order import channels_last

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
LAST = ", channels last"
"""End of the name of a variant that is trained in the order of memory that `lowbit train` uses on a CPU."""
ORDERS = ExitStack()  # until all is measured


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
    """One SGD step; returns its CPU seconds: with one thread those of the clock, without what other processes took."""
    y = torch.randint(10, (len(x),), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.train()

    def step() -> float:
        start = time.process_time()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return time.process_time() - start

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


def torch_ao(name: str) -> nn.Module | None:
    """The network prepared for int8 by torch.ao's FX tools, or None where they are gone."""
    try:
        from torch.ao.quantization import get_default_qat_qconfig_mapping
        from torch.ao.quantization.quantize_fx import prepare_qat_fx
    except ImportError:
        return None
    model, x = network(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announces its own removal
        return prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping("x86"), (x,))


def catalogue() -> dict[str, dict[str, object]]:
    """Every method at two bits or its only width, in the roles that it has; lsq:2 in the other one."""
    found: dict[str, dict[str, object]] = {}
    for row in lowbit.methods():
        low, high = (int(b) for b in (row["bits"].split("-") * 2)[:2])
        method = f"{row['name']}:{min(max(low, 2), high)}@tensor"
        found[f"{row['name']} (catalogue)"] = {
            "weight": method if "W" in row["kind"] else "lsq:2",
            "activation": method if "A" in row["kind"] else "lsq:2",
        }
    return found


def build(net: str, variant: str) -> nn.Module | None:
    """A variant's network, ready to train, or None where its tool is absent."""
    if variant.endswith(LAST):
        model = build(net, variant.removesuffix(LAST))
        assert model is not None
        ORDERS.enter_context(channels_last(model))
        return model
    base, x = network(net)
    if variant.startswith("float"):
        return base
    if variant.startswith("Brevitas"):
        return brevitas(net, 4)
    if variant.startswith("torch.ao"):
        return torch_ao(net)
    methods = (VARIANTS | catalogue())[variant]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*its sign is always")  # of no importance to time
        return lowbit.prepare(base, example=x, **methods)  # type: ignore[arg-type]


PEERS = ("Brevitas W4A4", "torch.ao int8")


def chosen(options: argparse.Namespace) -> list[str]:
    """Names of the variants to run."""
    ordered = [name + LAST for name in ("float", "lsq W4A4", "lsq W2A2") if options.net != "mlp"]
    names = [*VARIANTS, *ordered, *PEERS, *(catalogue() if options.all else ())]
    return [n for n in names if not options.variants or any(v in n for v in options.variants)]


def measure(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Interleaved rounds; one row a variant."""
    x = network(options.net)[1]
    steps = {}
    for name in ("float", "float again", *chosen(options)):
        model = build(options.net, name)
        if model is None:
            print(f"{name}: not installed here, left out")
            continue
        steps[name] = stepper(model, x)
    warm = 320 if "Brevitas W4A4" in steps and options.steady else 2
    for name, step in steps.items():
        for _ in range(warm if name.startswith("Brevitas") else 2):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            times[name].append(step())
    rows: dict[str, dict[str, object]] = {}
    for name, seconds in times.items():
        ratios = sorted(t / f for t, f in zip(seconds, times["float"], strict=True))
        quarter = len(ratios) // 4
        rows[name] = {"ratio": statistics.median(ratios), "quartiles": [ratios[quarter], ratios[-1 - quarter]],
                      "ms": 1e3 * statistics.median(seconds)}  # fmt: skip
        print(f"{rows[name]['ratio']:6.2f}x  [{ratios[quarter]:.2f}, {ratios[-1 - quarter]:.2f}]  "
              f"{rows[name]['ms']:8.1f} ms  {name}")  # fmt: skip
    return rows


def memory(options: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Peak memory of a process for each variant, in MiB and as a ratio to float's."""
    rows: dict[str, dict[str, object]] = {}
    for name in ("float", *chosen(options)):
        call = [sys.executable, __file__, "--net", options.net, "--peak-of", name]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: left out ({(done.stderr.strip().splitlines() or ['not installed'])[-1]})")
            continue
        peak = float(done.stdout)
        rows[name] = {"peak_mib": peak, "ratio": peak / float(str(rows["float"]["peak_mib"])) if rows else 1.0}
        print(f"{rows[name]['ratio']:6.2f}x  {peak:8.0f} MiB  {name}")
    return rows


def peak_of(options: argparse.Namespace) -> int:
    """Take three steps of one variant and print this process's peak memory in MiB; 1 where it is not installed."""
    model = build(options.net, options.peak_of)
    if model is None:
        return 1
    step = stepper(model, network(options.net)[1])
    for _ in range(3):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return 0


def main() -> int:
    """Run and print; ratios first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=("resnet20", "mlp"), default="resnet20")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--no-native", action="store_true")
    parser.add_argument("--steady", action="store_true", help="first take Brevitas through its 300 steps of statistics")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--json")
    parser.add_argument("variants", nargs="*", help="parts of the names to run; all without")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.no_native:
        from lowbit.quantizers import fused

        fused._kernels = None  # type: ignore[assignment]
    if options.peak_of:
        return peak_of(options)
    with ORDERS:
        rows = memory(options) if options.memory else measure(options)
    if options.json:
        setting = {"net": options.net, "batch": BATCH, "rounds": options.rounds, "native": not options.no_native}
        record = {**setting, "rows": rows, **provenance(seed=0, threads=1)}
        with open(options.json, "w") as stream:
            json.dump(record, stream, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
