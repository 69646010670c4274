"""Distortion and noise: estimators on made differences, and Boo et al.'s claim on networks."""

import pytest
import torch

import lowbit
from lowbit.analysis.noise import OUTPUT, distortion_and_noise, noise_table
from tests.analysis.networks import blobs, trained


def test_the_estimators_are_unbiased():
    generator = torch.Generator().manual_seed(0)
    difference = 0.3 + 0.5 * torch.randn(16, 20000, generator=generator)
    distortion, noise = distortion_and_noise(difference, torch.full((16, 20000), 2.0))
    assert distortion == pytest.approx(0.09 / 4, rel=0.05)
    assert noise == pytest.approx(0.25 / 4, rel=0.02)


def test_no_signal_and_no_difference():
    assert distortion_and_noise(torch.ones(2, 3), torch.zeros(2, 3)) == (None, None)
    assert distortion_and_noise(torch.zeros(2, 3), torch.ones(2, 3)) == (0.0, 0.0)


def test_claim_weights_distort_and_activations_add_noise():
    x, _ = blobs(64)
    net = lowbit.prepare(trained(width=64, depth=4), "l2:3", "lsq:3", first="same", last="same")
    lowbit.calibrate(net, [x])
    rows = {row["quantized"]: row for row in noise_table(net, x).rows if row["layer"] == OUTPUT}
    share = {mode: row["noise"] / (row["noise"] + row["distortion"]) for mode, row in rows.items()}
    assert share["activations"] > 100 * share["weights"]


def test_gain_is_the_ratio_to_the_layer_before():
    x, _ = blobs(64)
    net = lowbit.calibrate(lowbit.prepare(trained(), "l2:3", None, first="same", last="same"), [x])
    rows = [row for row in noise_table(net, x, jitters=2).rows if row["quantized"] == "weights"]
    totals = [row["distortion"] + row["noise"] for row in rows]
    assert rows[0]["gain"] is None and [row["layer"] for row in rows] == ["0", "2", "4", OUTPUT]
    assert rows[1]["gain"] == pytest.approx(totals[1] / totals[0])
    assert rows[3]["gain"] == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_table():
    x, _ = blobs(16)
    net = lowbit.calibrate(lowbit.prepare(trained(), "l2:3", "lsq:3", first="same", last="same"), [x])
    assert noise_table(net, x, seed=3).to_dict() == noise_table(net, x, seed=3).to_dict()
