import numpy as np
import pytest
import torch

import lowbit
from lowbit.quantizers import quantizer
from lowbit.runtime.engine import Engine

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def uniform(bits: int, x: torch.Tensor = V, role: str = "weight", **options: object) -> torch.nn.Module:
    q = quantizer({"method": "uniform", "bits": bits, **options}, role=role)
    q.calibrate(x)
    return q


def squares(q: torch.nn.Module, x: torch.Tensor) -> float:
    return ((q(x) - x) ** 2).sum().item()


# 1e-6: float32 products of a step and a small integer
@pytest.mark.parametrize(
    ("bits", "levels", "step", "values"),
    [
        (2, "midtread", 0.8, [-0.8, 0, 0, 0.8, 0.8, 0]),
        (2, "midrise", 0.6, [-0.9, -0.3, 0.3, 0.3, 0.9, -0.3]),
        (3, "midtread", 0.3, [-0.9, -0.3, 0, 0.6, 0.9, -0.3]),
    ],
)
def test_worked_examples(bits: int, levels: str, step: float, values: list[float]) -> None:
    q = uniform(bits, levels=levels, step=step)
    torch.testing.assert_close(q(V), torch.tensor(values), rtol=0, atol=1e-6)


def test_worked_example_unsigned() -> None:
    q = uniform(2, torch.ones(1), "activation", step=0.4)
    x = torch.tensor([-0.5, 0.1, 0.3, 0.7, 3.0, 0.2])  # 0.2 is a tie: half to even gives 0, half up 0.4
    torch.testing.assert_close(q(x), torch.tensor([0, 0, 0.4, 0.8, 1.2, 0]), rtol=0, atol=1e-6)


def test_max_covers_the_largest_value() -> None:
    for bits in (2, 3, 8):
        for levels in ("midtread", "midrise"):
            q = uniform(bits, levels=levels, step="max")
            # one division and one product in float32
            assert q(V).abs().max().item() == pytest.approx(1.0, rel=2**-22)
    assert uniform(4, V.abs(), "activation", step="max")(V.abs()).max().item() == pytest.approx(1.0, rel=2**-22)


@pytest.mark.parametrize("levels", ["midtread", "midrise"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_claim_searched_step_beats_the_maximum_and_every_other(levels: str, bits: int) -> None:
    for seed in range(3):
        w = torch.randn(500, generator=torch.Generator().manual_seed(seed))
        best = uniform(bits, w, levels=levels)
        assert squares(best, w) < 0.8 * squares(uniform(bits, w, levels=levels, step="max"), w)
        for factor in torch.linspace(0.3, 3, 80).tolist():
            other = uniform(bits, w, levels=levels, step=factor * best.step.item())
            # 1e-3: the alternation stops in the valley of its best start; ripples below this may remain
            assert squares(other, w) > (1 - 1e-3) * squares(best, w)


# the optima of midrise grids for a Gaussian are known to the digits shown; quantiles stand for the distribution
@pytest.mark.parametrize(("bits", "step", "decibels"), [(1, 1.5958, 4.40), (2, 0.9957, 9.25), (3, 0.5860, 14.27)])
def test_gaussian_midrise_optimum(bits: int, step: float, decibels: float) -> None:
    x = torch.special.ndtri((torch.arange(50001, dtype=torch.float64) + 0.5) / 50001).float()
    q = uniform(bits, x, levels="midrise")
    assert q.step.item() == pytest.approx(step, rel=2e-3)
    ratio = 10 * torch.log10((x**2).sum() / ((q(x) - x) ** 2).sum())
    assert ratio.item() == pytest.approx(decibels, abs=0.01)


def test_step_stays_in_training() -> None:
    q = uniform(3).train()
    before = q.step.clone()
    q(10 * V)
    assert torch.equal(q.step, before)


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="uniform's levels are 'flat', allowed are midtread, midrise"):
        uniform(2, levels="flat")
    with pytest.raises(ValueError, match="uniform's step is 0, allowed are 'l2', 'max' or a positive number"):
        uniform(2, step=0)
    with pytest.raises(
        ValueError, match="uniform takes 2 or more bits where values are signed, got 1; use levels='mid"
    ):
        uniform(1)
    with pytest.raises(ValueError, match="'midrise' are symmetric about 0; unsigned activations take 'midtread'"):
        uniform(2, V.abs(), "activation", levels="midrise")
    assert len(uniform(1, levels="midrise")(V).unique()) == 2


@pytest.mark.parametrize(
    ("rounding", "units"),
    [
        ("half_even", [-2, -2, 0, 0, 2, 2, 2]),
        ("half_up", [-2, -1, 0, 1, 2, 3, 2]),
        ("half_away", [-3, -2, -1, 1, 2, 3, 2]),
    ],
)
def test_roundings_at_ties(rounding: str, units: list[int]) -> None:
    x = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999998])
    assert uniform(4, step=1, rounding=rounding)(x).tolist() == units


def test_half_up_rounds_the_float_below_a_tie_down() -> None:
    """floor(x + 0.5) would turn 0.49999997 into 1, since the sum is rounded."""
    x = torch.nextafter(torch.tensor([0.5, 1.5]), torch.tensor(0.0))
    assert uniform(4, step=1, rounding="half_up")(x).tolist() == [0, 1]


def test_stochastic_rounding_is_right_on_average_and_still_in_eval() -> None:
    torch.manual_seed(0)
    q = uniform(4, step=1, rounding="stochastic").train()
    x = torch.tensor([0.2, -1.7]).repeat(10_000, 1)
    values = q(x)
    assert set(values.unique().tolist()) == {-2, -1, 0, 1}
    # 5 standard errors of a coin of variance at most 1/4
    assert (values.mean(0) - x[0]).abs().max() < 5 * 0.5 / 100
    assert q.eval()(x[0]).tolist() == [0, -2]


def test_twos_complement_has_one_more_level_below() -> None:
    q = uniform(2, step=0.5, levels="twos_complement")
    assert q(V).tolist() == [-1, -0.5, 0, 0.5, 0.5, 0] and q.grid().code_range == (-2, 1)


@pytest.mark.parametrize("rounding", ["half_up", "half_away", "stochastic"])
def test_activations_of_every_rounding_convert_exactly(rounding: str) -> None:
    """Runtimes round half to even; others become thresholds, found by bisecting the method itself."""
    torch.manual_seed(0)
    method = {"method": "uniform", "bits": 3, "step": 0.25, "rounding": rounding}
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 3))
    model = lowbit.prepare(net, activation=method, first="same", last="same")
    x = torch.arange(-32, 32).reshape(-1, 4) / 8  # every second one is a tie
    model = lowbit.calibrate(model, [x]).eval()
    with torch.no_grad():
        assert np.array_equal(Engine(lowbit.convert(model, x)).run(x.numpy()), model(x).numpy())
