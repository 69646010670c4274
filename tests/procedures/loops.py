"""A small network, its batches, and a plain loop, for the tests of procedures."""

import torch
from torch import nn

import lowbit
from lowbit.data import Batches
from lowbit.procedures import Run
from lowbit.training.optimizers import make_optimizer


def blobs(count=64):
    """Two classes of points that a small network separates: inputs [count, 6], labels [count]."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    return torch.randn(count, 6, generator=generator) + 1.5 * y[:, None], y


def batches_of(size=16):
    return Batches(*blobs(), size=size)


def prepared(weight=None, activation=None, norm=True, seed=0):
    """Three linear layers, quantized everywhere and calibrated."""
    torch.manual_seed(seed)
    norms = [nn.BatchNorm1d(8)] if norm else []
    net = nn.Sequential(nn.Linear(6, 8), *norms, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    if weight or activation:
        net = lowbit.prepare(net, weight=weight, activation=activation, first="same", last="same")
        lowbit.calibrate(net, [blobs()[0]])
    return net


def run_of(model, epochs=3, lr=0.01, batches=None):
    batches = batches or batches_of()
    return Run(
        model=model,
        optimizer=make_optimizer(model, "adam", lr=lr),
        steps_total=epochs * len(batches),
        batches=batches,
    )


def step(procedure, run, batch):
    """One step of the loop, as examples/plain_loop.py has it."""
    run.optimizer.zero_grad()
    procedure.loss(run, batch, run.model(batch[0])).backward()
    procedure.after_backward(run)
    run.optimizer.step()
    run.step += 1
    procedure.after_step(run)


def train(procedure, run, epochs=3, start=True, stop=None):
    """Train from run.epoch to the end, or to the epoch `stop`; gives the figures of each epoch."""
    figures = []
    if start:
        procedure.start(run)
    run.model.train()
    for epoch in range(run.epoch, epochs if stop is None else stop):
        run.epoch = epoch
        for batch in run.batches.epoch(run.epoch):
            step(procedure, run, batch)
        procedure.epoch_end(run)
        figures.append(dict(run.figures))
        run.figures.clear()
    return figures


def trained_twice(make, procedure, epochs=4, stop=2):
    """States of a training without interruption and of one that stops after `stop` epochs and goes on elsewhere.

    `make` builds the model, `procedure` a fresh procedure.
    """
    whole = run_of(make(), epochs)
    train(procedure(), whole, epochs)
    before = run_of(make(), epochs)
    first = procedure()
    train(first, before, epochs, stop=stop)
    kept = (before.model.state_dict(), before.optimizer.state_dict(), first.state_dict(), before.step)
    after = run_of(make(), epochs)
    after.model.load_state_dict(kept[0])
    after.optimizer.load_state_dict(kept[1])
    after.epoch, after.step = stop, kept[3]
    second = procedure()
    second.start(after)
    second.load_state_dict(kept[2])
    train(second, after, epochs, start=False)
    return whole.model.state_dict(), after.model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
