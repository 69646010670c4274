"""shin: steps follow the weights at their time, and bits fall gradually."""

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from tests.procedures.plain import run_of, started, train

METHODS = {"weight": "l2:3", "activation": "lsq:3"}
V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def test_worked_example():
    """METHODS 3.12: after w = -1.1 V, D = 0.3 becomes 0.33."""
    net = torch.nn.Sequential(torch.nn.Linear(6, 1))
    net[0].weight.data = V[None].clone()
    lowbit.prepare(net, weight="l2:3", activation=None, first="same", last="same")
    run = run_of(net)
    shin = procedure("shin")
    shin.start(run)
    step = net[0].weight_quantizer.step
    assert float(step) == pytest.approx(0.3)
    net[0].weight.data = -1.1 * V[None]
    shin.epoch_end(run)
    assert float(step) == pytest.approx(0.33)


@pytest.mark.parametrize(("interval", "moves"), [(None, [4, 8]), (3, [3, 6])])
def test_steps_move_at_their_time(interval, moves):
    shin = procedure("shin", interval=interval)
    run = run_of(started(shin, METHODS), epochs=2)
    shin.start(run)
    step = run.model[3].weight_quantizer.step
    seen, last = [], step.clone()
    for epoch in (0, 1):
        shin.epoch_start(run)
        for x, y in run.batches.epoch(epoch):
            run.optimizer.zero_grad()
            shin.loss(run, (x, y), run.model(x)).backward()
            run.optimizer.step()
            run.step += 1
            shin.after_step(run)
            if run.step % 4 == 0:
                shin.epoch_end(run)
            if not torch.equal(step, last):
                seen.append(run.step)
                last = step.clone()
    assert seen == moves


def test_an_estimate_never_raises_the_squared_error():
    q = lowbit.quantizer("l2:3@channel")
    weight = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    q.calibrate(weight)
    moved = 0.7 * weight + 0.1
    before = (q(moved) - moved).square().sum(1)
    q.step.copy_(q.nearer(moved))
    assert bool(((q(moved) - moved).square().sum(1) <= before + 1e-6).all())


def test_gradual_bits_are_those_of_weights_alone():
    shin = procedure("shin", gradual=True)
    run = run_of(started(shin, METHODS))
    shin.start(run)
    seen = []
    for stop in (1, 2, 3, 4):
        figures = train(shin, run, stop=stop)
        run.epoch = stop
        seen.append((figures[0]["bits"], run.model[3].weight_quantizer.bits, run.model[3].input_quantizer.bits))
    assert seen == [(8, 8, 3), (6, 6, 3), (4, 4, 3), (3, 3, 3)]


def test_it_refuses():
    with pytest.raises(InvalidInput, match="shin: interval is 0, allowed are whole numbers of steps from 1, or null"):
        procedure("shin", interval=0)
    with pytest.raises(InvalidInput, match=r"shin: bits are \[2, 4\], allowed are falling whole numbers"):
        procedure("shin", gradual=[2, 4])
    shin = procedure("shin")
    with pytest.raises(InvalidInput, match="shin: no layer has weights by l2; prepare it with weight='l2:3'"):
        shin.start(run_of(started(shin, {"weight": "lsq:3", "activation": "lsq:3"})))
    with pytest.raises(InvalidInput, match="shin: 0 has adaptive-l2, which follows its weights by itself; use l2"):
        shin.start(run_of(started(shin, {**METHODS, "weight": "adaptive-l2:3"})))
