"""inq: which weights freeze when, that they stay, and that all end on powers of two."""

import pytest
import torch

from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from lowbit.procedures.inq import largest
from tests.procedures.plain import run_of, started, train

METHODS = {"weight": "inq:4", "activation": "lsq:3"}
V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def test_the_largest_freeze_first_and_ties_by_index():
    none = torch.zeros(6, dtype=torch.bool)
    half = largest(V, none, 3)
    assert half.tolist() == [True, False, False, True, True, False]
    assert largest(V, half, 5).tolist() == [True, True, False, True, True, True]
    equal = torch.tensor([0.5, -0.5, 0.5, 0.5])
    assert largest(equal, torch.zeros(4, dtype=torch.bool), 2).tolist() == [True, True, False, False]


def test_frozen_weights_have_their_levels_and_stay_whatever_the_optimizer_does():
    inq = procedure("inq")
    run = run_of(started(inq, METHODS), epochs=3, name="sgd", lr=0.1, weight_decay=0.1, momentum=0.9)
    inq.start(run)
    layer, q = run.model[3], run.model[3].weight_quantizer
    smallest = q.smallest.clone()
    seen = []
    for stop in (1, 2, 3):
        run.epoch = stop - 1
        inq.epoch_start(run)
        frozen = inq._frozen["3.weight"].clone()
        levels = layer.weight.detach()[frozen].clone()
        seen.append(float(frozen.float().mean()))
        assert torch.equal(levels, q.eval()(levels))
        assert torch.equal(q.train()(layer.weight), layer.weight), "the others train as floats"
        free = layer.weight.detach()[~frozen].clone()
        train(inq, run, 3, stop=stop)
        assert torch.equal(layer.weight.detach()[frozen], levels)
        if stop < 3:
            assert not torch.equal(layer.weight.detach()[~frozen], free)
    assert seen == pytest.approx([0.5, 0.75, 0.875], abs=0.005)
    assert torch.equal(q.smallest, smallest), "n1 is fixed at the start"


def test_all_weights_end_on_powers_of_two():
    inq = procedure("inq")
    run = run_of(started(inq, METHODS))
    inq.start(run)
    figures = train(inq, run)
    for i in (0, 3, 7):
        weight = run.model[i].weight.detach()
        powers = torch.log2(weight[weight != 0].abs().double())
        assert torch.equal(powers, powers.round())
        assert torch.equal(run.model[i].weight_quantizer.train()(weight), weight)
    assert [row["frozen"] for row in figures] == pytest.approx([0.5, 0.5, 0.75, 0.875], abs=0.005)


def test_it_refuses():
    for fractions in ([0.5, 0.25, 1], [0.5, 0.9], [1], [0, 1], []):
        with pytest.raises(InvalidInput, match=r"inq: fractions are \[.*\], allowed are two or more rising numbers"):
            procedure("inq", fractions=fractions)
    inq = procedure("inq")
    with pytest.raises(InvalidInput, match="inq: no layer has weights by inq; prepare it with weight='inq:5'"):
        inq.start(run_of(started(inq, {"weight": "lsq:3", "activation": "lsq:3"})))
    with pytest.raises(InvalidInput, match="inq: its 3 stages need as many epochs, there are 2"):
        inq.start(run_of(started(inq, METHODS), epochs=2))
