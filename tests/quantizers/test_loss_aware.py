import itertools

import numpy as np
import pytest
import torch

import lowbit
from lowbit.quantizers import quantizer
from lowbit.runtime.engine import Engine

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


def test_approximate_lat_descends_to_a_fixed_point_near_the_exact_one() -> None:
    worse = 0
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        w, d = torch.randn(300, generator=generator), torch.rand(300, generator=generator) + 0.05
        exact = weighed(aware("lat", w, d), w, d)
        found = aware({"method": "lat", "solution": "approximate"}, w, d)
        assert weighed(found, w, d) >= exact * (1 - 1e-6)
        worse += weighed(found, w, d) > 1.01 * exact
        kept = found(w) != 0
        # the level is the weighed mean of what it stands for; d carries 1e-8, sums are float64, the level float32
        assert found(w).max().item() == pytest.approx(((d * w.abs())[kept].sum() / d[kept].sum()).item(), rel=1e-5)
    assert worse <= 2


def test_two_scales_solve_each_side_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(200, generator=generator)
    w = torch.where(w > 0, 3 * w, w)
    d = torch.rand(200, generator=generator) + 0.1
    two = aware({"method": "lat", "scales": 2}, w, d)
    y = two(w)
    for side in (w > 0, w < 0):
        alone = aware("lat", w[side], d[side])
        torch.testing.assert_close(y[side], alone(w[side]))
    assert weighed(two, w, d) < weighed(aware("lat", w, d), w, d)
    x = w.clone().requires_grad_()
    two(x).sum().backward()
    assert torch.equal(x.grad, torch.ones(200))


def test_two_scales_without_one_side() -> None:
    for w in (V.abs(), -V.abs(), torch.zeros(4)):
        y = aware({"method": "lat", "scales": 2}, w)(w)
        assert torch.isfinite(y).all() and ((y == 0) | (y.sign() == w.sign())).all()


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_two_scales_convert_exactly(granularity: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 5, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(80, 3))
    method = {"method": "lat", "scales": 2, "granularity": granularity}
    x = torch.randn(3, 2, 6, 6)
    model = lowbit.calibrate(lowbit.prepare(net, weight=method, first="same", last="same"), [x]).eval()
    program = lowbit.convert(model, x)
    with torch.no_grad():
        assert np.array_equal(Engine(program).run(x.numpy()), model(x).numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solution": "best"}, "lat's solution is 'best', allowed are exact, approximate"),
        ({"scales": 3}, "lat's scales are 3, allowed are 1 and 2"),
    ],
)
def test_bad_options_of_lat(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantizer({"method": "lat", **options})
