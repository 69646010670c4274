import itertools
import math

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def twn(w: torch.Tensor = V, threshold: float | str = 0.7) -> torch.nn.Module:
    q = quantizer({"method": "twn", "threshold": threshold})
    q.calibrate(w)
    return q


def squares(w: torch.Tensor, threshold: float | str) -> float:
    return ((twn(w, threshold)(w) - w) ** 2).sum().item()


@pytest.mark.parametrize("threshold", [0.7, 2 / 3, 0.75, "exact"])
def test_worked_example(threshold: float | str) -> None:
    y = twn(threshold=threshold)(V)
    # float32 sums of six terms
    torch.testing.assert_close(y, torch.tensor([-0.8, 0, 0, 0.8, 0.8, 0]), rtol=0, atol=1e-6)
    error = ((y - V) ** 2).sum().item()
    assert error == pytest.approx(0.28, abs=1e-6)
    assert 10 * math.log10(2.2 / error) == pytest.approx(8.953, abs=5e-4)


def test_threshold_itself_is_zero() -> None:
    """mean|w| = 1, D = 0.7: the weights of exactly that size are not kept."""
    w = torch.tensor([0.7, -0.7, 2.0, -0.6])
    limit = torch.tensor(0.7).double() * w.abs().double().mean()
    assert limit == pytest.approx(0.7)
    w = torch.tensor([0.5, -0.5, 1.5, -1.5])
    assert twn(w, 0.5)(w).tolist() == [0, 0, 1.5, -1.5]  # D = 0.5


def test_claim_exact_threshold_is_optimal() -> None:
    """Brute force over all 3^8 ternary patterns, each with its best scale."""
    patterns = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=8)), dtype=torch.float64)
    for seed in range(20):
        w = torch.randn(8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        scale = (patterns @ w) / (patterns**2).sum(1).clamp_min(1)
        best = ((patterns * scale[:, None] - w) ** 2).sum(1).min().item()
        assert squares(w, "exact") == pytest.approx(best, rel=1e-12)  # float64 sums of eight terms


@pytest.mark.parametrize("threshold", [2 / 3, 0.7, 0.75])
def test_exact_is_never_worse(threshold: float) -> None:
    for seed in range(20):
        w = torch.randn(200, generator=torch.Generator().manual_seed(seed))
        # float32 sums: equal sets may differ in the last digits
        assert squares(w, "exact") <= squares(w, threshold) * (1 + 1e-5)


# quantiles stand for the distribution; 1 %: the optimum is flat, so its place is known less well than its height
@pytest.mark.parametrize(("name", "best"), [("uniform", 2 / 3), ("normal", 0.767), ("laplace", 1.0)])
def test_analytic_optima(name: str, best: float) -> None:
    p = (torch.arange(20001, dtype=torch.float64) + 0.5) / 20001
    draw = {"uniform": 2 * p - 1, "normal": torch.special.ndtri(p),
            "laplace": -(p - 0.5).sign() * (1 - 2 * (p - 0.5).abs()).log()}[name]  # fmt: skip
    kept = twn(draw, "exact")(draw) != 0
    threshold = draw[kept].abs().min() / draw.abs().mean()
    assert threshold.item() == pytest.approx(best, rel=0.01)


def test_ties_in_size_stay_together() -> None:
    for w in (torch.tensor([1.0, -1.0, 1.0, 0.1]), torch.tensor([0.5, 0.5, -0.5]), torch.tensor([2.0, 1, 1, 1, 1])):
        y = twn(w, "exact")(w)
        for size in w.abs().unique():
            assert len(y[w.abs() == size].abs().unique()) == 1


def test_claim_below_binary_error() -> None:
    w = torch.randn(64, 144, generator=torch.Generator().manual_seed(0))
    bwn = quantizer("bwn@tensor")
    bwn.calibrate(w)
    assert squares(w, 0.7) < 0.6 * ((bwn(w) - w) ** 2).sum().item()


@pytest.mark.parametrize("threshold", ["best", -1, 10.0, None])
def test_bad_threshold(threshold: object) -> None:
    with pytest.raises(ValueError, match=r"twn's threshold is .*, allowed are 'exact' or a number from 0 to 10"):
        quantizer({"method": "twn", "threshold": threshold})


def test_grid_needs_the_weight() -> None:
    with pytest.raises(ValueError, match=r"twn computes its scale from the weight: call grid\(weight\)"):
        twn().grid()
