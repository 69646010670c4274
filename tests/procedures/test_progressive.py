"""progressive: the bits of each stage, scales searched anew, identities kept."""

import pytest
import torch

import lowbit
from lowbit.calibrate import quantizer_paths
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from lowbit.procedures.widths import set_widths
from tests.procedures.plain import run_of, started, train

METHODS = {"weight": "lsq:2", "activation": "lsq:3", "last": "affine:8"}


def bits(model):
    return sorted({q.bits for q in quantizer_paths(model)})


def test_each_stage_has_its_bits_and_the_last_those_of_the_network():
    ladder = procedure("progressive")
    run = run_of(started(ladder, METHODS), epochs=10)
    ladder.start(run)
    seen = []
    for stop in range(1, 11):
        figures = train(ladder, run, 10, stop=stop)
        run.epoch = stop
        seen.append((figures[0]["bits"], bits(run.model)))
    expected = [(8, [8]), (6, [6, 8]), (4, [4, 8]), (3, [3, 8]), (2, [2, 3, 8])]
    assert seen == [row for row in expected for _ in range(2)]


def test_scales_are_searched_from_the_weights_of_the_stage_before():
    ladder = procedure("progressive", bits=[4, 2])
    run = run_of(started(ladder, METHODS), epochs=2)
    ladder.start(run)
    train(ladder, run, 2, stop=1)
    weight = run.model[3].weight.detach().clone()
    run.epoch = 1
    ladder.epoch_start(run)
    alone = lowbit.quantizer("lsq:2")
    alone.calibrate(weight)
    assert torch.equal(run.model[3].weight, weight)
    assert torch.equal(run.model[3].weight_quantizer.scale, alone.scale)


def test_the_optimizer_keeps_moving_the_scales():
    ladder = procedure("progressive", bits=[4, 2])
    run = run_of(started(ladder, METHODS), epochs=2)
    known = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    ladder.start(run)
    train(ladder, run, 2)
    assert known == {id(p) for p in run.model.parameters()}
    scale = run.model[3].weight_quantizer.scale
    assert run.optimizer.state[scale]["step"] == 4, "the moments of the other grid's scale were kept"


def test_shared_quantizers_stay_shared():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.a(x) + self.b(x)

    model = lowbit.prepare(Two(), weight="lsq:2", activation="lsq:2", first="same", last="same")
    old = model.a.input_quantizer
    assert model.b.input_quantizer is old
    made = set_widths(model, {old: 5})
    assert model.a.input_quantizer is model.b.input_quantizer is made[old]
    assert made[old].bits == 5
    assert made[old].scale is old.scale


@pytest.mark.parametrize("given", [[2, 4], [2, 2], [], [17, 2], [2.0], [True]])
def test_bits_must_fall(given):
    with pytest.raises(InvalidInput, match=r"progressive: bits are .*, allowed are falling whole numbers from 16 to 1"):
        procedure("progressive", bits=given)


@pytest.mark.parametrize(
    ("settings", "methods", "epochs", "message"),
    [
        ({"bits": [8, 3]}, METHODS, 4, "the last of bits is 3, the network's smallest width 2; let them be equal"),
        ({}, {"weight": "twn", "activation": "lsq:8"}, 4, "progressive: no quantizer can have more than the bits"),
        ({}, METHODS, 4, "progressive: its 5 stages need as many epochs, there are 4"),
    ],
)
def test_networks_that_do_not_fit(settings, methods, epochs, message):
    ladder = procedure("progressive", **settings)
    with pytest.raises(ValueError, match=message):
        ladder.start(run_of(started(ladder, methods), epochs))


def test_it_needs_inputs():
    ladder = procedure("progressive")
    run = run_of(started(ladder, METHODS), 5)
    run.batches = None
    with pytest.raises(InvalidInput, match=r"progressive: measures on training inputs; make the run with Run\(batches"):
        ladder.start(run)
