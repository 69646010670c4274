"""Channels side by side while training, and torch's usual order before and after."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lowbit
from lowbit.training.memory_order import LAST, channels_last


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def test_images_and_weights_are_in_that_order_only_inside():
    model, orders = net(), []
    model[0].register_forward_hook(lambda m, i, o: orders.append([t.is_contiguous(memory_format=LAST)
                                                                  for t in (i[0], m.weight, o)]))  # fmt: skip
    x = torch.rand(2, 3, 8, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with channels_last(model):
        model(x)
    model(x)
    assert orders == [[True, True, True], [False, False, False]]
    assert all(torch.equal(value, before[name]) or "running" in name or "num" in name
               for name, value in model.state_dict().items())  # fmt: skip


def test_the_order_is_given_back_after_an_error():
    model = net()
    with pytest.raises(RuntimeError), channels_last(model):
        raise RuntimeError
    assert model[0].weight.is_contiguous() and not model._forward_pre_hooks


@pytest.mark.parametrize("model", [nn.Linear(4, 4), nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv3d(1, 1, 1))])
def test_networks_that_gain_nothing_or_have_no_such_order_stay(model):
    with channels_last(model):
        assert not model._forward_pre_hooks


def test_nothing_is_done_where_it_is_not_wanted():
    model = net()
    with channels_last(model, wanted=False):
        assert model[0].weight.is_contiguous() and not model._forward_pre_hooks


@pytest.mark.parametrize(
    "methods", [{"weight": "lsq:2", "activation": "lsq:2"}, {"weight": "twn", "activation": "pact:4"}]
)
def test_a_quantized_network_trains_to_the_same(methods):
    x, y = torch.rand(16, 3, 8, 8), torch.arange(16) % 4
    results = []
    for wanted in (False, True):
        model = lowbit.prepare(net(), **methods)
        lowbit.calibrate(model, [x])
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        with channels_last(model, wanted=wanted):
            for _ in range(3):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        results.append(model.state_dict())
    for name, value in results[0].items():
        # Sums are added in another order: 1e-5 is some 100 roundings of a float32.
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-5)


def test_eval_is_the_same_bit_for_bit():
    x = torch.rand(16, 3, 8, 8)
    model = lowbit.prepare(net(), weight="lsq:2", activation="lsq:2")
    lowbit.calibrate(model, [x])
    model.eval()
    want = model(x)
    with channels_last(model):
        assert torch.equal(model(x), want)
