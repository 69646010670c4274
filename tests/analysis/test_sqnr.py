"""SQNR: closed forms, and prediction beside measurement where theory holds."""

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis.sqnr import sqnr, sqnr_table, together
from lowbit.analysis.switches import quantizing
from tests.analysis.networks import gaussian, linear_chain


def test_reciprocal_sum():
    assert together([20.0, 20.0]) == pytest.approx(16.9897, abs=1e-4)
    assert together([20.0] * 4) == pytest.approx(13.9794, abs=1e-4)
    assert together([20.0, None]) == pytest.approx(20.0)
    assert together([None, None]) is None


@pytest.mark.parametrize("bits", [5, 6])
def test_prediction_is_within_a_decibel_for_gaussian_linear_layers(bits):
    net = linear_chain(f"l2:{bits}", f"lsq:{bits}")
    table = sqnr_table(net, gaussian(seed=2))
    assert table.totals["predicted"] == pytest.approx(table.totals["measured"], abs=1)
    for row in table.rows:
        assert row["predicted"] == pytest.approx(row["measured"], abs=1)
        assert row["weights so far"] > row["predicted"] < row["activations so far"]


def test_a_layer_with_floats_has_no_noise_of_its_own():
    net = linear_chain("l2:4", None)
    rows = sqnr_table(net, gaussian()).rows
    assert all(row["activation"] is None and row["activations so far"] is None for row in rows)
    first = rows[0]
    assert first["predicted"] == pytest.approx(first["weight"])
    assert first["measured"] == pytest.approx(first["weight"], abs=0.3)


def test_a_tensor_that_two_layers_read_is_one_source():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            return self.a(x) + self.b(x)

    torch.manual_seed(0)
    net = lowbit.prepare(Fork(), None, "lsq:4", first="same", last="same")
    lowbit.calibrate(net, [gaussian(features=8)])
    rows = sqnr_table(net, gaussian(features=8)).rows
    assert rows[0]["activation"] == rows[1]["activation"]
    assert rows[1]["activations so far"] == pytest.approx(rows[0]["activation"])


def test_a_constant_layer_is_marked():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    lowbit.calibrate(lowbit.prepare(net, None, "lsq:4", first="same", last="same"), [gaussian(features=4)])
    table = sqnr_table(net, gaussian(features=4))
    assert table.rows[1]["measured"] is None
    assert table.notes == ["1: its float output is constant, so there is no signal to compare with"]
    assert "-" in str(table)


def test_switches_and_modes_are_put_back():
    net = linear_chain().train()
    quantizers = [q for layer in net for q in (layer.weight_quantizer, layer.input_quantizer)]
    with quantizing(net, weights=False, activations={"1"}):
        assert [q.enabled for q in quantizers] == [False, False, False, True, False, False]
    sqnr_table(net, gaussian())
    assert net.training and all(q.enabled for q in quantizers)


def test_sqnr_closed_forms():
    x = torch.tensor([3.0, 4.0])
    assert sqnr(x, x) is None
    assert sqnr(torch.zeros(2), x) is None
    assert sqnr(x, torch.tensor([3.0, 3.0])) == pytest.approx(10 * torch.log10(torch.tensor(25.0)).item())


def test_more_bits_have_less_error():
    torch.manual_seed(0)
    x = torch.randn(64, 8)
    found = {}
    for bits in (2, 4, 8):
        net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        net = lowbit.prepare(net, weight=f"affine:{bits}", activation=f"affine:{bits}", example=x)
        found[bits] = sqnr_table(net, x).rows[1]
        assert net.training
    for what in ("weight", "activation"):
        assert found[2][what] < found[4][what] < found[8][what]
        assert found[8][what] > 30


def test_what_a_folded_relu_cuts_off_is_no_error():
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2), nn.ReLU(), nn.Linear(2, 2))
    net = lowbit.prepare(net, weight="lsq:8", activation="lsq:8", example=x)
    assert sqnr_table(net, x).rows[1]["activation"] > 30
