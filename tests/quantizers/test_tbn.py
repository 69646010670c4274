import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def tbn(x: torch.Tensor = V, **options: object) -> torch.nn.Module:
    q = quantizer({"method": "tbn", **options}, role="activation")
    q.calibrate(x)
    return q


def test_worked_example() -> None:
    q = tbn()
    assert (q.threshold * q.mean).item() == pytest.approx(0.2)
    assert q.eval()(V).tolist() == [-1, -1, 0, 1, 1, 0]


def test_gradient_is_that_of_a_hard_tanh() -> None:
    x = torch.tensor([-1.5, -0.5, 0.0, 0.5, 1.5], requires_grad=True)
    tbn()(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_mean_runs_in_training_and_stays_in_eval() -> None:
    q = tbn().train()
    q(3 * V)
    assert q.mean.item() == pytest.approx(0.5 + 0.01 * (1.5 - 0.5))
    before = q.eval().mean.clone()
    q(100 * V)
    assert torch.equal(q.mean, before)


def test_binary_weights_meet_ternary_inputs_by_counting() -> None:
    """popcount(m) - 2 popcount(m & (s xor b)) is the dot product: m where the input is not 0, s and b the signs."""
    generator = torch.Generator().manual_seed(0)
    t = tbn().eval()(torch.randn(64, generator=generator)).int()
    b = torch.randn(64, generator=generator) >= 0
    mask, s = t != 0, t > 0
    assert int(mask.sum() - 2 * (mask & (s ^ b)).sum()) == int((t * (2 * b.int() - 1)).sum())


def test_claim_ternary_activations_keep_more_than_binary_ones() -> None:
    """Correlation with the activation they stand for: 0.9 against the sign's 0.8."""
    x = torch.randn(20000, generator=torch.Generator().manual_seed(1))
    correlation = {}
    for name in ("tbn", "sign"):
        q = quantizer(name, role="activation")
        q.calibrate(x)
        y = q.eval()(x)
        correlation[name] = (x @ y / (x.norm() * y.norm())).item()
    assert correlation["tbn"] > correlation["sign"] + 0.05


@pytest.mark.parametrize("threshold", [-0.1, 10, "exact"])
def test_bad_threshold(threshold: object) -> None:
    with pytest.raises(ValueError, match=r"tbn's threshold is .*, allowed is a number from 0 to below 10"):
        tbn(threshold=threshold)
