"""Quantization Networks: three phases, temperatures, what stands still, resume, and a network that converts."""

import pytest
import torch

import lowbit
from lowbit.calibrate import quantizer_paths
from lowbit.errors import InvalidInput, LowbitError
from lowbit.procedures import procedure
from lowbit.quantizers.sigmoid import Sigmoid
from tests.procedures.loops import blobs, prepared, run_of, same, step, train, trained_twice

NAME = "quantization-networks"


def both(seed=0):
    return prepared(weight="sigmoid:2", activation="sigmoid:2", seed=seed)


def state(model, place):
    return {name: value.clone() for name, value in model.get_submodule(place).state_dict().items()}


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def phase_of(phase, hold="quantizers", weight_decay=0.0):
    """A network one epoch into the given phase, and what that epoch changed of layer 3 and its quantizers."""
    model = both()
    run = run_of(model, 6)
    run.optimizer.param_groups[0]["weight_decay"] = weight_decay
    networks = procedure(NAME, hold=hold)
    train(networks, run, 6, stop=2 * phase)
    run.epoch = 2 * phase
    places = ("3.weight_quantizer", "3.input_quantizer")
    before = [state(model, place) for place in places], model[3].weight.detach().clone()
    for batch in run.batches.epoch(run.epoch):
        step(networks, run, batch)
    changes = [moved(old, state(model, place)) for place, old in zip(places, before[0], strict=True)]
    return model, changes, not torch.equal(before[1], model[3].weight)


def test_weights_then_activations_then_both():
    learned = {"scale", "slope"}
    model, (of_weight, of_activation), weights = phase_of(0)
    assert (of_weight, of_activation, weights) == (learned, set(), True)
    assert not model[3].input_quantizer.enabled
    model, (of_weight, of_activation), weights = phase_of(1)
    assert (of_weight, of_activation, weights) == (set(), learned, True)
    assert model[3].input_quantizer.enabled
    _, changes, weights = phase_of(2)
    assert (changes, weights) == ([learned, learned], True)


def test_weights_may_stand_still_too_in_the_second_phase():
    _, (of_weight, of_activation), weights = phase_of(1, hold="weights", weight_decay=0.1)
    assert (of_weight, of_activation, weights) == (set(), {"scale", "slope"}, False)


def test_temperatures_count_the_epochs_of_each_kind():
    rows = train(procedure(NAME, temperature=5), run_of(both(), 6), 6)
    assert [row["phase"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert [row["temperature_weight"] for row in rows] == [5, 10, 10, 10, 15, 20]
    assert [row["temperature_activation"] for row in rows] == [5, 5, 5, 10, 15, 20]


def test_one_kind_has_one_phase():
    rows = train(procedure(NAME), run_of(prepared(weight="sigmoid:2", activation="lsq:4")))
    assert [row["phase"] for row in rows] == [3, 3, 3]
    assert [row["temperature_weight"] for row in rows] == [10, 20, 30]
    assert "temperature_activation" not in rows[0]


def test_temperatures_have_a_limit():
    assert procedure(NAME, temperature=40).at(100) == 2000


def test_phases_may_be_of_other_lengths():
    rows = train(procedure(NAME, phases=[1, 0, 3]), run_of(both(), 4), 4)
    assert [row["phase"] for row in rows] == [1, 3, 3, 3]


def test_activations_are_measured_when_their_phase_begins():
    """On the network with quantized weights as it is then: the biases are not those of the first calibration."""
    model = both()
    run = run_of(model)
    before = state(model, "3.input_quantizer")
    train(procedure(NAME), run, stop=1)
    assert "biases" in moved(before, state(model, "3.input_quantizer"))
    found = dict(model[3].input_quantizer.named_buffers())
    found = {name: value.clone() for name, value in found.items()}
    others = {q for q in quantizer_paths(model) if q.role != "weight"}
    lowbit.calibrate(model, [x for x, _ in run.batches.epoch(0)], only=others)
    torch.testing.assert_close(dict(model[3].input_quantizer.named_buffers()), found)


def test_gradients_are_clipped():
    model = both()
    run, networks = run_of(model), procedure(NAME, clip=1e-3)
    networks.start(run)
    networks.loss(run, next(run.batches.epoch(0)), model(blobs()[0][:16])).backward()
    networks.after_backward(run)
    norms = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None])
    assert float(norms.norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_end_is_hard_and_converts():
    model = both()
    train(procedure(NAME), run_of(model))
    quantizers = [q for q in model.modules() if isinstance(q, Sigmoid)]
    assert all(q.unfinished() == 0 and q.enabled for q in quantizers)
    weight = model[3].weight_quantizer
    assert set(weight.train()(model[3].weight).div(weight.scale).detach().round(decimals=4).unique().tolist()) <= {
        -1,
        0,
        1,
    }
    x = blobs()[0]
    program = lowbit.convert(model, x)
    assert torch.equal(torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy())), model.eval()(x))


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_resume_gives_the_same_network(stop):
    assert same(*trained_twice(both, lambda: procedure(NAME), epochs=6, stop=stop))


def test_claim_the_gap_between_soft_and_hard_shrinks_as_the_temperature_grows():
    """Yang et al., Fig. 3, on the outputs of one network."""
    model, x = both(), blobs()[0]
    gaps = []
    for temperature in (1, 5, 25, 125, 625):
        for q in model.modules():
            if isinstance(q, Sigmoid):
                q.temperature.fill_(temperature)
        for layer in (model[0], model[3], model[5]):
            layer.train()
        soft = model(x).detach()
        gaps.append(float((soft - model.eval()(x).detach()).abs().mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.2 * gaps[0]


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0}, {"phases": [1, 1]}, {"phases": [1, 1, 0]}, {"hold": "biases"}, {"clip": 0}, {"highest": 0}],
)
def test_bad_settings(settings):
    with pytest.raises(InvalidInput, match=r"quantization-networks: .*allowed are"):
        procedure(NAME, **settings)


def test_a_layer_that_died_is_named():
    model = both()
    run, networks = run_of(model), procedure(NAME)
    networks.start(run)
    with torch.no_grad():
        model[3].weight_quantizer.scale.fill_(-0.01)
    with pytest.raises(
        LowbitError, match=r"the scale of 3\.weight has fallen below 0, .* lower optimizer.lr, or use sgd"
    ):
        networks.epoch_end(run)


def test_networks_and_trainings_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="no layer uses sigmoid; prepare it with"):
        procedure(NAME).start(run_of(prepared(weight="lsq:2")))
    with pytest.raises(InvalidInput, match="3 phases need as many epochs, there are 2"):
        procedure(NAME).start(run_of(both(), 2))
