import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def bwn(w: torch.Tensor = V, **options: object) -> torch.nn.Module:
    q = quantizer({"method": "bwn", "granularity": "tensor", **options})
    q.calibrate(w)
    return q


def gradient(kind: str, g: list[float]) -> list[float]:
    x = V.clone().requires_grad_()
    bwn(scale_grad=kind)(x).backward(torch.tensor(g))
    return x.grad.tolist()


def test_worked_example() -> None:
    y = bwn()(V)
    assert y.tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5, -0.5]
    # float32 sums of six terms
    assert ((y - V) ** 2).sum().item() == pytest.approx(0.7, abs=1e-6)


# float32 sums of six terms
def test_worked_gradients() -> None:
    ones = [1.0] * 6
    assert gradient("identity", ones) == ones
    assert gradient("exact", ones) == pytest.approx([0.5] * 6, abs=1e-6)
    assert gradient("xnor_paper", ones) == pytest.approx([2 / 3] * 6, abs=1e-6)
    expected = [7 / 6, 5 / 3, -2 / 3, -7 / 6, -1 / 6, 7 / 6]
    assert gradient("exact", [1.0, 2.0, 0.0, -1.0, 1.0, 1.0]) == pytest.approx(expected, abs=1e-6)


def test_exact_gradient_is_the_derivative_of_the_scale() -> None:
    """With weights beyond 1, where the sign's surrogate is 0, only db/dw is left: compare with finite differences."""
    w = torch.tensor([-3.0, 1.5, 2.0, -1.25], dtype=torch.float64)
    g = torch.tensor([0.3, -0.2, 0.7, 0.4], dtype=torch.float64)
    x = w.clone().requires_grad_()
    bwn(w, scale_grad="exact")(x).backward(g)
    numeric = []
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-6
        numeric.append(((bwn(w)(w + step) - bwn(w)(w - step)) @ g).item() / 2e-6)
    # central differences of a function that is linear here: only rounding, 1e-16 / 1e-6, remains
    torch.testing.assert_close(x.grad, torch.tensor(numeric, dtype=torch.float64), rtol=0, atol=1e-8)


def test_claim_scale_is_the_least_squares_optimum() -> None:
    for seed in range(5):
        w = torch.randn(4, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        q = quantizer("bwn")
        q.calibrate(w)
        y = q(w)
        error = ((y - w) ** 2).sum(1)
        for factor in (0.9, 0.99, 1.01, 1.1):
            assert (((factor * y - w) ** 2).sum(1) > error).all()
        # the published residual: sum w^2 - (sum |w|)^2 / N
        torch.testing.assert_close(error, (w**2).sum(1) - w.abs().sum(1) ** 2 / 30)


def test_claim_scaled_signs_beat_plain_signs() -> None:
    w = 0.1 * torch.randn(64, 144, generator=torch.Generator().manual_seed(0))
    plain = quantizer("sign")
    plain.calibrate(w)
    assert ((bwn(w)(w) - w) ** 2).mean() < 0.1 * ((plain(w) - w) ** 2).mean()


def test_one_scale_a_filter_by_default() -> None:
    q = quantizer("bwn")
    w = torch.tensor([[1.0, -1.0], [3.0, 5.0]])
    q.calibrate(w)
    assert q(w).tolist() == [[1, -1], [4, 4]]


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="bwn's scale_grad is 'best', allowed are identity, exact, xnor_paper"):
        quantizer({"method": "bwn", "scale_grad": "best"})
    with pytest.raises(ValueError, match=r"bwn computes its scale from the weight: call grid\(weight\)"):
        bwn().grid()
