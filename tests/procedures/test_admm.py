"""admm: the extragradient step, the dual variable, and W = G in the end."""

import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import combine, procedure
from tests.procedures.plain import run_of, started, train

METHODS = {"weight": "admm:2", "activation": "lsq:3"}
V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def line(**settings):
    """One linear layer with METHODS' vector as weights."""
    net = nn.Sequential(nn.Linear(6, 2, bias=False))
    net[0].weight.data = torch.stack([V, V])
    lowbit.prepare(net, weight="admm:2", activation=None, first="same", last="same")
    admm = procedure("admm", **settings)
    run = run_of(net, name="sgd", lr=0.1, momentum=0.0)
    admm.start(run)
    return admm, run


def test_the_start_and_an_outer_round():
    """METHODS 3.22: ternary a = 0.8; then G = Proj(W + U), U = U + W - G."""
    admm, _ = line()
    target = torch.tensor([-0.8, 0, 0, 0.8, 0.8, 0])
    torch.testing.assert_close(admm._target["0.weight"], torch.stack([target, target]))
    assert not admm._dual["0.weight"].any()
    admm._outer()
    torch.testing.assert_close(admm._dual["0.weight"], torch.stack([V - target] * 2))
    admm._outer()
    q = lowbit.quantizer("admm:2")
    moved = torch.stack([2 * V - target] * 2)
    q.calibrate(moved)
    torch.testing.assert_close(admm._target["0.weight"], q(moved))


def test_a_step_is_extragradient():
    admm, run = line(rho=0.5)
    layer = run.model[0]
    x, y = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 2
    target, w = admm._target["0.weight"], layer.weight.detach().clone()

    def gradient(at):
        at = at.clone().requires_grad_()
        loss = nn.functional.cross_entropy(x @ at.T, y) + 0.25 * (at - target).square().sum()
        return torch.autograd.grad(loss, at)[0]

    expected = w - 0.1 * gradient(w - 0.1 * gradient(w))
    run.optimizer.zero_grad()
    admm.loss(run, (x, y), run.model(x)).backward()
    admm.after_backward(run)
    run.optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_the_second_pass_leaves_statistics_alone():
    admm = procedure("admm")
    run = run_of(started(admm, METHODS))
    admm.start(run)
    run.model.train()
    x, y = next(run.batches.epoch(0))
    admm.loss(run, (x, y), run.model(x)).backward()
    before = run.model[1].running_mean.clone()
    admm.after_backward(run)
    assert torch.equal(run.model[1].running_mean, before)
    assert int(run.model[1].num_batches_tracked) == 1


@pytest.mark.parametrize("settings", [{}, {"interval": 2, "extragradient": False}, {"tune": 0.5}])
def test_it_ends_with_weights_on_the_grid(settings):
    admm = procedure("admm", **settings)
    run = run_of(started(admm, METHODS))
    admm.start(run)
    train(admm, run)
    for i in (0, 3, 7):
        layer = run.model[i]
        assert len(layer.weight.unique()) <= 3
        assert torch.equal(layer.weight_quantizer.eval()(layer.weight), layer.weight)
        assert torch.equal(layer.weight.detach(), admm._target[f"{i}.weight"])


def test_tuning_trains_batchnorm_alone():
    admm = procedure("admm", tune=0.5)
    run = run_of(started(admm, METHODS))
    admm.start(run)
    train(admm, run, stop=2)
    run.epoch = 2
    admm.epoch_start(run)
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    train(admm, run)
    changed = {name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"1.weight", "1.bias", "4.weight", "4.bias"}


def test_a_stronger_tie_brings_the_weights_nearer_to_the_grid():
    ends = []
    for rho in (1e-4, 1.0):
        admm = procedure("admm", rho=rho)
        run = run_of(started(admm, METHODS))
        admm.start(run)
        ends.append(train(admm, run)[-1]["distance"])
    assert ends[1] < 0.8 * ends[0]


def test_it_refuses():
    with pytest.raises(InvalidInput, match=r"admm: rho is 0, tune 0\.0; allowed are rho above 0, tune from 0, below 1"):
        procedure("admm", rho=0)
    with pytest.raises(InvalidInput, match="admm: interval is 0, allowed are whole numbers of steps from 1, or null"):
        procedure("admm", interval=0)
    admm = procedure("admm")
    with pytest.raises(InvalidInput, match="admm: no layer has weights by admm; prepare it with weight='admm:2'"):
        admm.start(run_of(started(admm, {"weight": "lsq:3", "activation": "lsq:3"})))
    with pytest.raises(InvalidInput, match="the network has none; use tune: 0"):
        line(tune=0.5)
    with pytest.raises(InvalidInput, match="admm and lipschitz cannot be combined: the second gradient"):
        combine(procedure("admm"), [procedure("lipschitz")])
