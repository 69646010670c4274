"""The split of accuracy and agreement, on networks where one side alone was quantized."""

import pytest
import torch

import lowbit
from lowbit.analysis.samples import Samples
from lowbit.analysis.split import agreement, parts, split, split_by_layer
from tests.analysis.networks import blobs, trained


def low_bit(weight, activation, **more):
    x, y = blobs()
    net = lowbit.prepare(trained(), weight, activation, first="same", last="same", **more)
    return lowbit.calibrate(net, [x]), Samples(x, y)


@pytest.mark.parametrize(
    ("weight", "activation", "harmed"), [("sign", None, "weights"), (None, "lsq:1", "activations")]
)
def test_the_quantized_side_has_all_of_the_loss(weight, activation, harmed):
    if activation == "lsq:1":  # one bit has no room for negative inputs
        net, data = low_bit(None, activation, rules=[{"match": "0", "activation": None}])
    else:
        net, data = low_bit(weight, activation)
    rows = {row["quantized"]: row for row in split(net, data).rows}
    spared = {"weights": "activations", "activations": "weights"}[harmed]
    assert rows["nothing"]["accuracy"] > 80 and rows["nothing"]["agreement"] == 100
    assert rows[spared]["accuracy"] == rows["nothing"]["accuracy"] and rows[spared]["sqnr"] is None
    assert rows[harmed]["sqnr"] == rows["both"]["sqnr"]
    assert rows[harmed]["agreement"] < 100 and rows[harmed]["loss"] > rows["nothing"]["loss"]


def test_each_layer_alone():
    net, data = low_bit("l2:4", "lsq:8")
    rules = [{"match": "2", "weight": "l2:2"}]
    rule = lowbit.prepare(trained(), "l2:8", "lsq:8", first="same", last="same", rules=rules)
    lowbit.calibrate(rule, [data.x])
    rows = split_by_layer(rule, data).rows
    assert [(row["layer"], row["quantized"]) for row in rows] == parts(net)
    worst = min(rows, key=lambda row: row["sqnr"])
    assert (worst["layer"], worst["quantized"]) == ("2", "weights")


def test_without_labels_there_is_agreement_but_no_accuracy():
    net, data = low_bit("l2:4", "lsq:4")
    row = split(net, Samples(data.x, None)).rows[3]
    assert row["accuracy"] is None and row["loss"] is None and row["agreement"] > 90


def test_agreement():
    assert agreement(torch.eye(4), torch.eye(4)[[0, 1, 3, 2]]) == 50.0
