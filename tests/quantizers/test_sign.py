import pytest
import torch

from lowbit.quantizers import quantizer


def test_worked_example() -> None:
    a = torch.tensor([-2.0, -0.5, 0.0, 0.5], requires_grad=True)
    q = quantizer("sign", role="activation")
    q.calibrate(a)
    y = q(a)
    y.sum().backward()
    assert y.tolist() == [-1, -1, 1, 1] and a.grad.tolist() == [0, 1, 1, 1]


def test_worked_example_of_weights() -> None:
    v = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
    q = quantizer("sign")
    q.calibrate(v)
    assert q(v).tolist() == [-1, -1, 1, 1, 1, -1]


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_sign_of_zero_is_one(zero: float) -> None:
    for role in ("weight", "activation"):
        q = quantizer("sign", role=role)
        q.calibrate(torch.ones(1))
        assert q(torch.tensor([zero])).item() == 1 and q.encode(torch.tensor([zero])).item() == 1


def test_gradient_includes_both_ends() -> None:
    x = torch.tensor([-1.0, 1.0, -1.0000001, 1.0000001], requires_grad=True)
    q = quantizer("sign", role="activation")
    q.calibrate(x)
    q(x).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]


def test_claim_sign_keeps_the_direction_of_a_dot_product() -> None:
    """Signs of Gaussian vectors correlate with the vectors by sqrt(2 / pi) = 0.798."""
    x = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    q = quantizer("sign", role="activation")
    q.calibrate(x)
    y = q(x)
    # 0.01: sampling, 1 / sqrt(20000)
    assert (x @ y / (x.norm() * y.norm())).item() == pytest.approx((2 / torch.pi) ** 0.5, abs=0.01)


def test_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="sign has no scale, so nothing to have for each channel; use bwn"):
        quantizer("sign:1@channel")
