import pytest
import torch

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
