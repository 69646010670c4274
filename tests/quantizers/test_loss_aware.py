import itertools

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
PATTERNS = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=7)), dtype=torch.float64)


def aware(method: object, w: torch.Tensor = V, d: torch.Tensor | None = None) -> torch.nn.Module:
    """A calibrated quantizer with curvature d: Adam's second moment is its square."""
    q = quantizer(method)
    if d is not None:
        q.follow(d**2)
    q.calibrate(w)
    return q


def weighed(q: torch.nn.Module, w: torch.Tensor, d: torch.Tensor) -> float:
    return (d * (q(w) - w) ** 2).sum().item()


def test_worked_example_of_lab() -> None:
    q = aware("lab", d=torch.tensor([1.0, 4, 1, 1, 1, 1]))
    # printed with six decimals
    assert q(V).abs().unique().item() == pytest.approx(0.433333, abs=1e-6)
    assert torch.equal(q(V).sign(), V.sign())


@pytest.mark.parametrize(("d", "scale", "kept"), [([1.0] * 6, 0.8, 3), ([1.0, 8, 1, 1, 1, 1], 0.436364, 4)])
def test_worked_examples_of_lat(d: list[float], scale: float, kept: int) -> None:
    y = aware("lat", d=torch.tensor(d))(V)
    assert y.max().item() == pytest.approx(scale, abs=1e-6) and int((y != 0).sum()) == kept


def test_without_curvature_they_are_the_plain_methods() -> None:
    for name, plain in (("lab", "bwn@tensor"), ("lat", {"method": "twn", "threshold": "exact"})):
        for seed in range(5):
            w = torch.randn(50, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(aware(name, w)(w), aware(plain, w)(w))


def test_claim_lat_is_optimal_by_brute_force() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(7, generator=generator, dtype=torch.float64)
        d = torch.rand(7, generator=generator, dtype=torch.float64) * 3 + 0.1
        power = (PATTERNS**2) @ d
        scale = (PATTERNS @ (d * w)) / power.clamp_min(1e-9)
        least = (d * (PATTERNS * scale[:, None] - w) ** 2).sum(1).min().item()
        q = aware("lat", w, d).double()
        q.follow(d**2)
        # curvature carries + 1e-8
        assert weighed(q, w, d) == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize(("name", "plain"), [("lab", "bwn@tensor"), ("lat", {"method": "twn", "threshold": "exact"})])
def test_claim_weighed_error_below_the_plain_method(name: str, plain: object) -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        w, d = torch.randn(300, generator=generator), torch.rand(300, generator=generator) ** 4 + 0.01
        assert weighed(aware(name, w, d), w, d) < weighed(aware(plain, w), w, d)


def test_curvature_is_saved_and_follows_channels() -> None:
    w, d = torch.randn(3, 8), torch.rand(3, 8) + 0.1
    q = aware({"method": "lat", "granularity": "channel"}, w, d)
    fresh = quantizer({"method": "lat", "granularity": "channel"})
    fresh.load_state_dict(q.state_dict())
    assert torch.equal(fresh(w), q(w))
    for i in range(3):
        assert torch.equal(aware("lat", w[i : i + 1], d[i : i + 1])(w[i : i + 1])[0], q(w)[i])


def test_adam_feeds_the_curvature() -> None:
    w = torch.nn.Parameter(V.clone())
    q = aware("lab")
    optimizer = torch.optim.Adam([w], lr=0.01)
    (q(w) * torch.tensor([1.0, 9, 1, 1, 1, 1])).sum().backward()
    optimizer.step()
    q.follow(optimizer.state[w]["exp_avg_sq"])
    assert q.curvature[1] / q.curvature[0] == pytest.approx(9, rel=1e-4)  # + 1e-8 beside 0.03


@pytest.mark.parametrize("name", ["lab", "lat"])
def test_grid_needs_the_weight(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} computes its scale from the weight: call grid\(weight\)"):
        aware(name).grid()
    assert type(aware(name)).weight_limit == 1
