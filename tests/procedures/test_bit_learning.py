"""bit-learning: penalties, budgets that hold in the end, frozen whole widths."""

import math

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from lowbit.procedures.learned_bits import Cost, learned, rounded_widths, whole
from tests.procedures.plain import assert_converts, run_of, started, train

PRUNING = {"weight": "bitpruning:8", "activation": "bitpruning:8"}
STEPS = {"weight": "dqdnn:6", "activation": "dqdnn:6"}
WEIGHTS, PRODUCTS = (54, 324, 288), (54 * 36, 324 * 16, 288)


def begun(methods=PRUNING, epochs=4, **settings):
    learning = procedure("bit-learning", **settings)
    run = run_of(started(learning, methods), epochs)
    learning.start(run)
    return learning, run


def test_costs_are_counted():
    _, run = begun(gamma=1)
    cost = Cost(run.model)
    assert float(cost.size(lambda q: 4 if q.role == "weight" else 1)) == sum(WEIGHTS) / 2
    assert float(cost.operations(lambda q: 4 if q.role == "weight" else 3)) == 12 * sum(PRODUCTS)


@pytest.mark.parametrize("share", ["tensors", "weights", "operations"])
def test_the_penalty_on_widths_is_the_formula(share):
    learning, run = begun(gamma=0.5, share=share)
    widths = [5.5, 3.25, 7.0]
    for i, n in zip((0, 3, 7), widths, strict=True):
        run.model[i].weight_quantizer.width.data.fill_(n)
    if share == "tensors":
        expected = (sum(widths) + 3 * 8) / 6
    elif share == "weights":
        expected = sum(n * w for n, w in zip(widths, WEIGHTS, strict=True)) / sum(WEIGHTS)
    else:
        expected = sum((n + 8) * p for n, p in zip(widths, PRODUCTS, strict=True)) / (2 * sum(PRODUCTS))
    assert learning.penalty().item() == pytest.approx(0.5 * expected)


def test_the_penalty_on_a_budget_is_the_formula():
    learning, run = begun(STEPS, size=300, operations=1e5, strength=3)
    bits = {name: float(q.smooth_bits().detach()) for name, q in learned(run.model).items()}
    q = run.model[3].weight_quantizer
    assert bits["3.weight"] == pytest.approx(math.log2(float((q.limit / q.step).detach()) + 1) + 1)
    size = sum(bits[f"{i}.weight"] * w / 8 for i, w in zip((0, 3, 7), WEIGHTS, strict=True))
    count = sum(bits[f"{i}.weight"] * bits[f"{i}.activation"] * p for i, p in zip((0, 3, 7), PRODUCTS, strict=True))
    expected = 3 * ((size / 300 - 1) ** 2 + (count / 1e5 - 1) ** 2)
    assert learning.penalty().item() == pytest.approx(expected, rel=1e-5)
    learning.penalty().backward()
    assert float(q.step.grad) < 0, "a larger step is a narrower grid"
    loose, _ = begun(STEPS, size=1e9)
    assert loose.penalty().item() == 0


def test_widths_shrink_under_the_penalty_and_end_whole(tmp_path):
    learning, run = begun(gamma=1.0, freeze_at=0.5, speed=40)
    figures = train(learning, run)
    assert figures[0]["bits_weight"] > figures[1]["bits_weight"]
    assert figures[2]["bits_weight"] == figures[3]["bits_weight"], "frozen"
    for name, q in learned(run.model).items():
        assert float(q.width.detach()) == whole(q) < 8, name
        assert q.unfinished() == 0
    assert learning.report(run.model)["bits"]["3.weight"] == whole(run.model[3].weight_quantizer)
    assert_converts(run.model, tmp_path)


@pytest.mark.parametrize("methods", [PRUNING, STEPS])
@pytest.mark.parametrize(
    "settings", [{"size": 250}, {"operations": 6e4}, {"size": 200, "operations": 9e4, "freeze_at": 1}]
)
def test_budgets_hold_in_the_end(methods, settings, tmp_path):
    learning, run = begun(methods, **settings)
    train(learning, run)
    cost = Cost(run.model)
    assert float(cost.size(whole)) <= settings.get("size", math.inf)
    assert float(cost.operations(whole)) <= settings.get("operations", math.inf)
    assert_converts(run.model, tmp_path)


def test_rounding_up_and_then_the_least_loss_first():
    _, run = begun(gamma=1)
    for i, n in zip((0, 3, 7), (3.9, 4.1, 5.0), strict=True):
        run.model[i].weight_quantizer.width.data.fill_(n)
    up = rounded_widths(run.model)
    assert [up[run.model[i].weight_quantizer] for i in (0, 3, 7)] == [4, 5, 5]
    full = (54 * 4 + 324 * 5 + 288 * 5) / 8
    less = rounded_widths(run.model, size=full - 1)
    assert [less[run.model[i].weight_quantizer] for i in (0, 3, 7)] == [4, 4, 5]
    assert [less[run.model[i].input_quantizer] for i in (0, 3, 7)] == [8, 8, 8]


@pytest.mark.parametrize(("signed", "bits"), [(True, 3), (False, 2), (True, 2), (False, 1)])
@pytest.mark.parametrize("trained", ["step, range", "width, step", "width, range"])
@pytest.mark.parametrize("power_of_two", [False, True])
def test_dqdnn_takes_a_whole_width(signed, bits, trained, power_of_two):
    spec = {"method": "dqdnn", "bits": 5, "trained": trained, "power_of_two": power_of_two}
    q = lowbit.quantizer(spec, role="weight" if signed else "activation", signed=signed)
    q.calibrate(torch.linspace(-0.7 if signed else 0, 0.7, 50))
    q.set_bits(bits)
    assert whole(q) == q.grid().bits == bits
    assert float(q.smooth_bits().detach()) == pytest.approx(bits)
    step = float(q.grid().scale)
    assert not power_of_two or math.log2(step) == round(math.log2(step))


def test_speed_multiplies_what_the_optimizer_did():
    ends = []
    for speed in (1, 4):
        learning, run = begun(gamma=1.0, speed=speed)
        run.optimizer = torch.optim.SGD(run.model.parameters(), 0.01)
        x, y = next(run.batches.epoch(0))
        learning.epoch_start(run)
        learning.loss(run, (x, y), run.model.train()(x)).backward()
        learning.after_backward(run)
        run.optimizer.step()
        learning.after_step(run)
        ends.append(8 - float(run.model[3].weight_quantizer.width.detach()))
    assert ends[1] == pytest.approx(4 * ends[0], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing shrinks the bits; give gamma above 0, size or operations"),
        ({"gamma": -1}, "gamma is -1, .* allowed are gamma from 0 and others above 0"),
        ({"size": 0}, "size 0, operations None; allowed"),
        ({"gamma": 1, "freeze_at": 0}, "freeze_at is 0, widest 8; allowed"),
        ({"gamma": 1, "widest": 17}, "widest 17; allowed"),
        ({"gamma": 1, "share": "layers"}, "share is 'layers', allowed are tensors, weights, operations"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InvalidInput, match=f"bit-learning: .*{message}|bit-learning: {message}"):
        procedure("bit-learning", **settings)


def test_networks_that_do_not_fit():
    with pytest.raises(InvalidInput, match="bit-learning: no width is trained; prepare with weight='bitpruning:8'"):
        begun({"weight": "lsq:3", "activation": "lsq:3"}, gamma=1)
    with pytest.raises(InvalidInput, match=r"a size of 50 bytes cannot be met, the narrowest grids take 83\.25; allow"):
        begun(size=50)
    with pytest.raises(InvalidInput, match="a 1000 bit operations cannot be met"):
        begun(operations=1000)
