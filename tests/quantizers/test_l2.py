import itertools

import pytest
import torch

from lowbit.quantizers import quantizer
from lowbit.quantizers.search import alternate, squared_error

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def l2(bits: int, w: torch.Tensor = V) -> torch.nn.Module:
    q = quantizer(f"l2:{bits}")
    q.calibrate(w)
    return q


def squares(q: torch.nn.Module, x: torch.Tensor) -> float:
    return ((q(x) - x) ** 2).sum().item()


# 1e-6: float32 sums of six terms
@pytest.mark.parametrize(("bits", "step", "error"), [(3, 0.3, 0.04), (2, 0.8, 0.28)])
def test_worked_examples(bits: int, step: float, error: float) -> None:
    q = l2(bits)
    assert q.step.item() == pytest.approx(step, abs=1e-6) and squares(q, V) == pytest.approx(error, abs=1e-6)


@pytest.mark.parametrize(("start", "step", "error"), [(0.2, 0.3, 0.04), (0.3333, 0.3, 0.04), (0.5, 0.46, 0.084)])
def test_worked_local_minima(start: float, step: float, error: float) -> None:
    """One start sticks at 0.46: why there are two hundred."""
    w = V.double()[None]
    units = l2(3)._units
    found = alternate(w, torch.tensor([start], dtype=torch.float64), units)
    assert found.item() == pytest.approx(step, abs=1e-7)  # V itself is rounded to float32
    assert squared_error(w, found, units).item() == pytest.approx(error, abs=1e-6)


def test_worked_training_loop() -> None:
    """w = 0.45, D = 1: q is 0, the loss (q - 1)^2 / 2 moves w to 0.55, q becomes 1 and the gradient 0."""
    q = l2(2, torch.tensor([1.0]))
    w = torch.tensor([0.45], requires_grad=True)
    seen = []
    for _ in range(3):
        w.grad = None
        y = q(w)
        ((y - 1) ** 2 / 2).sum().backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
        seen.append((y.item(), round(w.item(), 6)))
    assert seen == [(0, 0.55), (1, 0.55), (1, 0.55)]


def test_claim_alternation_never_raises_the_error() -> None:
    for seed, bits in itertools.product(range(10), (2, 3, 4)):
        w = torch.randn(1, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        units, scale = l2(bits)._units, torch.tensor([0.1 + 0.1 * seed], dtype=torch.float64)
        errors = []
        for _ in range(12):
            errors.append(squared_error(w, scale, units).item())
            scale = alternate(w, scale, units, 1)
        # 1e-12: float64 sums of sixty terms
        assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(errors))


def test_claim_ternary_is_the_exact_optimum_and_min_max_is_far() -> None:
    for seed in range(5):
        w = torch.randn(200, generator=torch.Generator().manual_seed(seed))
        exact = quantizer({"method": "twn", "threshold": "exact"})
        affine = quantizer("affine:2")
        for q in (exact, affine):
            q.calibrate(w)
        assert squares(l2(2, w), w) == pytest.approx(squares(exact, w), rel=1e-5)  # float32 sums of 200 terms
        assert squares(l2(2, w), w) < 0.5 * squares(affine, w)


def test_worked_adaptive_step() -> None:
    q = quantizer({"method": "adaptive-l2", "bits": 3, "interval": 1})
    q.calibrate(V)
    assert q.step.item() == pytest.approx(0.3, abs=1e-6)
    q(-1.1 * V)
    assert q.step.item() == pytest.approx(0.33, abs=1e-6)


def test_interval_counts_training_steps_only() -> None:
    q = quantizer({"method": "adaptive-l2", "bits": 3, "interval": 3})
    q.calibrate(V)
    q.eval()
    q(2 * V)
    q.train()
    steps = []
    for _ in range(6):
        q(1.1 * V)
        steps.append(round(q.step.item(), 4))
    assert steps == [0.3, 0.3, 0.33, 0.33, 0.33, 0.33]


def test_claim_adaptive_follows_weights_that_fixed_does_not() -> None:
    w = torch.randn(500, generator=torch.Generator().manual_seed(0))
    fixed, adaptive = l2(2, w), quantizer({"method": "adaptive-l2", "bits": 2, "interval": 1})
    adaptive.calibrate(w)
    for factor in torch.linspace(1, 0.4, 20).tolist():
        fixed(factor * w), adaptive(factor * w)
    assert squares(adaptive, 0.4 * w) < 0.6 * squares(fixed, 0.4 * w)


@pytest.mark.parametrize("interval", [0, -1, 1.5, True, "epoch"])
def test_bad_interval(interval: object) -> None:
    with pytest.raises(ValueError, match=r"adaptive-l2's interval is .*, allowed is a number of steps from 1"):
        quantizer({"method": "adaptive-l2", "bits": 2, "interval": interval})
