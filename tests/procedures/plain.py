"""A small convolutional network, made images, and a plain loop with every hook, for the tests of procedures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lowbit
from lowbit.data import Batches
from lowbit.procedures import Procedure, Run
from lowbit.training.memory_order import channels_last
from lowbit.training.optimizers import make_optimizer


def images(count: int = 64) -> tuple[Tensor, Tensor]:
    """Three classes of bright rows in noise: [count, 1, 6, 6] and labels [count]."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 3
    x = 0.5 * torch.randn(count, 1, 6, 6, generator=generator)
    x[torch.arange(count), 0, 2 * y] += 1
    return x, y


def batches_of(size: int = 16, rank: int = 0, world: int = 1) -> Batches:
    return Batches(*images(), size=size, rank=rank, world_size=world)


def float_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Flatten(), nn.Linear(96, 3),
    )  # fmt: skip


def started(procedure: Procedure, methods: dict[str, Any], seed: int = 0, rank: int = 0, world: int = 1) -> nn.Module:
    """The network with its quantizers, as `lowbit train` prepares it for a procedure."""
    model = float_net(seed)
    procedure.before_prepare(model)
    lowbit.prepare(model, **{"first": "same", "last": "same", **methods})
    return lowbit.calibrate(model, [images()[0][rank::world]])


def run_of(model: nn.Module, epochs: int = 4, batches: Batches | None = None, lr: float = 0.01, **optimizer) -> Run:
    batches = batches or batches_of()
    return Run(
        model=model,
        optimizer=make_optimizer(model, **{"name": "adam", "lr": lr, **optimizer}),
        steps_total=epochs * len(batches),
        batches=batches,
    )


def train(
    procedure: Procedure, run: Run, epochs: int = 4, *, stop: int | None = None, forward: Callable | None = None
) -> list[dict[str, float]]:
    """From run.epoch to the end, or to the epoch `stop`; the figures of each epoch. `start` was called before."""
    figures = []
    run.model.train()
    for epoch in range(run.epoch, epochs if stop is None else stop):
        run.epoch = epoch
        run.batches.set_epoch(epoch)  # as Lightning's do
        procedure.epoch_start(run)
        for x, y in run.batches.epoch(run.epoch):
            run.optimizer.zero_grad()
            procedure.loss(run, (x, y), (forward or run.model)(x)).backward()
            procedure.after_backward(run)
            run.optimizer.step()
            run.step += 1
            procedure.after_step(run)
        procedure.epoch_end(run)
        figures.append(dict(run.figures))
        run.figures.clear()
    return figures


def resumed(make: Callable[[], Procedure], methods: dict[str, Any], stop: int = 2, **optimizer) -> nn.Module:
    """A network whose training stopped after `stop` epochs and went on with new objects."""
    first = make()
    run = run_of(started(first, methods), **optimizer)
    first.start(run)
    train(first, run, stop=stop)
    kept = (run.model.state_dict(), run.optimizer.state_dict(), first.state_dict())
    second = make()
    again = run_of(started(second, methods), **optimizer)
    again.model.load_state_dict(kept[0])
    again.optimizer.load_state_dict(kept[1])
    again.epoch, again.step = stop, run.step
    second.start(again)
    second.load_state_dict(kept[2])
    train(second, again)
    return again.model


def whole(
    make: Callable[[], Procedure], methods: dict[str, Any], epochs: int = 4, ordered: bool = False, **optimizer
) -> nn.Module:
    """The same network trained without interruption; `ordered`: in the order of memory that `fit` uses."""
    procedure = make()
    run = run_of(started(procedure, methods), epochs, **optimizer)
    with channels_last(run.model, wanted=ordered):
        procedure.start(run)
        train(procedure, run, epochs)
    return run.model


def same(a: nn.Module, b: nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def assert_converts(model: nn.Module, folder: Path) -> None:
    """The file's answers are the eval model's, bit for bit."""
    x = images()[0]
    lowbit.convert(model, x).save(folder / "net.lowbit")
    with torch.no_grad():
        expected = model.eval()(x).numpy()
    found = lowbit.runtime.load(folder / "net.lowbit").run(x.numpy())
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))
