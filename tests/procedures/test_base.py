"""The procedure contract: plain hooks, names, refusals."""

import pytest
import torch

from lowbit.errors import InvalidInput, UnknownName
from lowbit.procedures import Procedure, Run, procedure
from lowbit.training.optimizers import make_optimizer


def run_of(weight_decay=0.0):
    model = torch.nn.Linear(2, 2)
    return Run(model=model, optimizer=make_optimizer(model, lr=0.1, weight_decay=weight_decay), steps_total=4)


def test_plain_loss_is_cross_entropy():
    run = run_of()
    output = torch.tensor([[2.0, 0.0]])
    loss = Procedure().loss(run, (torch.zeros(1, 2), torch.tensor([0])), output)
    torch.testing.assert_close(loss, torch.log1p(torch.exp(torch.tensor(-2.0))))


def test_figures_are_numbers():
    run = run_of()
    run.log("temperature", torch.tensor(2.5))
    assert run.figures == {"temperature": 2.5}


def test_unknown_names_teach():
    with pytest.raises(UnknownName, match="did you mean 'retrain'"):
        procedure("retrian")
    with pytest.raises(UnknownName, match="setting of procedure 'retrain' 'bits'"):
        procedure("retrain", bits=2)


def test_retraining_refuses_weight_decay():
    procedure("retrain").start(run_of())
    with pytest.raises(InvalidInput, match=r"weight_decay 0\.1; retraining goes without"):
        procedure("retrain").start(run_of(0.1))
