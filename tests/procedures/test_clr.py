"""The discrete cyclical learning rate: worked rates, resume, and what else may not set the rate."""

import pytest
import torch

from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, combine, procedure
from tests.procedures.loops import prepared, run_of, same, step, train, trained_twice


def test_worked_rates():
    """METHODS 4: 1e-3, 3.1623e-4, 1e-4, 3.1623e-5, 1e-5, then back up; 40 epochs are 5 cycles of 8."""
    clr = procedure("clr")
    rates = [1e-3 * clr.factor(epoch, 40) for epoch in range(16)]
    cycle = [1e-3, 3.1623e-4, 1e-4, 3.1623e-5, 1e-5, 3.1623e-5, 1e-4, 3.1623e-4]
    assert rates == pytest.approx(2 * cycle, rel=1e-4)


def test_the_optimizer_has_the_rate_of_each_step_in_all_groups():
    model = prepared("lsq:2", "lsq:2")
    run = run_of(model, epochs=8)  # 32 steps
    run.optimizer.param_groups[1]["lr"] = 0.5
    both = combine(Procedure(), [procedure("clr", cycles=2)])  # a rate lasts two steps
    both.start(run)
    seen = []
    for epoch in range(8):
        for batch in run.batches.epoch(epoch):
            seen.append([group["lr"] for group in run.optimizer.param_groups])
            step(both, run, batch)
    factors = [10 ** (-abs(4 - abs(n % 8 - 4) - 0) / 2) for n in range(16) for _ in range(2)]
    assert [rate for rate, _ in seen] == pytest.approx([0.01 * factor for factor in factors])
    assert [rate for _, rate in seen] == pytest.approx([0.5 * factor for factor in factors])


def test_a_period_in_steps():
    clr = procedure("clr", period=3000)
    assert [clr.factor(step, 15000) for step in (0, 374, 375, 1500, 3000)] == pytest.approx([1, 1, 0.1**0.5, 0.01, 1])


def test_resume_gives_the_same_network():
    def make():
        return prepared("lsq:2", "lsq:2")

    assert same(*trained_twice(make, lambda: combine(Procedure(), [procedure("clr", cycles=1)])))


def test_another_scheduler_is_refused():
    run = run_of(prepared())
    both = combine(Procedure(), [procedure("clr", cycles=1)])
    both.start(run)
    batch = next(run.batches.epoch(0))
    step(both, run, batch)
    run.optimizer.param_groups[0]["lr"] = 0.3
    with pytest.raises(InvalidInput, match=r"clr: the learning rate was set to 0\.01 and is 0\.3; something else"):
        step(both, run, batch)


@pytest.mark.parametrize("settings", [{"cycles": 0}, {"period": 7}])
def test_bad_settings(settings):
    with pytest.raises(InvalidInput, match=r"clr: .*allowed are"):
        procedure("clr", **settings)


def test_too_short_a_training_is_refused():
    with pytest.raises(InvalidInput, match="clr: 5 cycles in 12 steps leave a cycle fewer than 8"):
        combine(Procedure(), [procedure("clr")]).start(run_of(prepared()))


def test_the_rate_is_logged():
    rows = train(combine(Procedure(), [procedure("clr", cycles=1)]), run_of(prepared(), 8), 8)
    assert rows[0]["clr"] == pytest.approx(0.1**0.5)
    assert torch.isfinite(torch.tensor([row["clr"] for row in rows])).all()
