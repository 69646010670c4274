"""The share of weights that changed their sign: worked values, in a loop, and over an interruption."""

import pytest
import torch

from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, combine, procedure
from lowbit.procedures.sign_flips import flipped
from tests.procedures.loops import prepared, run_of, train, trained_twice


def test_worked_values():
    assert flipped(torch.tensor([True, True, False, False]), torch.tensor([0.0, -1.0, -1.0, -1.0])) == 0.25


def test_it_counts_over_all_layers():
    model = prepared("bwn")
    run = run_of(model)
    flips = procedure("sign-flips")
    flips.start(run)
    flips.epoch_end(run)
    assert run.figures["sign_flips"] == 0
    with torch.no_grad():
        model[3].weight.neg_()
    flips.epoch_end(run)
    assert run.figures["sign_flips"] == pytest.approx(64 / (48 + 64 + 16))
    flips.epoch_end(run)
    assert run.figures["sign_flips"] == 0


def test_smaller_steps_flip_fewer_signs():
    shares = {}
    for lr in (0.3, 0.001):
        figures = train(combine(Procedure(), [procedure("sign-flips")]), run_of(prepared("bwn"), 4, lr=lr), 4)
        shares[lr] = sum(row["sign_flips"] for row in figures) / len(figures)
    assert shares[0.001] < shares[0.3] / 2


def test_it_goes_on_after_an_interruption():
    found = []

    def make():
        found.append(combine(Procedure(), [procedure("sign-flips")]))
        return found[-1]

    trained_twice(lambda: prepared("bwn"), make)
    whole, _, resumed = found
    assert all(torch.equal(a, b) for a, b in zip(_signs(whole), _signs(resumed), strict=True))


def _signs(combination):
    return combination.state_dict()["sign-flips"]["signs"].values()


def test_float_weights_are_refused():
    with pytest.raises(InvalidInput, match="sign-flips: no layer has quantized weights"):
        procedure("sign-flips").start(run_of(prepared(None, "lsq:2")))
