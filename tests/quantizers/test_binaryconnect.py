import numpy as np
import pytest
import torch

import lowbit
from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def test_worked_example() -> None:
    q = quantizer("binaryconnect")
    q.calibrate(V)
    x = V.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    assert y.tolist() == [-1, -1, 1, 1, 1, -1] and x.grad.tolist() == [1] * 6
    assert q(torch.zeros(2)).tolist() == [1, 1]


def test_worked_chances() -> None:
    q = quantizer("binaryconnect-stochastic")
    q.calibrate(V)
    torch.manual_seed(0)
    draws = torch.stack([q(V) for _ in range(20000)])
    assert set(draws.unique().tolist()) == {-1, 1}
    # 0.015: four standard deviations of 20,000 draws, 4 * 0.5 / sqrt(20000)
    assert torch.allclose((draws > 0).float().mean(0), torch.tensor([0, 0.35, 0.55, 0.75, 0.95, 0.4]), atol=0.015)
    assert (draws[:, 0] == -1).all()  # a chance of 0 is never drawn


def test_claim_stochastic_signs_are_unbiased_where_plain_signs_are_not() -> None:
    w = torch.rand(2000, generator=torch.Generator().manual_seed(1)) * 2 - 1
    plain, drawn = quantizer("binaryconnect"), quantizer("binaryconnect-stochastic")
    plain.calibrate(w), drawn.calibrate(w)
    torch.manual_seed(2)
    mean = torch.stack([drawn(w) for _ in range(400)]).mean(0)
    assert ((mean - w) ** 2).mean() < 0.02 * ((plain(w) - w) ** 2).mean()


def test_eval_is_deterministic() -> None:
    q = quantizer("binaryconnect-stochastic")
    q.calibrate(V)
    assert q.eval()(V).tolist() == [-1, -1, 1, 1, 1, -1]


def test_the_same_seed_draws_the_same_signs() -> None:
    q = quantizer("binaryconnect-stochastic")
    q.calibrate(V)
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(q(0.1 * V.repeat(50)))
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["binaryconnect", "binaryconnect-stochastic"])
def test_limits(name: str) -> None:
    assert type(quantizer(name)).weight_limit == 1
    with pytest.raises(ValueError, match=f"{name} has no scale, so nothing to have for each channel; use bwn"):
        quantizer(f"{name}:1@channel")


def test_real_weights_in_eval_until_hardened() -> None:
    """What the paper does after stochastic training; a program has signs only, so convert waits for `harden`."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3))
    method = {"method": "binaryconnect-stochastic", "eval_weights": "float"}
    x = torch.randn(8, 6)
    model = lowbit.calibrate(lowbit.prepare(net, weight=method, activation="lsq:4", first="same", last="same"), [x])
    layer = model.eval()[0]
    with torch.no_grad():
        expected = torch.nn.functional.linear(layer.input_quantizer(x), layer.weight, layer.bias)
        assert torch.equal(layer(x), expected)
        assert set(layer.weight_quantizer.train()(layer.weight).unique().tolist()) == {-1, 1}
    model.eval()
    with pytest.raises(lowbit.errors.ConversionError, match=r"100\.0% of its training value is not on its grid"):
        lowbit.convert(model, x)
    for q in (model[0].weight_quantizer, model[2].weight_quantizer):
        q.harden()
    program = lowbit.convert(model, x)
    with torch.no_grad():
        assert np.array_equal(lowbit.runtime.reference.run(program, x.numpy()), model(x).numpy())
    with pytest.raises(ValueError, match="eval_weights are 'real', allowed are 'sign' and 'float'"):
        quantizer({"method": "binaryconnect-stochastic", "eval_weights": "real"})
