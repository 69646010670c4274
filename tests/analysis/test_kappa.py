"""Decibels a bit: METHODS' numbers of known distributions, by their quantiles instead of random draws."""

import pytest
import torch

from lowbit.analysis.kappa import kappa, kappa_table, optimal_sqnr
from tests.analysis.networks import gaussian, linear_chain

SHARES = (torch.arange(2**15, dtype=torch.float64) + 0.5) / 2**15
NORMAL = torch.special.ndtri(SHARES)
LAPLACE = torch.where(SHARES < 0.5, (2 * SHARES).log(), -(2 - 2 * SHARES).log())


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (2 * SHARES - 1, {1: 6.02, 2: 12.04, 4: 24.08, 8: 48.16}),
        (NORMAL, {1: 4.40, 2: 9.25, 3: 14.27, 4: 19.38, 5: 24.57}),
        (LAPLACE, {1: 3.01, 2: 7.07, 3: 11.44, 4: 15.96, 5: 20.60}),
    ],
    ids=["uniform", "normal", "laplace"],
)
def test_best_uniform_quantizers_of_known_distributions(x, expected):
    for bits, value in expected.items():
        assert optimal_sqnr(x, bits) == pytest.approx(value, abs=0.06), bits


def test_slopes():
    assert kappa(2 * SHARES - 1) == pytest.approx(6.02, abs=0.02)
    assert kappa(SHARES) == pytest.approx(6.2, abs=0.1)  # from 0 on, the outer steps are half steps
    assert 4.9 < kappa(NORMAL) < 5.5
    assert kappa(LAPLACE) < kappa(NORMAL)
    assert kappa(torch.zeros(10)) is None


def test_table():
    rows = kappa_table(linear_chain(), gaussian()).rows
    assert [row["layer"] for row in rows] == ["0", "1", "2"]
    assert all(4.8 < row[what] < 5.7 for row in rows for what in ("weight", "activation"))
