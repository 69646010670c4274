"""loss-aware: the optimizer's second moments reach the quantizers, and weights keep their limits."""

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from tests.procedures.plain import run_of, started, train

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


@pytest.mark.parametrize(
    ("method", "curvature", "scale", "kept"),
    [
        ("lab", (1, 4, 1, 1, 1, 1), 0.433333, 6),
        ("lat", (1, 1, 1, 1, 1, 1), 0.8, 3),
        ("lat", (1, 8, 1, 1, 1, 1), 0.436364, 4),
    ],
)
def test_worked_examples(method, curvature, scale, kept):
    """METHODS 3.18, with d = sqrt(v) given as Adam's second moment."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 1, bias=False))
    model[0].weight.data = V[None].clone()
    lowbit.prepare(model, weight=method, activation=None, first="same", last="same")
    run = run_of(model)
    aware = procedure("loss-aware")
    aware.start(run)
    weight = model[0].weight
    run.optimizer.state[weight]["exp_avg_sq"] = torch.tensor([curvature], dtype=torch.float32) ** 2
    aware.after_step(run)
    q = model[0].weight_quantizer(weight).detach()
    assert q.abs().max() == pytest.approx(scale, abs=1e-6)
    assert int((q != 0).sum()) == kept


@pytest.mark.parametrize("method", ["lab", "lat", "laq:3"])
def test_moments_arrive_after_every_step(method):
    aware = procedure("loss-aware")
    run = run_of(started(aware, {"weight": method, "activation": "lsq:3"}))
    aware.start(run)
    train(aware, run)
    for layer in (run.model[0], run.model[3], run.model[7]):
        second = run.optimizer.state[layer.weight]["exp_avg_sq"]
        assert torch.equal(layer.weight_quantizer.curvature, second.sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("method", "optimizer"), [("lat", "adamw"), ("binaryconnect", "sgd"), ("binaryconnect-stochastic", "adam")]
)
def test_weights_stay_within_their_limit(method, optimizer):
    aware = procedure("loss-aware")
    run = run_of(started(aware, {"weight": method, "activation": "lsq:3", "last": "lsq:8"}), name=optimizer)
    for i in (0, 3, 7):
        run.model[i].weight.data *= 20
    aware.start(run)
    train(aware, run, stop=1)
    tops = [float(run.model[i].weight.detach().abs().max()) for i in (0, 3, 7)]
    assert tops[:2] == [1.0, 1.0]
    assert tops[2] > 1, "the last layer has another method"


def test_it_refuses():
    aware = procedure("loss-aware")
    with pytest.raises(InvalidInput, match="loss-aware: SGD keeps no second moments of gradients; use optimizer:"):
        aware.start(run_of(started(aware, {"weight": "lab", "activation": "lsq:3"}), name="sgd"))
    with pytest.raises(InvalidInput, match="loss-aware: no layer has weights by lab, lat, laq or binaryconnect"):
        aware.start(run_of(started(aware, {"weight": "lsq:3", "activation": "lsq:3"})))
