"""Procedures in two gloo processes: equal on both ranks, and two ranks x 32 train as one process x 64."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import lowbit
from lowbit.procedures import Procedure, Run, combine, procedure

STEPS, BATCH, EPOCHS = 3, 64, 3
PARTS = {"method": "mixture", "bits": 2, "parts": ["minmax:2", "minmax:4", "minmax:8"]}
LEARNED = {**PARTS, "learned": True}
# name: weights, activations, with BatchNorm, whether it equals one process (statistics of halves are no statistics of
# the whole where BatchNorm, a largest value or k-means is averaged over ranks)
CASES: dict[str, tuple[Any, Any, bool, bool]] = {
    "binary-relax": (PARTS, PARTS, False, True),
    "dqa": (LEARNED, LEARNED, False, True),
    "quantization-networks of weights": ("sigmoid:2", "lsq:4", False, True),
    "quantization-networks": ("sigmoid:2", "sigmoid:2", False, False),
    "modifiers": ("lsq:4", "lsq:4", False, True),
    "bn-reestimate": ("lsq:4", "lsq:4", True, False),
}


def made(name: str) -> Procedure:
    if name == "modifiers":
        return combine(Procedure(), [procedure("lipschitz", strength=0.01), procedure("clr", cycles=1)])
    if name == "bn-reestimate":
        return combine(Procedure(), [procedure("bn-reestimate", batches=4)])
    return procedure(name.split(" ")[0])


def data() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(7)
    return [
        (torch.randn(BATCH, 6, generator=generator), torch.randint(0, 3, (BATCH,), generator=generator))
        for _ in range(STEPS)
    ]


def trained(name: str, rank: int, world: int) -> nn.Module:
    """SGD without momentum; rank r takes the rows r, r + world, ..."""
    weight, activation, norm, _ = CASES[name]
    torch.manual_seed(0)
    norms = [nn.BatchNorm1d(8)] if norm else []
    net = nn.Sequential(nn.Linear(6, 8), *norms, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    model = lowbit.prepare(net, weight=weight, activation=activation, first="same", last="same")
    batches = [(x[rank::world], y[rank::world]) for x, y in data()]
    lowbit.calibrate(model, batches)
    part = made(name)
    run = Run(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.05),
        steps_total=EPOCHS * STEPS,
        batches=batches,
    )
    forward: nn.Module = model
    if world > 1:
        forward = DistributedDataParallel(
            model, broadcast_buffers=False, find_unused_parameters=part.leaves_unused
        )  # fmt: skip
    part.start(run)
    for epoch in range(EPOCHS):
        run.epoch = epoch
        for x, y in batches:
            run.optimizer.zero_grad()
            part.loss(run, (x, y), forward(x)).backward()
            part.after_backward(run)
            run.optimizer.step()
            run.step += 1
            part.after_step(run)
        part.epoch_end(run)
    return model


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for number, name in enumerate(CASES):
            torch.save(trained(name, rank, 2).state_dict(), Path(folder) / f"{number}-{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
def test_ranks_end_equal(folder: Path, number: int) -> None:
    a, b = (torch.load(folder / f"{number}-{rank}.pt") for rank in (0, 1))
    assert a.keys() == b.keys()
    # of BatchNorm too: its statistics were averaged at the end
    assert all(torch.equal(value, b[key]) for key, value in a.items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [n for n, case in enumerate(CASES.values()) if case[3]])
def test_two_ranks_train_as_one_process(folder: Path, number: int) -> None:
    """Within 1e-5: gradients are averaged in another order."""
    alone = trained(list(CASES)[number], 0, 1).state_dict()
    pair = torch.load(folder / f"{number}-0.pt")
    for key, value in alone.items():
        torch.testing.assert_close(pair[key], value, rtol=0, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")


RINGS = """\
data: {name: rings, train: 256}
model: {name: fcdnn, width: 16, depth: 3}
weight: sigmoid:2
activation: sigmoid:2
first: same
last: same
procedure: quantization-networks
modifiers: [lipschitz]
optimizer: {name: sgd, lr: 0.05}
schedule: {warmup: 0}
epochs: 3
batch: 64
"""


@pytest.mark.slow
def test_lightning_lets_phases_leave_parameters_unused(tmp_path: Path) -> None:
    (tmp_path / "rings.yaml").write_text(RINGS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port, "-m", "lowbit", "train"]
    words = [str(tmp_path / "rings.yaml"), "--accelerator", "cpu", "--quiet", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launch, *words], check=True, env=environment)
    assert (tmp_path / "run" / "result.json").exists()
