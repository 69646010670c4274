"""A step that goes through zero is named once, for every method that learns one; a weight that does not go is not."""

import pytest
import torch
from torch import nn

import lowbit
from lowbit.data import Batches
from lowbit.quantizers.catalog import METHODS
from lowbit.training.dead_steps import dead_line, dead_steps
from lowbit.training.evaluate import evaluate
from lowbit.training.fit import Plan, fit
from lowbit.training.recipes import OptimizerPart, SchedulePart
from tests.training.test_fit import Counting, blobs


def net(weight="lsq:4"):
    torch.manual_seed(0)
    model = lowbit.prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), weight, "lsq:4",
                           first="same", last="same")  # fmt: skip
    return lowbit.calibrate(model, [blobs()[0]])


def test_names_what_methods_learn_and_must_be_positive():
    learned = {name for name, method in METHODS.items() if method.must_be_positive}
    assert learned == {"lsq", "pact", "sigmoid", "ttq", "twobit"}
    model = net({"method": "ttq", "bits": 2})
    assert dead_steps(model) == []
    model[2].weight_quantizer.negative.data.fill_(0)
    model[0].input_quantizer.scale.data.fill_(-1)
    assert dead_steps(model) == ["0.input_quantizer.scale", "2.weight_quantizer.negative"]
    assert "and 1 more" in dead_line(dead_steps(model))


@pytest.mark.parametrize("dies", [True, False])
def test_training_says_so_once(capsys, dies):
    model = net()
    if dies:
        model[2].input_quantizer.scale.data.fill_(-5.0)
    x, y = blobs()
    fit(
        model,
        Batches(x, y, size=16),
        Plan(epochs=2, optimizer=OptimizerPart(lr=1e-4), schedule=SchedulePart()),
        procedure=Counting(),
        evaluate=lambda: evaluate(model, x, y),
        title="test",
        accelerator="cpu",
    )
    lines = capsys.readouterr().err.splitlines()
    assert sum("2.input_quantizer.scale: trained to zero or below" in line for line in lines) == dies
