import pytest
import torch

from lowbit.quantizers import quantizer

X = torch.tensor([-0.5, 0.2, 0.6, 1.4])


def pact(bits: int, init: object = "mse", signed: bool | None = False, data: torch.Tensor = X) -> torch.nn.Module:
    q = quantizer({"method": "pact", "bits": bits, "init": init}, role="activation", signed=signed)
    q.calibrate(data)
    return q


def test_worked_example() -> None:
    q = pact(2, init=1.0)
    x = X.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    # one division and one product in float32
    torch.testing.assert_close(y, torch.tensor([0, 1 / 3, 2 / 3, 1]), rtol=2**-22, atol=0)
    assert x.grad.tolist() == [0, 1, 1, 0] and q.alpha.grad.item() == 1


def test_gradient_at_the_ends_of_the_range() -> None:
    q = pact(2, init=1.0)
    x = torch.tensor([0.0, 1.0, 0.9999999], requires_grad=True)
    q(x).sum().backward()
    assert x.grad.tolist() == [1, 0, 1] and q.alpha.grad.item() == 1


def test_signed_form_is_symmetric() -> None:
    q = pact(3, init=0.9, signed=True)
    x = torch.tensor([-2.0, -0.31, 0.0, 0.31, 2.0])
    assert torch.equal(q(-x), -q(x)) and q(x)[-1].item() == pytest.approx(0.9)
    assert q.grid().code_range == (-3, 3)


@pytest.mark.parametrize(("bits", "share"), [(2, 0.5), (3, 0.65), (4, 0.85)])
def test_claim_best_clip_beats_the_maximum(bits: int, share: float) -> None:
    """The fewer levels, the more a clip below the largest of 4,000 half-Gaussian numbers is worth."""
    for seed in range(5):
        x = torch.randn(4000, generator=torch.Generator().manual_seed(seed)).relu()
        best, most = pact(bits, data=x), pact(bits, init=float(x.max()), data=x)
        assert ((best(x) - x) ** 2).mean() < share * ((most(x) - x) ** 2).mean()


def test_best_clip_is_the_best_of_its_hundred() -> None:
    x = torch.randn(1000, generator=torch.Generator().manual_seed(1)).relu()
    q = pact(2, data=x)
    errors = {}
    for clip in (x.max() * torch.linspace(0.01, 1, 100)).tolist():
        errors[clip] = ((pact(2, init=clip, data=x)(x) - x) ** 2).mean().item()
    assert q.alpha.item() == pytest.approx(min(errors, key=errors.get), rel=1e-6)


def test_clip_never_goes_below_zero() -> None:
    q = pact(2, init=1.0)
    with torch.no_grad():
        q.alpha.fill_(-3.0)
    y = q(X)
    assert torch.isfinite(y).all() and (y >= 0).all() and float(q.grid().scale) > 0


def test_training_shrinks_a_clip_that_is_too_wide() -> None:
    """From 10, as from scratch in the paper: L2 on a and the task move it towards the data."""
    x = torch.rand(500, generator=torch.Generator().manual_seed(2))
    q = pact(2, init=10.0).train()
    optimizer = torch.optim.SGD(q.parameters(), lr=0.05, weight_decay=0.1)
    start = ((q(x) - x) ** 2).mean().item()
    for _ in range(600):
        optimizer.zero_grad()
        ((q(x) - x) ** 2).mean().backward()
        optimizer.step()
    assert q.alpha.item() < 1.5 and ((q(x) - x) ** 2).mean().item() < 0.1 * start


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="pact's init is 0, allowed are 'mse' or a positive number"):
        pact(2, init=0)
    with pytest.raises(ValueError, match="pact takes 2 or more bits where values are signed, got 1"):
        pact(1, signed=True)
    with pytest.raises(ValueError, match="pact with one bit met negative values; use two bits, or sign"):
        pact(1, signed=None)
    with pytest.raises(ValueError, match="pact quantizes A, not role 'weight'"):
        quantizer("pact:2")
