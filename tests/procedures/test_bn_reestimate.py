"""BatchNorm statistics measured again: the average over batches, nothing else moves, hard quantizers, refusals."""

import pytest
import torch
from torch import nn

from lowbit.data import Batches
from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, combine, procedure
from lowbit.procedures.bn_reestimate import reestimate
from tests.procedures.loops import prepared, run_of, same, train


def expected_of(model, batches, count):
    """Mean and unbiased variance of what enters the norm, averaged over batches by hand, in eval arithmetic."""
    means, variances = [], []
    model.eval()
    while len(means) < count:
        for x, _ in batches:
            if len(means) < count:
                y = model[0](x).detach()
                means.append(y.mean(0))
                variances.append(y.var(0))
    return torch.stack(means).mean(0), torch.stack(variances).mean(0)


@pytest.mark.parametrize("count", [3, 4, 10])
def test_statistics_are_averages_over_the_batches(count):
    model = prepared("lsq:2", "lsq:2")
    batches = run_of(model).batches
    mean, variance = expected_of(model, batches, count)
    reestimate(model, batches, count)
    torch.testing.assert_close(model[1].running_mean, mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model[1].running_var, variance, rtol=1e-5, atol=1e-6)
    assert int(model[1].num_batches_tracked) == count


def test_nothing_else_moves():
    """Min-max ranges follow their inputs in training; here they are frozen. Modes and momenta come back."""
    model = prepared("minmax:2", "minmax:2").train()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    reestimate(model, run_of(model).batches)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert model.training and model[3].weight_quantizer.training and not model[2].training
    assert model[1].momentum == 0.1
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())


def test_mixtures_are_hard_while_they_are_measured():
    model = prepared("mixture:2", "lsq:4").train()
    mean, _ = expected_of(prepared("mixture:2", "lsq:4"), run_of(model).batches, 4)
    reestimate(model, run_of(model).batches, 4)
    torch.testing.assert_close(model[1].running_mean, mean, rtol=1e-5, atol=1e-6)


def test_it_acts_after_the_last_step_alone():
    plain, modified = prepared("lsq:2", "lsq:2"), prepared("lsq:2", "lsq:2")
    both = combine(Procedure(), [procedure("bn-reestimate", batches=4)])
    first, second = run_of(plain), run_of(modified)
    train(Procedure(), first, stop=2)
    train(both, second, stop=2)
    assert same(plain.state_dict(), modified.state_dict())
    first.epoch = second.epoch = 2
    train(Procedure(), first, start=False)
    train(both, second, start=False)
    changed = {n for n, value in plain.state_dict().items() if not torch.equal(value, modified.state_dict()[n])}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def augmented(run):
    """The run with batches whose inputs are all zero in training, and themselves without augmentation."""
    x, y = (torch.cat(parts) for parts in zip(*run.batches, strict=True))
    run.batches = Batches(x, y, size=16, augment=[lambda x, draws: torch.zeros_like(x)])
    run.step = run.steps_total
    return run


def test_inputs_are_not_augmented_unless_asked_for():
    run = augmented(run_of(prepared("lsq:2", "lsq:2")))
    plain, _ = expected_of(run.model, list(run.batches.plain()), 4)
    changed, _ = expected_of(run.model, list(run.batches), 4)
    for settings, expected in (({}, plain), ({"augmented": True}, changed)):
        procedure("bn-reestimate", batches=4, **settings).epoch_end(run)
        torch.testing.assert_close(run.model[1].running_mean, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(plain, changed)


def test_without_a_training_it_acts_at_once():
    run = run_of(prepared("lsq:2", "lsq:2"))
    run.steps_total = 0
    mean, _ = expected_of(run.model, run.batches, 4)
    combine(Procedure(), [procedure("bn-reestimate", batches=4)]).start(run)
    torch.testing.assert_close(run.model[1].running_mean, mean, rtol=1e-5, atol=1e-6)


def test_refusals():
    run = run_of(prepared())
    run.batches = None
    with pytest.raises(InvalidInput, match=r"bn-reestimate: the run has no training batches; make it with Run\("):
        procedure("bn-reestimate").start(run)
    with pytest.raises(InvalidInput, match="bn-reestimate: the network has no BatchNorm with running statistics"):
        procedure("bn-reestimate").start(run_of(prepared(norm=False)))
    with pytest.raises(InvalidInput, match=r"bn-reestimate: batches is 0, allowed are whole numbers from 1"):
        procedure("bn-reestimate", batches=0)
    with pytest.raises(InvalidInput, match="the run's batches give nothing; make them iterable again"):
        reestimate(nn.Sequential(nn.BatchNorm1d(1)), [])
    with pytest.raises(InvalidInput, match=r"augmented of modifier 'bn-reestimate' is 'maybe': it should be a boolean"):
        procedure("bn-reestimate", augmented="maybe")
