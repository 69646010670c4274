"""What holds for every procedure: a hard network that converts, resuming to the last bit, Lightning as a plain loop."""

import signal

import pytest
import torch

from lowbit.procedures import Modifier, Procedure, combine, procedure
from lowbit.training.evaluate import evaluate
from lowbit.training.fit import Plan, fit
from lowbit.training.recipes import OptimizerPart, SchedulePart
from tests.procedures.cases import CASES
from tests.procedures.plain import assert_converts, batches_of, images, resumed, same, started, whole

NAMES = sorted(CASES)


def maker(name):
    methods, settings = CASES[name]
    return (lambda: procedure(name, **settings)), methods


@pytest.mark.parametrize("name", NAMES)
def test_the_network_is_hard_and_converts(name, tmp_path):
    model = whole(*maker(name))
    plain = whole(Procedure, maker(name)[1])
    assert not same(model, plain), "the procedure changed nothing"
    assert_converts(model, tmp_path)


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_training_ends_as_an_uninterrupted_one(name, stop):
    assert same(whole(*maker(name)), resumed(*maker(name), stop=stop))


class Interrupt(Modifier):
    """Stops the training in its third epoch."""

    name = "interrupt"

    def after_step(self, run):
        if run.step == 9:
            signal.raise_signal(signal.SIGINT)


def by_lightning(name, folder, interrupt=False):
    make, methods = maker(name)
    first = make()
    model = started(first, methods)
    rows = fit(
        model,
        batches_of(),
        Plan(epochs=4, optimizer=OptimizerPart(lr=0.01), schedule=SchedulePart(name="constant", warmup=0)),
        procedure=combine(first, [Interrupt()] if interrupt else [Modifier()]),
        evaluate=lambda: evaluate(model, *images()),
        folder=folder,
        accelerator="cpu",
    )
    return model, rows


class Quiet(Interrupt):
    """In its place when the training goes on: state is kept by name."""

    def after_step(self, run):
        pass


@pytest.mark.parametrize("name", NAMES)
def test_lightning_trains_and_resumes_as_the_plain_loop(name, tmp_path, monkeypatch):
    expected = whole(*maker(name), ordered=True)
    with pytest.raises(KeyboardInterrupt):
        by_lightning(name, tmp_path, interrupt=True)
    monkeypatch.setattr(Interrupt, "after_step", Quiet.after_step)
    torch.manual_seed(5)
    model, rows = by_lightning(name, tmp_path, interrupt=True)
    assert len(rows) == 4
    assert same(expected, model)
