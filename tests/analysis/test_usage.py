"""Ranges, clipping, dead levels and entropy of tensors that were made to have them."""

import pytest
import torch

import lowbit
from lowbit.analysis.usage import usage, usage_table
from tests.analysis.networks import gaussian, linear_chain


def test_uniform_data_uses_every_level_alike():
    q = lowbit.quantizer({"method": "uniform", "bits": 3, "step": 1.0}, role="activation")
    x = torch.arange(8.0).repeat(5)
    q.calibrate(x)
    found = usage(x, q)
    assert (found.bits, found.levels, found.dead, found.clipped) == (3, 8, 0, 0.0)
    assert found.entropy == pytest.approx(3.0)
    assert found.counts == [5] * 8 and found.values == list(range(8))
    assert found.used == 1.0


def test_dead_levels_and_clipping():
    q = lowbit.quantizer({"method": "uniform", "bits": 2, "step": 1.0}, role="activation")
    x = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.2, 9.0, 9.0, 9.0])
    q.calibrate(x)
    found = usage(x, q)
    assert found.counts == [2, 3, 0, 3] and found.dead == 1
    assert found.clipped == 3 / 8
    assert found.entropy == pytest.approx(-(2 / 8 * -2) - 2 * 3 / 8 * torch.log2(torch.tensor(3 / 8)).item())
    narrow = usage(torch.tensor([0.0, 1.5]), q)
    assert narrow.used == 0.5 and narrow.highest == 1.5


@pytest.mark.parametrize("method", ["twn", "bwn", "sign", "lq:2", "minmax:3", "ttq", "laq:2", "abc:2", "sawb:2"])
@pytest.mark.parametrize("channel", [False, True])
def test_every_kind_of_grid(method, channel):
    try:
        q = lowbit.quantizer(f"{method}@channel" if channel else method, role="weight")
    except ValueError:
        pytest.skip(f"{method} has no scale for each channel")
    w = gaussian(4, 50)
    q.calibrate(w)
    found = usage(w, q)
    assert sum(found.counts) == w.numel() and len(found.counts) == len(found.values) == found.levels
    assert found.values == sorted(found.values)
    assert 0 < found.entropy <= found.bits + 1e-9
    # the histogram is of the values that the network multiplies
    values, counts = q.eval()(w).unique(return_counts=True)
    assert len(values) <= found.levels * len(w) and counts.sum() > 0


def test_table_has_weights_and_inputs():
    rows = usage_table(linear_chain("l2:3", "lsq:4"), gaussian()).rows
    assert [(row["layer"], row["role"]) for row in rows][:3] == [
        ("0", "weight"), ("0", "activation"), ("1", "weight"),
    ]  # fmt: skip
    assert sum(rows[0]["counts"]) == 64 * 64 and rows[0]["levels"] == 7 and rows[0]["dead"] == 0
