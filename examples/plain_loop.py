"""Low-bit training in a loop of one's own: sixteen lines between a float network and a packed file.

Run: python examples/plain_loop.py [FILE.lowbit] [EPOCHS]
"""

import sys

import torch

import lowbit
from lowbit.data import Batches, load
from lowbit.models import build
from lowbit.procedures import Procedure, Run
from lowbit.training.evaluate import evaluate
from lowbit.training.optimizers import make_optimizer


def main(path: str = "net.lowbit", epochs: int = 10) -> float:
    torch.manual_seed(0)
    data = load("digits")
    batches = Batches(data.train_x, data.train_y, size=64)
    # -- the loop ------------------------------------------------------------------------------------------------
    model = lowbit.prepare(build("digits_net"), weight="lsq:2", activation="lsq:2", example=data.train_x[:1])
    lowbit.calibrate(model, data.train_x[:256].split(64))
    optimizer = make_optimizer(model, "adam", lr=2e-3)
    procedure = Procedure()
    run = Run(model=model, optimizer=optimizer, steps_total=epochs * len(batches))
    procedure.start(run)
    for run.epoch in range(epochs):
        procedure.epoch_start(run)
        for x, y in batches.epoch(run.epoch):
            optimizer.zero_grad()
            procedure.loss(run, (x, y), model(x)).backward()
            procedure.after_backward(run)
            optimizer.step()
            run.step += 1
            procedure.after_step(run)
        procedure.epoch_end(run)
    # ------------------------------------------------------------------------------------------------------------
    lowbit.convert(model, data.test_x[:8]).save(path)
    accuracy = evaluate(model, data.test_x, data.test_y).accuracy
    print(f"{path}: {accuracy:.2f} % of {len(data.test_x)} test images")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
