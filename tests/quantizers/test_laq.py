import itertools

import pytest
import torch

from lowbit.quantizers import quantizer
from lowbit.quantizers.search import refined, squared_error

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def laq(bits: int, w: torch.Tensor = V, d: torch.Tensor | None = None, spacing: str = "linear") -> torch.nn.Module:
    q = quantizer({"method": "laq", "bits": bits, "spacing": spacing})
    if d is not None:
        q.follow(d**2)
    q.calibrate(w)
    return q.eval()


def test_two_bits_solve_the_ternary_problem_by_alternation() -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        w, d = torch.randn(100, generator=generator), torch.rand(100, generator=generator) + 0.1
        exact = quantizer("lat")
        exact.follow(d**2)
        exact.calibrate(w)
        errors = [(d * (q(w) - w) ** 2).sum().item() for q in (exact, laq(2, w, d))]
        # never below the exact one but for float32 rounding; 200 starts find it
        assert errors[1] == pytest.approx(errors[0], rel=1e-4)


def test_log_levels_are_powers_of_two() -> None:
    w = torch.randn(500, generator=torch.Generator().manual_seed(0))
    sizes = laq(3, w, spacing="log")(w).abs().unique()
    assert sizes[0] == 0 and torch.allclose(sizes[1:] / sizes[-1], torch.tensor([0.25, 0.5, 1.0]))


def test_claim_alternation_never_raises_the_weighed_error() -> None:
    for seed, spacing in itertools.product(range(5), ("linear", "log")):
        generator = torch.Generator().manual_seed(seed)
        w = torch.randn(1, 80, generator=generator, dtype=torch.float64)
        d = torch.rand(1, 80, generator=generator, dtype=torch.float64)
        units, scale = laq(3, spacing=spacing)._units, torch.tensor([0.3], dtype=torch.float64)
        errors = []
        for _ in range(12):
            errors.append(squared_error(w, scale, units, d).item())
            scale = refined(w, scale, units, d)
        # float64 sums of eighty terms
        assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(errors))


def test_claim_weighed_error_below_the_unweighed_step() -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        w, d = torch.randn(400, generator=generator), torch.rand(400, generator=generator) ** 4 + 0.01
        plain = quantizer("l2:3")
        plain.calibrate(w)
        assert (d * (laq(3, w, d)(w) - w) ** 2).sum() < (d * (plain(w) - w) ** 2).sum()


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="laq's spacing is 'square', allowed are linear, log"):
        laq(3, spacing="square")
    with pytest.raises(ValueError, match="laq with spacing 'log' takes 2 to 5 bits, got 6"):
        laq(6, spacing="log")
