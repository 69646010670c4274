import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def dorefa(bits: int, w: torch.Tensor = V, role: str = "weight") -> torch.nn.Module:
    q = quantizer(f"dorefa:{bits}", role=role)
    q.calibrate(w)
    return q


@pytest.mark.parametrize(
    ("bits", "values"),
    [(2, [-1, -1 / 3, 1 / 3, 1 / 3, 1, -1 / 3]), (3, [-1, -3 / 7, 1 / 7, 5 / 7, 1, -1 / 7])],
)
def test_worked_examples(bits: int, values: list[float]) -> None:
    # 2 ulp: one division and one product in float32
    torch.testing.assert_close(dorefa(bits)(V), torch.tensor(values), rtol=2**-22, atol=0)


def test_one_bit_is_a_scaled_sign() -> None:
    assert dorefa(1)(V).tolist() == [-0.5, -0.5, 0.5, 0.5, 0.5, -0.5]


def test_activations_lie_between_zero_and_one() -> None:
    x = torch.tensor([-0.2, 0.0, 0.4, 0.6, 1.0, 1.7], requires_grad=True)
    y = dorefa(2, role="activation")(x)
    y.sum().backward()
    torch.testing.assert_close(y.detach(), torch.tensor([0, 0, 1 / 3, 2 / 3, 1, 1]), rtol=2**-22, atol=0)
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


def test_gradient_is_that_of_the_squashing() -> None:
    """Without the rounding the forward is smooth: its derivative, with the maximum held, by central differences."""
    w = V.double()
    largest = torch.tanh(w).abs().max()
    x = w.clone().requires_grad_()
    g = torch.tensor([0.3, -1, 2, 0.5, -0.7, 1], dtype=torch.float64)
    dorefa(2, w)(x).backward(g)
    step = 1e-6
    numeric = g * (torch.tanh(w + step) - torch.tanh(w - step)) / (2 * step * largest)
    # central differences: third derivative times step^2, and 1e-16 / step of rounding
    torch.testing.assert_close(x.grad, numeric, rtol=0, atol=1e-9)


def test_claim_squashing_beats_min_max_where_weights_have_outliers() -> None:
    """tanh bounds an outlier, so the other weights keep distinct levels; min-max gives them one."""
    w = 0.5 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    w[0] = 40.0
    minmax = quantizer("minmax:3")
    minmax.calibrate(w)
    assert len(dorefa(3, w).encode(w)[1:].unique()) == 8
    assert len(minmax.encode(w)[1:].unique()) <= 2


def test_grid_needs_the_weight() -> None:
    with pytest.raises(ValueError, match=r"dorefa computes its scale from the weight: call grid\(weight\)"):
        dorefa(2).grid()
