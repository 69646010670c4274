import itertools

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def admm(bits: int, w: torch.Tensor = V, levels: object = None) -> torch.nn.Module:
    q = quantizer({"method": "admm", "bits": bits, "levels": levels})
    q.calibrate(w)
    return q.eval()


def squares(q: torch.nn.Module, w: torch.Tensor) -> float:
    return ((q(w) - w) ** 2).sum().item()


# printed with six decimals
@pytest.mark.parametrize(
    ("bits", "levels", "scale", "units", "error"),
    [
        (1, None, 0.5, [-1, -1, 1, 1, 1, -1], 0.7),
        (2, None, 0.8, [-1, 0, 0, 1, 1, 0], 0.28),
        (3, (-2, -1, 0, 1, 2), 0.46, [-2, -1, 0, 1, 2, 0], 0.084),
        (3, None, 0.239474, [-4, -1, 0, 2, 4, -1], 0.020789),
    ],
)
def test_worked_examples(bits: int, levels: object, scale: float, units: list[int], error: float) -> None:
    q = admm(bits, levels=levels)
    assert q.alpha.item() == pytest.approx(scale, abs=1e-6)
    assert q.units(V)[0].tolist() == units
    assert squares(q, V) == pytest.approx(error, abs=1e-6)


def test_middles_go_towards_zero() -> None:
    q = admm(3)
    q.alpha.fill_(1.0)
    x = torch.tensor([-3.0, -1.5, -0.5, 0.0, 0.5, 1.5, 3.0])
    assert q(x).tolist() == [-2, -1, 0, 0, 0, 1, 2]


@pytest.mark.parametrize(("bits", "levels"), [(1, None), (2, None), (3, None), (3, (-2, -1, 0, 1, 2))])
def test_claim_every_larger_set_is_better_and_min_max_is_worse(bits: int, levels: object) -> None:
    w = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    minmax = quantizer(f"minmax:{bits}")
    minmax.calibrate(w)
    assert squares(admm(bits, w, levels), w) < 0.8 * squares(minmax, w)


def test_claim_larger_sets_have_smaller_errors() -> None:
    w = torch.randn(3000, generator=torch.Generator().manual_seed(1))
    errors = [squares(q, w) for q in (admm(1, w), admm(2, w), admm(3, w, (-2, -1, 0, 1, 2)), admm(3, w))]
    assert all(b < 0.8 * a for a, b in itertools.pairwise(errors[:3])) and errors[3] < errors[2]


@pytest.mark.parametrize("levels", [(1, 0, -1), (-1, 1, 1), (-1, 0, 2), (0,), 3, (-0.5, 0.5), tuple(range(-4, 5))])
def test_bad_level_sets(levels: object) -> None:
    with pytest.raises(ValueError, match=r"admm's levels are .*, allowed are 2 to 8 ascending integers, symmetric"):
        quantizer({"method": "admm", "bits": 3, "levels": levels})
