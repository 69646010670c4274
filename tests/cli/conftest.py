"""Runs that several tests look at, trained once."""

import pytest

from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train

FLOAT = "data: {name: digits, train: 256}\nmodel: {name: digits_net, width: 8}\nepochs: 3\nbatch: 32\nseed: 1\n"
LOWBIT = FLOAT + "weight: lsq:2\nactivation: lsq:2\n"


@pytest.fixture(scope="session")
def float_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "float"
    train(parse_recipe(FLOAT), folder, progress=False, accelerator="cpu")
    return folder


@pytest.fixture(scope="session")
def low_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "low"
    train(parse_recipe(LOWBIT), folder, progress=False, accelerator="cpu")
    return folder


@pytest.fixture(scope="session")
def low_file(low_run, tmp_path_factory):
    from lowbit.cli.conversion import program_of
    from lowbit.training.runs import load_run

    path = tmp_path_factory.mktemp("files") / "net.lowbit"
    program_of(load_run(low_run)).save(path)
    return path
