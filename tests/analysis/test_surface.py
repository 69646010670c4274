"""The loss surface: figures of made surfaces, a quadratic in closed form, and the claim that few bits are rough."""

import copy

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis.samples import Samples
from lowbit.analysis.surface import directions, loss_surface, minima, roughness, shifted
from tests.analysis.networks import blobs, trained

AXIS = torch.linspace(-1, 1, 11, dtype=torch.float64)


def test_figures_of_a_bowl_a_plane_and_waves():
    bowl = AXIS[:, None] ** 2 + AXIS**2
    assert roughness(bowl) == pytest.approx(4 * 0.2**2 / 2)
    assert minima(bowl) == 1
    assert roughness(AXIS[:, None] + 2 * AXIS) == pytest.approx(0) and minima(AXIS[:, None] + 2 * AXIS) == 0
    assert roughness(torch.ones(5, 5)) == 0 and minima(torch.ones(5, 5)) == 0
    waves = bowl + 0.5 * (torch.cos(10 * AXIS[:, None]) + torch.cos(10 * AXIS))
    assert roughness(waves) > 5 * roughness(bowl) and minima(waves) > 1


def test_weights_move_along_the_directions_and_come_back():
    net = lowbit.prepare(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), None, None, None, None)
    first, second = directions(net, seed=3)
    kept = copy.deepcopy(net.state_dict())
    assert set(first) == {"0", "2"} and not torch.equal(first["2"], second["2"])
    with shifted(net, [first, second], 0.5, -1.0):
        torch.testing.assert_close(net[0].weight.data, kept["0.weight"] + 0.5 * first["0"] - second["0"])
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


def test_claim_the_low_bit_surface_is_rougher_and_the_middle_is_the_network():
    x, y = blobs(128)
    net = lowbit.prepare(trained(), "l2:2", "uniform:2", first="same", last="same")
    lowbit.calibrate(net, [x])
    table = loss_surface(net, Samples(x, y), points=9)
    rows = {row["network"]: row for row in table.rows}
    assert set(rows) == {"float", "low-bit"}
    assert rows["low-bit"]["roughness"] > 1.5 * rows["float"]["roughness"]
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(net.eval()(x).double(), y))
    assert rows["low-bit"]["losses"][4][4] == pytest.approx(loss)
    assert rows["float"]["axis"][4] == 0 and len(rows["float"]["losses"]) == 9


def test_a_mixture_has_a_surface_of_its_own():
    x, _ = blobs(32)
    net = lowbit.prepare(trained(), {"method": "mixture", "parts": ["minmax:2", "float"], "bits": 2}, None,
                         first="same", last="same", example=x)  # fmt: skip
    table = loss_surface(net, Samples(x, None), points=3)
    assert [row["network"] for row in table.rows] == ["float", "low-bit", "mixture"]
    assert len({str(row["losses"]) for row in table.rows}) == 3


def test_a_mixture_that_has_ended_is_taken_as_it_began():
    x, _ = blobs(32)
    weight = {"method": "mixture", "parts": ["minmax:2", "minmax:8"], "bits": 2, "learned": True}
    net = lowbit.prepare(trained(), weight, None, first="same", last="same", example=x)
    begun = loss_surface(net, Samples(x, None), points=3).rows[2]
    mixtures = [m for m in net.modules() if hasattr(m, "choose")]
    for mixture in mixtures:
        mixture.choose(0)
    kept = copy.deepcopy(net.state_dict())
    ended = loss_surface(net, Samples(x, None), points=3)
    assert ended.rows[2]["losses"] == begun["losses"] != ended.rows[1]["losses"]
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())
    assert [m.chosen for m in mixtures] == [0, 0, 0]
