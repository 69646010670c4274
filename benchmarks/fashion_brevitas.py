"""Brevitas' defaults on the rows of `lowbit reproduce fashion-line`: same data, network, epochs and optimizer.

    python benchmarks/fashion_brevitas.py --rows w8a8,w4a4,w2a2,w1a1 --seeds 0,1,2 --json docs/results/brevitas.json

Brevitas is installed by hand (``pip install brevitas==0.13.4``); nothing here runs without it. Layers are replaced by
Brevitas' own with its default quantizers (Int8WeightPerTensorFloat and QuantReLU) and the width lowered; the first
convolution and the last linear layer have 8-bit weights, the image stays float. One bit takes
SignedBinaryWeightPerTensorConst and SignedBinaryActPerTensorConst in place of the ReLUs. A row and seed that the file
already holds is not trained again, and what another process adds to it meanwhile is kept.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn

from lowbit.atomic import write_text
from lowbit.data import Batches
from lowbit.procedures import procedure
from lowbit.provenance import provenance
from lowbit.reproduce import Plan as Table
from lowbit.reproduce import read_table
from lowbit.training.evaluate import evaluate
from lowbit.training.fit import Plan, fit
from lowbit.training.network import float_network, load_data

TABLE = "fashion-line"
BITS = {"w8a8": 8, "w4a4": 4, "w2a2": 2, "w1a1": 1}


def with_brevitas(model: nn.Module, bits: int) -> nn.Module:
    """The network with its convolutions, linear layers and ReLUs replaced by Brevitas', in place."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8WeightPerTensorFloat, SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst

    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    ends = {id(weighted[0]), id(weighted[-1])}
    for parent in list(model.modules()):
        for key, child in list(parent.named_children()):
            wide = {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": 8 if id(child) in ends else bits}
            low = {"weight_quant": SignedBinaryWeightPerTensorConst} if bits == 1 and id(child) not in ends else wide
            if type(child) is nn.Conv2d:
                new = qnn.QuantConv2d(child.in_channels, child.out_channels, child.kernel_size, child.stride,
                                      child.padding, bias=False, **low)  # fmt: skip
            elif type(child) is nn.Linear:
                new = qnn.QuantLinear(child.in_features, child.out_features, bias=True, **low)
            elif type(child) is nn.ReLU and bits == 1:
                new = qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
            elif type(child) is nn.ReLU:
                new = qnn.QuantReLU(bit_width=bits)
            else:
                continue
            if hasattr(child, "weight"):
                new.weight.data.copy_(child.weight.data)
            setattr(parent, key, new)
    return model


def train(row: str, seed: int) -> dict[str, object]:
    """Train one row with one seed; its last-epoch accuracy and curve, in percent."""
    plan = Table(name=TABLE, table=read_table(TABLE), budget="small", seeds=[seed], out=Path("runs"))
    recipe = plan.recipe(plan.row("float"), seed)
    data = load_data(recipe)
    model = with_brevitas(float_network(recipe, data), BITS[row])
    start = time.perf_counter()
    rows = fit(
        model,
        Batches(data.train_x, data.train_y, size=recipe.batch, seed=seed, augment=recipe.augmentation),
        Plan(epochs=recipe.epochs, optimizer=recipe.optimizer, schedule=recipe.schedule),
        procedure=procedure("plain"),
        evaluate=lambda: evaluate(model, data.test_x, data.test_y),
        title=f"Brevitas {row} s{seed}",
        accelerator="cpu",
    )
    curve = [log["test_accuracy"] for log in rows]
    return {"row": row, "seed": seed, "accuracy": curve[-1], "test_accuracy": curve,
            "seconds": round(time.perf_counter() - start, 1)}  # fmt: skip


def held(path: Path) -> list[dict[str, object]]:
    """The runs that a record holds; none where it does not exist."""
    runs: list[dict[str, object]] = json.loads(path.read_text())["runs"] if path.exists() else []
    return runs


def main() -> None:
    """Train what the file lacks; write it after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(BITS), help="of w8a8, w4a4, w2a2, w1a1")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, required=True, help="read and extended")
    options = parser.parse_args()
    import brevitas

    torch.set_num_threads(1)
    for row in options.rows.split(","):
        for seed in map(int, options.seeds.split(",")):
            if any(run["row"] == row and run["seed"] == seed for run in held(options.json)):
                continue
            run = train(row, seed)
            print(f"{row}, seed {seed}: {run['accuracy']:.2f} %", flush=True)
            run |= {"brevitas": brevitas.__version__, **provenance(seed=seed, threads=1)}
            options.json.parent.mkdir(parents=True, exist_ok=True)
            write_text(options.json, json.dumps({"runs": [*held(options.json), run]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
