"""Learning rates and parameter groups."""

import pytest
import torch
from torch import nn

from lowbit.errors import InvalidInput, UnknownName
from lowbit.quantizers.base import Quantizer
from lowbit.training.optimizers import make_optimizer, parameter_groups
from lowbit.training.schedules import make_schedule


def rates(name, **settings):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(optimizer, name, **settings)
    seen = []
    for _ in range(settings["epochs"] * settings["epoch_steps"]):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen, schedule.get_last_lr()[0]


def test_warm_up_then_cosine_to_zero():
    seen, last = rates("cosine", epochs=5, epoch_steps=4, warmup=1)
    assert seen[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert seen[4:] == sorted(seen[4:], reverse=True)
    assert seen[12] == pytest.approx(0.5)
    assert last == pytest.approx(0.0)


def test_steps_are_counted_in_epochs_from_the_start():
    seen, _ = rates("steps", epochs=4, epoch_steps=2, warmup=1, at=[2, 3], factor=0.1)
    assert seen == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_must_leave_room():
    with pytest.raises(InvalidInput, match="warmup of 3 epochs in a training of 3"):
        rates("cosine", epochs=3, epoch_steps=2, warmup=3)


def test_unknown_schedule():
    with pytest.raises(UnknownName, match="did you mean 'cosine'"):
        rates("cosin", epochs=1, epoch_steps=1)


class Scaled(nn.Module):
    """A layer with a per-channel scale of rank 4, as a quantizer may hold it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.quantizer = Quantizer.__new__(Quantizer)
        nn.Module.__init__(self.quantizer)
        self.quantizer.scale = nn.Parameter(torch.ones(2, 1, 1, 1))


def test_only_layer_weights_decay():
    model = Scaled()
    decayed, free = parameter_groups(model, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(model.conv.weight)]
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert {id(p) for p in free["params"]} == {id(p) for p in model.parameters()} - {id(model.conv.weight)}


def test_frozen_parameters_are_left_out():
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    assert [len(group["params"]) for group in make_optimizer(model, lr=0.1).param_groups] == [1]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_quantizers_learn_at_a_rate_of_their_own(name):
    model = Scaled()
    optimizer = make_optimizer(model, name, lr=0.1, weight_decay=0.5, scale_lr=0.25)
    weights, norms, scales = optimizer.param_groups
    assert [id(p) for p in scales["params"]] == [id(model.quantizer.scale)]
    assert (weights["lr"], norms["lr"], scales["lr"]) == (0.1, 0.1, 0.025)
    assert (weights["weight_decay"], norms["weight_decay"], scales["weight_decay"]) == (0.5, 0.0, 0.0)
    schedule = make_schedule(optimizer, epochs=4, epoch_steps=1, warmup=2)
    assert schedule.get_last_lr() == pytest.approx([0.05, 0.05, 0.0125])
    assert len(make_optimizer(nn.Linear(2, 2), name, lr=0.1, scale_lr=0.25).param_groups) == 2
