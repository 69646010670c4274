"""Soft against hard: the gap closes with the temperature, and the network is left as it was."""

import copy
import itertools

import pytest
import torch

import lowbit
from lowbit.analysis.samples import Samples
from lowbit.analysis.softness import softness_table
from tests.analysis.networks import blobs, trained


@pytest.fixture
def net():
    return lowbit.calibrate(lowbit.prepare(trained(), "sigmoid:2", first="same", last="same"), [blobs()[0]])


def test_claim_the_gap_closes_as_the_temperature_rises(net):
    x, y = blobs()
    kept = copy.deepcopy(net.state_dict())
    table = softness_table(net, Samples(x, y))
    noise = [row["sqnr"] for row in table.rows]
    assert all(a < b for a, b in itertools.pairwise(noise))
    assert table.rows[-1]["agreement"] > 95 > table.rows[0]["agreement"]
    assert len({row["hard accuracy"] for row in table.rows}) == 1
    gaps = [abs(row["soft accuracy"] - row["hard accuracy"]) for row in table.rows]
    assert gaps[-1] < 1
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


def test_a_finished_network_is_softened_for_the_measurement_only(net):
    x, y = blobs()
    before = softness_table(net, Samples(x, y)).rows
    for module in net.modules():
        if hasattr(module, "harden"):
            module.harden()
    assert softness_table(net, Samples(x, y)).rows == before
    assert all(bool(m.ended) for m in net.modules() if hasattr(m, "ended"))


def test_without_labels_and_without_sigmoids(net):
    x, _ = blobs(32)
    assert softness_table(net, Samples(x, None), [5]).rows[0]["soft accuracy"] is None
    assert softness_table(lowbit.prepare(trained(), "minmax:2"), Samples(x, None)).rows == []
