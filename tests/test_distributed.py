"""Two gloo processes: equal statistics on all ranks, and two ranks x 32 train as one process x 64."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import lowbit

STEPS, BATCH = 4, 64
METHODS: list[dict[str, Any]] = [
    {"weight": "lsq:4", "activation": "lsq:4"},
    {"weight": "minmax:4", "activation": "minmax:4", "add": "affine:8"},
    # the clip that fits one rank's rows best is not that of all rows: a fixed one
    {"weight": "sawb:3", "activation": {"method": "pact", "bits": 4, "init": 2.0}, "add": "minmax:6"},
]


class Net(nn.Module):
    """Without BatchNorm, whose statistics are each rank's own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        y = self.conv(y) + y
        return self.head(y.mean((2, 3)))


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(STEPS, BATCH, 1, 6, 6, generator=generator)
    return x, torch.randint(0, 3, (STEPS, BATCH), generator=generator)


def train(model: nn.Module, rank: int, world: int) -> None:
    """SGD without momentum; rank r takes the rows r, r + world, ..."""
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for x, target in zip(*data(), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(model(x[rank::world]), target[rank::world]).backward()
        optimizer.step()


def prepared(settings: dict[str, Any], rank: int, world: int) -> nn.Module:
    torch.manual_seed(0)
    model = lowbit.prepare(Net(), **settings)
    return lowbit.calibrate(model, [data()[0][0][rank::world]])


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for number, settings in enumerate(METHODS):
            model = prepared(settings, rank, 2)
            calibrated = {k: v.clone() for k, v in model.state_dict().items()}
            train(DistributedDataParallel(model, broadcast_buffers=False), rank, 2)
            torch.save((calibrated, model.state_dict()), Path(folder) / f"{number}-{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What two processes have trained."""
    path = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # spawned children find this file by its name
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        mp.spawn(worker, (port, str(path)), nprocs=2)
    finally:
        sys.path.pop(0)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(METHODS)))
def test_statistics_are_equal_on_all_ranks(folder, number):
    a, b = (torch.load(folder / f"{number}-{rank}.pt") for rank in (0, 1))
    for before, after in zip(a, b, strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(v, after[k]) for k, v in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(METHODS)))
def test_two_ranks_train_as_one_process(folder, number):
    """Within 1e-5: gradients are averaged in another order."""
    alone = prepared(METHODS[number], 0, 1)
    train(alone, 0, 1)
    _, trained = torch.load(folder / f"{number}-0.pt")
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(trained[key], value, rtol=0, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
