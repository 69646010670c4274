"""Gradients of few bits: shares in closed form, more bits lose less, and nothing is left behind."""

import copy
import itertools

import pytest
import torch

import lowbit
from lowbit.analysis.gradients import WIDTHS, below_half_a_step, gradient_table
from lowbit.analysis.samples import Samples
from tests.analysis.networks import blobs, trained


def net(gradient=None):
    prepared = lowbit.prepare(trained(), "lsq:8", "lsq:8", gradient=gradient, first="same", last="same")
    return lowbit.calibrate(prepared, [blobs()[0]])


def test_shares_of_even_gradients():
    g = torch.arange(-1500, 1501).double()[None] / 1500
    for bits in (1, 2, 4, 8):
        assert below_half_a_step(g, bits) == pytest.approx(1 / (2**bits - 1), abs=2e-3)
    samples = torch.tensor([[1.0, 0.2], [100.0, 50.0]])  # each has a step of its own: 2/3 and 200/3
    assert below_half_a_step(samples, 2) == 0.25


def test_claim_fewer_bits_lose_more_of_the_update():
    x, y = blobs(256)
    model = net()
    table = gradient_table(model, Samples(x, y))
    assert [row["gradient"] for row in table.rows[: len(WIDTHS)]] == [f"dorefa:{bits}" for bits in WIDTHS]
    for layer in ("0", "2", "4"):
        rows = [row for row in table.rows if row["layer"] == layer]
        assert all(a["sqnr"] < b["sqnr"] for a, b in itertools.pairwise(rows))
        assert all(a["below"] >= b["below"] for a, b in itertools.pairwise(rows))
        assert rows[-1]["cosine"] > 0.999


def test_own_gradients_have_rows_and_nothing_changes():
    x, y = blobs(64)
    model = net("dorefa:8").train()
    kept, quantizers = copy.deepcopy(model.state_dict()), [layer.gradient_quantizer for layer in (model[0], model[2])]
    numbers = torch.random.get_rng_state()
    table = gradient_table(model, Samples(x, y), widths=(8,))
    own, same = table.rows[0], table.rows[1]
    assert (own["gradient"], same["gradient"]) == ("own", "dorefa:8")
    assert own["below"] is None and own["sqnr"] == same["sqnr"]  # the same method and the same random numbers
    assert [layer.gradient_quantizer for layer in (model[0], model[2])] == quantizers
    assert "gradient_quantizer" not in model[0].__dict__ and model.training
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert all(torch.equal(value, kept[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_frozen_weights_have_no_rows_and_labels_may_be_missing():
    x, _ = blobs(64)
    model = net()
    model[2].weight.requires_grad_(False)
    table = gradient_table(model, Samples(x, None), widths=(4,))
    assert [row["layer"] for row in table.rows] == ["0", "4"]
