"""Rules from a budget: kept, taken by prepare, and better than equal bits."""

import copy

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis.sensitivity import relative_error
from lowbit.errors import InvalidInput, UnknownName
from tests.analysis.networks import blobs, trained


def network(seed=0):
    """Layers of very different sizes and sensitivities."""
    net = trained(width=48, depth=4, steps=80, seed=seed)
    with torch.no_grad():
        net[2].weight[0] *= 6  # an outlier row costs this layer bits
    return net


def prepared(net, weight=None, rules=None, activation=None):
    made = lowbit.prepare(copy.deepcopy(net), weight, activation, first="same", last="same", rules=rules)
    return lowbit.calibrate(made, [blobs()[0]]).eval()


def bytes_of(net):
    return sum(row["bytes"] for row in lowbit.summary(net).rows)


@pytest.mark.parametrize("budget_bits", [3, 4])
def test_claim_lower_error_than_equal_bits_at_no_more_bytes(budget_bits):
    """At least four of five seeds, on inputs that the allocation has not seen."""
    better = 0
    held_out = blobs(512, seed=7)[0]
    for seed in range(5):
        net = network(seed)
        equal = prepared(net, f"l2:{budget_bits}")
        rules = lowbit.allocate(net, [blobs()[0]], budget={"bytes": bytes_of(equal)}, widths=(2, 3, 4, 5, 6, 8))
        chosen = prepared(net, "l2:8", rules)
        assert bytes_of(chosen) <= bytes_of(equal)
        with torch.no_grad():
            reference = net(held_out)
            better += relative_error(chosen(held_out), reference) < relative_error(equal(held_out), reference)
    assert better >= 4


@pytest.mark.parametrize("how", ["greedy", "closed form"])
def test_a_target_sqnr(how):
    net, x = network(), blobs()[0]
    rules = lowbit.allocate(net, [x], budget={"sqnr": 20.0}, how=how)
    assert [rule["match"] for rule in rules] == ["0", "2", "4", "6"]
    if how == "greedy":
        with torch.no_grad():
            assert relative_error(prepared(net, "l2:8", rules)(x), net(x)) <= 10**-2.0


def test_closed_form_gives_small_layers_more_bits_and_keeps_sizes():
    net = trained(width=64, depth=3)
    rules = lowbit.allocate(net, [blobs()[0]], budget={"bytes": 3500}, how="closed form")
    assert bytes_of(prepared(net, "l2:8", rules)) <= 3500
    bits = {rule["match"]: int(rule["weight"].split(":")[1]) for rule in rules}
    assert bits["4"] > bits["2"] < bits["0"]


def test_operations_trade_weights_against_activations():
    net, x = network(), blobs()[0]
    full = 64 * sum(m.weight.numel() for m in net if isinstance(m, nn.Linear))
    rules = lowbit.allocate(net, [x], budget={"operations": full / 4}, activation="lsq", widths=(2, 4, 8))
    bits = [[int(rule[key].split(":")[1]) for key in ("weight", "activation")] for rule in rules]
    macs = [m.weight.numel() for m in net if isinstance(m, nn.Linear)]
    assert sum(m * w * a for m, (w, a) in zip(macs, bits, strict=True)) <= full / 4
    assert prepared(net, "l2:8", rules, "lsq:8")(x).shape == (512, 4)


def test_a_prepared_model_keeps_its_methods_and_is_left_alone():
    net = prepared(network(), "lsq:4@channel", activation="lsq:4")
    kept = copy.deepcopy(net.state_dict())
    rules = lowbit.allocate(net, [blobs()[0]], budget={"bytes": 3200})
    assert all(rule["weight"].startswith("lsq:") and rule["weight"].endswith("@channel") for rule in rules)
    assert all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"budget": 100}, InvalidInput, r"allowed is one of \{'bytes': n\}"),
        ({"budget": {"kilobytes": 3}}, UnknownName, "unknown budget 'kilobytes'"),
        ({"budget": {"bytes": -1}}, InvalidInput, "allowed is a number above 0"),
        ({"budget": {"bytes": 10}}, InvalidInput, "give at least that"),
        ({"budget": {"bytes": 10}, "how": "closed form"}, InvalidInput, "give at least that"),
        ({"budget": {"sqnr": 300.0}}, InvalidInput, "aim lower"),
        ({"budget": {"bytes": 9000}, "how": "gredy"}, UnknownName, "did you mean 'greedy'"),
        ({"budget": {"bytes": 9000}, "widths": ()}, InvalidInput, "bits from 1 to 16"),
        ({"budget": {"operations": 9}, "how": "closed form"}, InvalidInput, "knows sizes, not operations"),
    ],
)
def test_wrong_settings(settings, error, text):
    with pytest.raises(error, match=text):
        lowbit.allocate(network(), [blobs()[0]], **settings)
