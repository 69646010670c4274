"""Two threads beside one, interleaved: ResNet-18 at batch 1 and 16, ResNet-20 at batch 1 and 32.

    python benchmarks/threads.py [--seconds 2] [--json FILE] [part of a row's name ...]

Times are those of the clock on the wall, so other work on the machine counts: a row is marked `noisy` where the
quartiles of a time are more than 15 % apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import low_bit, network

from lowbit.atomic import write_text
from lowbit.bench.rounds import NOISY, interleave
from lowbit.provenance import provenance
from lowbit.runtime.engine import Engine

MUST = 1.8
CASES = (
    ("resnet18 W1A1", 1, MUST),
    ("resnet18 W1A1", 16, None),
    ("resnet18 W2A2", 1, MUST),
    ("resnet20 W1A1", 1, None),
    ("resnet20 W1A1", 32, MUST),
    ("resnet20 W2A2", 1, None),
    ("resnet20 W2A2", 32, MUST),
)


def measure(name: str, batch: int, must: float | None, seconds: float) -> dict[str, Any]:
    """One row."""
    model, shape = network(name)
    x = torch.rand(max(4, batch), *shape)
    program = low_bit(name, model, x)
    data = np.ascontiguousarray(x[:batch].numpy())
    one, two = Engine(program, threads=1), Engine(program, threads=2)
    timings = interleave({"1": lambda: one.run(data), "2": lambda: two.run(data)}, seconds)
    speedup = statistics.median(a / b for a, b in zip(timings["1"].samples, timings["2"].samples, strict=True))
    return {
        "network": name,
        "batch": batch,
        "us": {threads: 1e6 * timing.seconds for threads, timing in timings.items()},
        "speedup": speedup,
        "must": must,
        "met": None if must is None else speedup >= must,
        "noisy": any(timing.spread > NOISY for timing in timings.values()),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, batch, must in CASES:
        if not all(part in f"{name} {batch}" for part in options.names):
            continue
        found = measure(name, batch, must, options.seconds)
        rows.append(found)
        times = " -> ".join(f"{us:.0f}" for us in found["us"].values())
        noise = " noisy" if found["noisy"] else ""
        print(f"{batch:>3} x {name:<24}{found['speedup']:6.2f}   must {must}   {times} us{noise}", flush=True)
    if options.json:
        result = {"rows": rows, **provenance(seed=0)}
        write_text(Path(options.json), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
