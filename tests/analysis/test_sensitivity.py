"""One tensor at one width: errors fall with bits, and the made weak spot is found."""

import copy

import torch

import lowbit
from lowbit.analysis.samples import samples
from lowbit.analysis.sensitivity import sensitivity
from tests.analysis.networks import blobs, trained


def test_errors_fall_with_bits_and_nothing_is_changed():
    x, y = blobs()
    net = lowbit.calibrate(lowbit.prepare(trained(), "l2:3", "lsq:3", first="same", last="same"), [x])
    kept, before = copy.deepcopy(net.state_dict()), [id(m) for m in net.modules()]
    ticks = []
    table = sensitivity(net, samples(net, [(x, y)]), widths=(2, 4, 8), tick=lambda: ticks.append(1))
    assert len(table.rows) == 3 * 2 * 3 == len(ticks)
    for low, middle, high in zip(table.rows[::3], table.rows[1::3], table.rows[2::3], strict=True):
        assert low["error"] > middle["error"] > high["error"] > 0
        assert high["agreement"] >= low["agreement"] and high["loss"] is not None
    assert before == [id(m) for m in net.modules()]
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


def test_a_layer_with_an_outlier_is_the_most_sensitive():
    x, _ = blobs()
    net = trained()
    with torch.no_grad():
        net[2].weight[3, 5] = 20 * net[2].weight.abs().max()
        net[0].weight[5] *= 1e-3
        net[0].bias[5] = 0
    net = lowbit.calibrate(lowbit.prepare(net, "minmax:4", None, first="same", last="same"), [x])
    rows = sensitivity(net, samples(net, [x]), widths=(4,)).rows
    assert max(rows, key=lambda row: row["error"])["layer"] == "2"


def test_methods_of_a_fixed_width_have_one_row():
    x, _ = blobs()
    net = lowbit.calibrate(lowbit.prepare(trained(), "bwn", None, first="same", last="same"), [x])
    assert [row["bits"] for row in sensitivity(net, samples(net, [x]), widths=(2, 4)).rows] == [1, 1, 1]
