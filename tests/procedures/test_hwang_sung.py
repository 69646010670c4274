"""hwang-sung: the output error falls, steps stay in retraining, derivatives at the float weights."""

import copy

import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, Run, procedure
from lowbit.procedures.output_error import output_error, refine
from tests.procedures.plain import assert_converts, batches_of, float_net, images, run_of, started, train

METHODS = {"weight": "l2:2", "activation": "lsq:4"}


def trained():
    model = float_net()
    train(Procedure(), run_of(model, 8), 8)
    return model.eval()


def prepared(model, **methods):
    return lowbit.calibrate(
        lowbit.prepare(model, **{**METHODS, "first": "same", "last": "same", **methods}), [images()[0]]
    )


@pytest.mark.parametrize("weight", ["l2:2", "l2:3", "l2:2@channel"])
def test_the_output_error_falls(weight):
    model, x = trained(), images()[0]
    expected = model(x).detach()
    low = prepared(model, weight=weight)
    before, after = refine(low, x, expected)
    assert after < 0.95 * before
    assert output_error(low, x, expected) == after


def test_each_layer_has_the_best_of_its_candidates():
    model, x = trained(), images()[0]
    expected = model(x).detach()
    low = prepared(model)
    starts = [low[i].weight_quantizer.step.clone() for i in (0, 3, 7)]
    refine(low, x, expected)
    last = low[7].weight_quantizer.step
    found, errors = last.clone(), {}
    for i in range(10, 31):
        last.copy_(starts[2] * round(0.05 * i, 2))
        errors[float(last)] = output_error(low, x, expected)
    assert min(errors, key=errors.get) == float(found)


def test_steps_stay_in_retraining():
    hs = procedure("hwang-sung", images=64)
    run = run_of(started(hs, METHODS))
    hs.start(run)
    steps = [run.model[i].weight_quantizer.step.clone() for i in (0, 3, 7)]
    figures = train(hs, run)
    assert all(torch.equal(run.model[i].weight_quantizer.step, step) for i, step in zip((0, 3, 7), steps, strict=True))
    assert figures[0]["error_refined"] < figures[0]["error_before"]


def test_it_works_without_training(tmp_path):
    hs = procedure("hwang-sung", images=64)
    model = started(hs, METHODS)
    hs.start(Run(model=model, optimizer=torch.optim.SGD(model.parameters()), batches=batches_of()))
    assert hs.works_untrained
    assert_converts(model, tmp_path)


def test_one_start_for_the_network():
    hs = procedure("hwang-sung", images=64, init_scope="network")
    run = run_of(started(hs, METHODS))
    weights = torch.cat([run.model[i].weight.detach().flatten() for i in (0, 3, 7)])
    alone = lowbit.quantizer("l2:2")
    alone.calibrate(weights)
    hs.start(run)
    for i in (0, 3, 7):
        factor = float(run.model[i].weight_quantizer.step / alone.step)
        assert factor / 0.05 == pytest.approx(round(factor / 0.05), abs=1e-3)


def test_the_update_goes_to_the_float_weight():
    """METHODS 3.11: w = 0.45, D = 1, loss (q - 1)^2 / 2, rate 0.1: q = 0, w = 0.55, q = 1, w stays."""
    q = lowbit.quantizer("l2:2")
    q.calibrate(torch.tensor([1.0]))
    w = torch.tensor([0.45], requires_grad=True)
    seen = []
    for _ in range(3):
        value = q(w)
        ((value - 1) ** 2 / 2).sum().backward()
        seen.append((value.item(), round(w.item(), 2)))
        with torch.no_grad():
            w -= 0.1 * w.grad
        w.grad = None
    assert seen == [(0.0, 0.45), (1.0, 0.55), (1.0, 0.55)]


def test_float_derivative():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid(), nn.Linear(5, 3))
    float_weight = net[0].weight
    hs = procedure("hwang-sung", float_derivative=True, images=8)
    hs.before_prepare(net)
    x = torch.randn(8, 4)
    lowbit.prepare(net, weight="l2:2", activation="lsq:8", first="same", last="same", example=x)
    run = Run(model=net.train(), optimizer=torch.optim.SGD(net.parameters(), 0.1), steps_total=1, batches=[(x, None)])
    hs.start(run)
    plain = copy.deepcopy(net)
    for module in plain.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    y = net(x)
    assert torch.equal(y, plain(x)), "values must not change"
    (gradient,) = torch.autograd.grad(y.sum(), net[0].bias)
    at_float = torch.sigmoid(net[0].input_quantizer(x) @ float_weight.T + net[0].bias)
    hidden = torch.sigmoid(net[0](x)).detach().requires_grad_()
    torch.autograd.backward(net[2](hidden).sum())
    torch.testing.assert_close(gradient, (hidden.grad * at_float * (1 - at_float)).sum(0))
    (other,) = torch.autograd.grad(plain(x).sum(), plain[0].bias)
    assert not torch.allclose(gradient, other, rtol=1e-3)
    run.step, hs._errors = 1, (0.0, 0.0)
    hs.epoch_end(run)
    assert not net[1]._forward_hooks
    assert not net._forward_pre_hooks


def test_it_refuses():
    with pytest.raises(InvalidInput, match="hwang-sung: init_scope is 'filter', allowed are layer, network"):
        procedure("hwang-sung", init_scope="filter")
    with pytest.raises(InvalidInput, match="hwang-sung: images is 0, allowed are whole numbers from 1"):
        procedure("hwang-sung", images=0)
    hs = procedure("hwang-sung", float_derivative=True)
    with pytest.raises(InvalidInput, match="hwang-sung: no layer has weights by l2; prepare it with weight='l2:3'"):
        hs.start(run_of(started(hs, {"weight": "lsq:3", "activation": "lsq:3"})))
    with pytest.raises(InvalidInput, match=r"hwang-sung: the optimizer has weight_decay 0\.1; retraining goes without"):
        hs.start(run_of(started(hs, METHODS), weight_decay=0.1))
    with pytest.raises(InvalidInput, match="hwang-sung: there is no float network; call before_prepare"):
        procedure("hwang-sung").start(run_of(started(Procedure(), METHODS)))
    run = run_of(started(hs, METHODS))
    hs.start(run)
    with pytest.raises(InvalidInput, match="float_derivative found no activation module that reads a quantized layer"):
        train(hs, run)
