"""Binary-Relax: both schedules, the second phase, resume, and a network that converts."""

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from lowbit.quantizers import quantizer
from tests.procedures.loops import blobs, prepared, run_of, same, step, train, trained_twice

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
WITH_FLOAT = {"method": "mixture", "parts": ["minmax:2", "float"], "bits": 2}


def relaxed(parts, **settings):
    """V through a mixture as binary-relax starts it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 1))
    lowbit.prepare(net, weight={"method": "mixture", "bits": 2, "parts": parts}, first="same", last="same")
    lowbit.calibrate(net, [blobs()[0]])
    procedure("binary-relax", **settings).start(run_of(net))
    return net[0].weight_quantizer.train()(V).detach()


def test_worked_examples():
    """METHODS 3.27: omega 3 with the float, and Eq. 8 at omega 1; printed with six decimals."""
    expected = torch.tensor([-1, -0.35, 0.225, 0.325, 0.9, -0.325])
    torch.testing.assert_close(relaxed(["minmax:2", "float"], omega=3), expected, rtol=0, atol=1e-6)
    expected = torch.tensor([-1, -0.302092, 0.169804, 0.428105, 0.9, -0.269804])
    torch.testing.assert_close(relaxed(["minmax:2", "minmax:4", "minmax:8"]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("parts", [["minmax:2", "float"], ["minmax:2", "minmax:4", "minmax:8"]])
def test_the_shares_follow_omega(parts):
    model = prepared(weight={"method": "mixture", "bits": 2, "parts": parts})
    run = run_of(model, epochs=5)
    others = len(parts) - 1
    relax = procedure("binary-relax", growth=2.0)
    figures = train(relax, run, epochs=5, stop=3)
    assert [row["omega"] for row in figures] == [1, 2, 4]
    for omega, row in zip((1, 2, 4), figures, strict=True):
        assert row["soft"] == pytest.approx(others / (omega + others), abs=1e-6)


def test_the_second_phase_is_hard_to_the_step():
    model = prepared(weight=WITH_FLOAT)
    run = run_of(model, epochs=5)  # 20 steps: hard from the 16th on
    relax = procedure("binary-relax")
    relax.start(run)
    soft = []
    for epoch in range(5):
        run.epoch = epoch
        for batch in run.batches.epoch(epoch):
            step(relax, run, batch)
            soft.append(model[0].weight_quantizer.unfinished() > 0)
        relax.epoch_end(run)
    assert soft == [True] * 15 + [False] * 5


def test_the_hard_phase_trains_on_the_grid():
    model = prepared(weight=WITH_FLOAT)
    train(procedure("binary-relax"), run_of(model, epochs=5), epochs=5)
    alone = quantizer("minmax:2")
    weight = model[0].weight.detach()
    alone.calibrate(weight)
    torch.testing.assert_close(model[0].weight_quantizer.train()(weight), alone(weight), rtol=1e-6, atol=1e-7)


def test_short_trainings_may_grow_as_far_as_long_ones():
    relax = procedure("binary-relax", reference_epochs=300)
    assert relax.at(4, 0.5) == pytest.approx(1.02**150)
    assert procedure("binary-relax").at(150, 0.5) == pytest.approx(1.02**150)


def test_activations_mix_too_and_the_network_converts():
    model = prepared(weight="mixture:2", activation={"method": "mixture", "bits": 2, "parts": ["pact:2", "pact:8"]})
    train(procedure("binary-relax"), run_of(model))
    x = blobs()[0]
    program = lowbit.convert(model, x)
    assert torch.equal(torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy())), model.eval()(x))


def test_resume_gives_the_same_network():
    def make():
        return prepared(weight=WITH_FLOAT, activation="mixture:2")

    assert same(*trained_twice(make, lambda: procedure("binary-relax", growth=1.5)))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("lsq:2", "binary-relax: the network has no mixture; prepare it with"),
        (
            {"method": "mixture", "bits": 2, "learned": True},
            "0.weight learns its shares; leave `learned` out",
        ),
        ({**WITH_FLOAT, "parts": ["float", "minmax:2"]}, "the first part of 0.weight is the float; list the qu"),
    ],
)
def test_networks_that_do_not_fit_are_refused(weight, message):
    with pytest.raises(InvalidInput, match=message):
        procedure("binary-relax").start(run_of(prepared(weight=weight)))


@pytest.mark.parametrize("settings", [{"omega": 0}, {"growth": 0.9}, {"hard_from": 0}, {"reference_epochs": 0}])
def test_bad_settings(settings):
    with pytest.raises(InvalidInput, match=r"binary-relax: .*allowed are"):
        procedure("binary-relax", **settings)
