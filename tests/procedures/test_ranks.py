"""Two gloo processes: after every procedure all ranks have the same parameters and quantizers."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from lowbit.procedures import procedure
from tests.procedures.cases import CASES
from tests.procedures.plain import batches_of, run_of, started, train


def worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    try:
        for name, (methods, settings) in CASES.items():
            made = procedure(name, **settings)
            model = started(made, methods, rank=rank, world=2)
            run = run_of(model, batches=batches_of(8, rank, 2))
            # as Lightning does: wrapped before the procedure starts
            wrapped = DistributedDataParallel(model, find_unused_parameters=made.leaves_unused, broadcast_buffers=False)
            made.start(run)
            train(made, run, forward=wrapped)
            torch.save(model.state_dict(), Path(folder) / f"{name}-{rank}.pt")
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
    sys.path.insert(0, str(Path(__file__).parents[2]))
    try:
        mp.spawn(worker, (port, str(path)), nprocs=2)
    finally:
        sys.path.pop(0)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_ranks_agree(folder, name):
    """But for the running statistics of BatchNorm, which are each rank's own."""
    a, b = (torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1))
    assert a.keys() == b.keys()
    differ = {key.split(".")[-1] for key in a if not torch.equal(a[key], b[key])}
    assert differ == {"running_mean", "running_var"}
