import itertools

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def twobit(w: torch.Tensor = V, **options: object) -> torch.nn.Module:
    q = quantizer({"method": "twobit", "granularity": "tensor", **options})
    q.calibrate(w)
    return q


def squares(q: torch.nn.Module, w: torch.Tensor) -> float:
    return ((q(w) - w) ** 2).sum().item()


def test_worked_example() -> None:
    q = twobit()
    expected = [-0.816667, -0.408333, 0.408333, 0.408333, 0.816667, -0.408333]
    # printed with six decimals
    torch.testing.assert_close(q(V), torch.tensor(expected), rtol=0, atol=1e-6)
    assert q.alpha.item() == pytest.approx(0.408333, abs=1e-6)
    assert squares(q, V) == pytest.approx(0.199167, abs=1e-6)


def test_gaussian_optimum() -> None:
    x = torch.special.ndtri((torch.arange(50001, dtype=torch.float64) + 0.5) / 50001).float()
    q = twobit(x)
    # given to three digits
    assert q.alpha.item() == pytest.approx(0.651, abs=1e-3)
    assert (q.alpha / x.abs().mean()).item() == pytest.approx(0.816, abs=1e-3)
    assert (1.5 * q.alpha).item() == pytest.approx(0.977, abs=1e-3)
    assert 10 * torch.log10((x**2).sum() / squares(q, x)).item() == pytest.approx(8.01, abs=0.01)


def test_claim_scale_is_optimal_by_brute_force() -> None:
    patterns = torch.tensor(list(itertools.product((-2.0, -1.0, 1.0, 2.0), repeat=6)), dtype=torch.float64)
    for seed in range(20):
        w = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        scale = ((patterns @ w) / (patterns**2).sum(1)).clamp_min(0)
        least = ((patterns * scale[:, None] - w) ** 2).sum(1).min().item()
        q = twobit(w)
        assert squares(q.double(), w) <= least * 1.02  # the alternation may stop beside the optimum


def test_claim_below_ternary_signs_and_min_max() -> None:
    w = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    for other in ("bwn@tensor", "minmax:2"):
        q = quantizer(other)
        q.calibrate(w)
        assert squares(twobit(w), w) < 0.6 * squares(q, w)


def test_learned_scale_gets_the_sum_of_units() -> None:
    q = twobit(learned=True)
    x = V.clone().requires_grad_()
    g = torch.tensor([1.0, 2, 3, 4, 5, 6])
    q(x).backward(g)
    assert q.alpha.grad.item() == pytest.approx(float(g @ torch.tensor([-2.0, -1, 1, 1, 2, -1])))
    assert torch.equal(x.grad, g)


def test_scale_follows_the_weights_in_training_only() -> None:
    q = twobit()
    q(2 * V)
    assert q.alpha.item() == pytest.approx(0.816667, rel=0.05)
    before = q.eval().alpha.clone()
    q(9 * V)
    assert torch.equal(q.alpha, before)
