import pytest
import torch

from lowbit.quantizers import quantizer

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
