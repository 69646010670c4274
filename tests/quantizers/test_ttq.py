import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def ttq(w: torch.Tensor = V, threshold: float = 0.25) -> torch.nn.Module:
    q = quantizer({"method": "ttq", "threshold": threshold})
    q.calibrate(w)
    return q


def test_worked_example() -> None:
    q = ttq()
    x = V.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    # float32 means of two and three numbers
    torch.testing.assert_close(y.detach(), torch.tensor([-0.65, -0.65, 0, 0.7, 0.7, 0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.grad, torch.tensor([0.65, 0.65, 1, 0.7, 0.7, 1]), rtol=0, atol=1e-6)
    assert q.positive.grad.item() == 2 and q.negative.grad.item() == -2


def test_levels_start_at_the_mean_of_their_side() -> None:
    q = ttq(torch.tensor([0.5, 0.7, -0.1]), 0.2)
    assert q.positive.item() == pytest.approx(0.6)
    assert q.negative.item() == pytest.approx(0.14)  # an empty side: the threshold


def test_levels_stay_positive() -> None:
    q = ttq()
    with torch.no_grad():
        q.positive.fill_(-1.0)
    y = q(V)
    assert (y[V > 0.25] > 0).all() and (y[V < -0.25] < 0).all()


def test_claim_trained_levels_beat_symmetric_ones_on_skewed_weights() -> None:
    w = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    w = torch.where(w > 0, 2 * w, w)
    twn = quantizer({"method": "twn", "threshold": "exact"})
    twn.calibrate(w)
    q = ttq(w, 0.15)
    with torch.no_grad():
        q.positive.mul_(0.5), q.negative.mul_(2)
    first = ((q(w) - w) ** 2).mean().item()
    optimizer = torch.optim.Adam(q.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        ((q(w) - w) ** 2).mean().backward()
        optimizer.step()
    trained = ((q(w) - w) ** 2).mean().item()
    assert trained < 0.7 * first and trained < ((twn(w) - w) ** 2).mean().item()


@pytest.mark.parametrize("threshold", [-0.1, 1, "exact", None])
def test_bad_threshold(threshold: object) -> None:
    with pytest.raises(ValueError, match=r"ttq's threshold is .*, allowed is a number from 0 to below 1"):
        quantizer({"method": "ttq", "threshold": threshold})
