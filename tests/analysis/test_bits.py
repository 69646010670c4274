"""The closed form against METHODS' worked numbers, the greedy search against all combinations."""

import itertools
import math

import pytest
import torch

from lowbit.analysis.bits import closed_form, rounded_up, within_cost, within_error
from lowbit.errors import InvalidInput


def test_worked_example():
    """kappa 5, 20 dB, (1000, 8000, 1000): 6, 4.1938, 6 bits; 45,551 bits against 49,542 with equal bits."""
    bits = closed_form([1000, 8000, 1000], 20.0)
    assert bits == pytest.approx([6.0, 4.1938, 6.0], abs=1e-4)
    assert sum(b * n for b, n in zip(bits, [1000, 8000, 1000], strict=True)) == pytest.approx(45551, abs=1)
    equal = closed_form([1, 1, 1], 20.0)
    assert 10000 * equal[0] == pytest.approx(49542, abs=1)
    assert rounded_up(bits) == [6, 5, 6]


def test_the_closed_form_meets_the_target_and_is_optimal():
    counts, kappa = [10, 400, 50], 5.5
    bits = closed_form(counts, 25.0, kappa)
    assert sum(10 ** (-kappa * b / 10) for b in bits) == pytest.approx(10**-2.5)
    assert bits[0] - bits[1] == pytest.approx(10 / kappa * math.log10(400 / 10))


@pytest.mark.parametrize("seed", range(8))
def test_greedy_is_feasible_and_near_the_best_of_all(seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = {name: int(torch.randint(10, 500, (1,), generator=generator)) for name in "abcd"}
    scale = {name: 10 ** float(2 * torch.rand(1, generator=generator)) for name in "abcd"}
    errors = {name: {bits: scale[name] * 4.0**-bits for bits in (2, 3, 4, 6, 8)} for name in "abcd"}

    def cost(bits):
        return sum(sizes[name] * count for name, count in bits.items())

    everything = [dict(zip("abcd", bits, strict=True)) for bits in itertools.product((2, 3, 4, 6, 8), repeat=4)]
    limit = 4.2 * sum(sizes.values())
    found = within_cost(errors, cost, limit)
    total = {id(bits): sum(errors[n][b] for n, b in bits.items()) for bits in [*everything, found]}
    best = min((bits for bits in everything if cost(bits) <= limit), key=lambda bits: total[id(bits)])
    assert cost(found) <= limit and total[id(found)] <= 1.5 * total[id(best)]
    aim = 0.05 * sum(scale.values()) / 4
    found = within_error(errors, cost, aim)
    cheapest = min(cost(b) for b in everything if sum(errors[n][k] for n, k in b.items()) <= aim)
    assert sum(errors[n][k] for n, k in found.items()) <= aim and cost(found) <= 1.15 * cheapest


def test_what_cannot_be_kept_is_refused():
    errors = {"a": {2: 1.0, 4: 0.5}}
    with pytest.raises(InvalidInput, match="the fewest bits need 2"):
        within_cost(errors, lambda bits: bits["a"], 1)
    with pytest.raises(InvalidInput, match=r"the most bits have 0\.5; aim lower"):
        within_error(errors, lambda bits: bits["a"], 0.1)
    with pytest.raises(InvalidInput, match="give counts from 1"):
        closed_form([], 20.0)
