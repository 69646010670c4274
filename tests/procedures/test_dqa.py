"""DQA: schedule, attention, penalty, every option, hardening, resume, and a network that converts."""

import pytest
import torch
from torch.nn import functional as F

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from lowbit.procedures.dqa import first_alpha, penalty_factors
from lowbit.procedures.places import places
from lowbit.quantizers.mixture import Mixture
from tests.procedures.loops import blobs, prepared, run_of, same, step, train, trained_twice

LEARNED = {"method": "mixture", "bits": 2, "learned": True}
PACTS = {**LEARNED, "parts": ["pact-sawb:2", "pact-sawb:4", "pact-sawb:8"]}


def started(weight=LEARNED, activation=None, epochs=3, **settings):
    model = prepared(weight=weight, activation=activation)
    run, dqa = run_of(model, epochs), procedure("dqa", **settings)
    dqa.start(run)
    return model, run, dqa


def test_worked_temperatures():
    dqa = procedure("dqa")
    assert dqa.temperature(1, 10) / 100 == pytest.approx(0.444337, abs=1e-6)
    assert dqa.temperature(5, 10) == pytest.approx(1.732051, abs=1e-6)
    assert dqa.temperature(10, 10) == pytest.approx(0.03)


def test_worked_first_alpha():
    alpha = torch.tensor(first_alpha([2, 4, 8]), dtype=torch.float64)
    assert alpha.tolist() == pytest.approx([6 / 7, 5 / 7, 3 / 7])
    assert float(alpha.std()) == pytest.approx(0.218218, abs=1e-6)
    assert (alpha / alpha.std()).tolist() == pytest.approx([3.927922, 3.273268, 1.963961], abs=1e-6)
    assert first_alpha([2, 4, 8], "inverse_bits") == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize(
    ("temperature", "shares"),
    [(100, (0.336244, 0.334050, 0.329705)), (1, (0.602437, 0.313040, 0.084523)), (0.03, (1.0, 3e-10, 0.0))],
)
def test_worked_attention(temperature, shares):
    """Of the first batch, by starting at that temperature and staying there."""
    model, _, _ = started(t_first=temperature, t_last=temperature)
    assert model[0].weight_quantizer.shares().tolist() == pytest.approx(shares, abs=2e-6)


def test_the_temperature_falls_every_batch():
    model, run, dqa = started()
    seen = []
    for batch in (*run.batches.epoch(0), *run.batches.epoch(1), *run.batches.epoch(2)):
        seen.append(float(model[0].weight_quantizer.temperature))
        step(dqa, run, batch)
    assert seen == pytest.approx([dqa.temperature(b, 12) for b in range(1, 13)])


@pytest.mark.parametrize("alpha", ["project", "detach", "in_graph", "none"])
def test_every_way_to_divide_by_the_deviation(alpha):
    model, run, dqa = started(alpha=alpha)
    mixture = model[0].weight_quantizer
    start = torch.tensor(first_alpha([2, 4, 8]))
    stored = start / start.std() if alpha == "project" else start
    torch.testing.assert_close(mixture.alpha.detach(), stored)
    used = start if alpha == "none" else start / start.std()
    shares = torch.softmax(used / mixture.temperature, 0)
    torch.testing.assert_close(mixture.shares().detach(), shares)
    # d shares_0 / d alpha, through the deviation only where it is part of the graph
    (grad,) = torch.autograd.grad(mixture.shares()[0], mixture.alpha)
    variable = stored.clone().requires_grad_()
    divisor = {"in_graph": variable.std(), "detach": start.std()}.get(alpha, torch.tensor(1.0))
    (expected,) = torch.autograd.grad(torch.softmax(variable / divisor / mixture.temperature, 0)[0], variable)
    torch.testing.assert_close(grad, expected)
    step(dqa, run, next(run.batches.epoch(0)))
    deviation = float(mixture.alpha.detach().std())
    assert deviation == pytest.approx(1.0, abs=1e-6) if alpha == "project" else deviation != pytest.approx(1.0)


def test_two_parts_in_graph_get_no_gradient():
    model, _, _ = started({**LEARNED, "parts": ["minmax:2", "minmax:8"]}, alpha="in_graph")
    mixture = model[0].weight_quantizer
    (grad,) = torch.autograd.grad(mixture.shares()[0], mixture.alpha)
    torch.testing.assert_close(grad, torch.zeros(2), rtol=0, atol=1e-8)


def test_equal_attention_is_left_alone():
    """std below 1e-8: nothing to divide by; gradients stay finite in the graph too."""
    for alpha in ("project", "in_graph"):
        model, run, dqa = started({**LEARNED, "parts": ["minmax:2", "sawb:2"]}, alpha=alpha)
        step(dqa, run, next(run.batches.epoch(0)))
        assert torch.isfinite(model[0].weight_quantizer.alpha).all()


def test_one_part_is_that_quantizer():
    model, run, dqa = started({**LEARNED, "parts": ["minmax:2"]})
    train(dqa, run, start=False)
    assert model[0].weight_quantizer.shares().tolist() == [1.0]


SIZES = (48, 64, 16)  # weights of the three layers


@pytest.mark.parametrize(
    ("norm", "factors"),
    [("network", [1 / 128] * 3), ("layer_share", [size / 128 for size in SIZES]), ("none", [1.0] * 3)],
)
def test_penalty_and_its_gradient(norm, factors):
    model, run, dqa = started(strength=3.0, norm=norm)
    batch = next(run.batches.epoch(0))
    output = model(batch[0])
    mixtures = [model[n].weight_quantizer for n in (0, 3, 5)]
    g = torch.tensor([1.0, 4.0, 16.0])
    penalties = [3 * factor * (g * m.shares()).sum() for factor, m in zip(factors, mixtures, strict=True)]
    entropy = F.cross_entropy(output, batch[1])
    loss = dqa.loss(run, batch, output)
    torch.testing.assert_close(loss, entropy + sum(penalties))
    # c * a_k (g_k - g . a) / T, the loss's own gradient taken off
    (whole,) = torch.autograd.grad(loss, mixtures[1].alpha, retain_graph=True)
    (rest,) = torch.autograd.grad(entropy, mixtures[1].alpha)
    a, c = mixtures[1].shares().detach(), 3 * factors[1]
    expected = c * a * (g - (g * a).sum()) / mixtures[1].temperature
    torch.testing.assert_close(whole - rest, expected, rtol=1e-4, atol=1e-7)


def test_tensors_count_the_weights_that_they_feed():
    model, _, _ = started(activation=LEARNED)
    factors = penalty_factors(model, places(model, Mixture), "layer_share")
    assert factors == {
        f"{layer}.{role}": size / 128
        for layer, size in zip((0, 3, 5), SIZES, strict=True)
        for role in ("weight", "activation")
    }


def test_g_goes_on_by_fours_or_is_given():
    parts = {**LEARNED, "parts": ["minmax:1", "minmax:2", "minmax:4", "minmax:8"]}
    assert started(parts, strength=1.0, norm="none")[2]._costs["0.weight"].tolist() == [1, 4, 16, 64]
    assert started(strength=2.0, norm="none", g=[0, 1, 2])[2]._costs["0.weight"].tolist() == [0, 2, 4]


def test_the_log_holds_every_layer():
    _, run, dqa = started(activation=PACTS)
    *_, row = train(dqa, run, start=False)
    names = [f"{layer}.{role}" for layer in (0, 3, 5) for role in ("weight", "activation")]
    expected = {"temperature", "penalty", "penalty_share", "soft"}
    expected |= {f"soft/{name}" for name in names} | {f"attention/{name}/{k}" for name in names for k in range(3)}
    assert set(row) == expected
    for name in names:
        attention = [row[f"attention/{name}/{k}"] for k in range(3)]
        assert sum(attention) == pytest.approx(1, abs=1e-6)
        assert row[f"soft/{name}"] == pytest.approx(1 - max(attention), abs=1e-6)
    assert row["soft"] == max(row[f"soft/{name}"] for name in names)
    assert row["penalty_share"] > 0
    # one report an epoch: the last one is of the last step, before the network was made hard
    assert row["temperature"] == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("weight", "activation"),
    [
        (LEARNED, None),
        (PACTS, PACTS),
        (LEARNED, LEARNED),
        ({**LEARNED, "parts": ["bwn", "twn", "minmax:8"]}, "lsq:4"),
        ({**LEARNED, "parts": ["twn", "minmax:4", "float"]}, "lsq:4"),
    ],
)
def test_the_last_step_leaves_one_part_of_each(weight, activation):
    model, run, dqa = started(weight, activation or "lsq:4")
    train(dqa, run, start=False)
    mixtures = places(model, Mixture)
    assert all(mixture.unfinished() == 0 for mixture in mixtures.values())
    x = blobs()[0]
    program = lowbit.convert(model, x)
    assert torch.equal(torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy())), model.eval()(x))
    assert list(dqa.report(model)["chosen"]) == list(mixtures)


@pytest.mark.parametrize("alpha", ["detach", "in_graph", "project"])
def test_the_end_is_hard_in_training_too(alpha):
    model, run, dqa = started(alpha=alpha)
    train(dqa, run, start=False)
    assert model[0].weight_quantizer.train().shares().tolist().count(1.0) == 1


def test_a_part_that_is_not_the_narrowest_is_reported():
    model, run, dqa = started(strength=0.0)
    with torch.no_grad():
        model[3].weight_quantizer.alpha.copy_(torch.tensor([-1.0, 2.0, -1.0]))
    train(dqa, run, start=False)
    found = dqa.report(model)
    assert found["wider_than_narrowest"] == ["3.weight"]
    assert found["chosen"]["3.weight"] == "minmax:4"
    # nothing is silent: the summary shows the width that is left
    assert [row["W"] for row in lowbit.summary(model).to_dict()["rows"]] == [2, 4, 2]


def test_clips_are_each_parts_own_and_ranges_are_equal():
    """METHODS 3.28: one PACT clip for each part; min-max parts see one range."""
    model, run, dqa = started("lsq:4", PACTS, strength=0.0)
    for batch in run.batches.epoch(0):
        step(dqa, run, batch)
    clips = {float(part.alpha.detach()) for part in model[3].input_quantizer.parts}
    assert len(clips) == 3
    model, run, dqa = started("lsq:4", LEARNED)
    for batch in run.batches.epoch(0):
        step(dqa, run, batch)
    ranges = {(float(part.range.lo), float(part.range.hi)) for part in model[3].input_quantizer.parts}
    assert len(ranges) == 1


@pytest.mark.parametrize("alpha", ["project", "in_graph"])
def test_resume_gives_the_same_network(alpha):
    def make():
        return prepared(weight=LEARNED, activation=PACTS)

    assert same(*trained_twice(make, lambda: procedure("dqa", alpha=alpha)))


def test_claim_attention_starts_even_and_ends_at_one_part():
    """DQA section 4: all attentions are equal at the start, one is left in the end."""
    model, run, dqa = started(strength=5.0, norm="layer_share", epochs=6)
    shares = model[3].weight_quantizer.shares().tolist()
    assert max(shares) - min(shares) < 0.01
    rows = train(dqa, run, 6, start=False)
    assert rows[0]["soft"] > 0.6 > 0.02 > rows[-1]["soft"]
    assert dqa.report(model)["wider_than_narrowest"] == []


@pytest.mark.parametrize(
    ("weight", "settings", "message"),
    [
        ("lsq:2", {}, "dqa: the network has no mixture; prepare it with"),
        ("mixture:2", {}, "dqa: 0.weight has fixed shares; prepare it with `learned: true`, or use binary-relax"),
        (
            {**LEARNED, "parts": ["minmax:8", "minmax:2"]},
            {},
            r"parts of 0.weight have \[8, 2\] bits; list them fr",
        ),
        (LEARNED, {"g": [1, 2]}, "dqa: g has 2 penalties, 0.weight has 3 parts; give one"),
    ],
)
def test_networks_that_do_not_fit_are_refused(weight, settings, message):
    with pytest.raises(InvalidInput, match=message):
        procedure("dqa", **settings).start(run_of(prepared(weight=weight)))


@pytest.mark.parametrize(
    "settings",
    [{"norm": "size"}, {"init": "eq8"}, {"alpha": "std"}, {"strength": -1}, {"t_last": 0}, {"g": [4, 1]}, {"g": []}],
)
def test_bad_settings(settings):
    with pytest.raises(InvalidInput, match=r"dqa: .*allowed are"):
        procedure("dqa", **settings)


def test_a_run_without_length_is_refused():
    run = run_of(prepared(weight=LEARNED))
    run.steps_total = 0
    with pytest.raises(InvalidInput, match="dqa: the temperature falls over the whole training; set steps_total"):
        procedure("dqa").start(run)
