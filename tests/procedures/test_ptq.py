"""ptq: steps of least error, BatchNorm of the quantized network, and no training."""

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import Procedure, Run, procedure
from lowbit.training.evaluate import evaluate
from lowbit.training.recipes import parse_recipe
from tests.procedures.plain import assert_converts, batches_of, float_net, images, run_of, train

LSQ3 = {"weight": "lsq:3", "activation": "lsq:3", "first": "same", "last": "same"}


def trained():
    model = float_net()
    train(Procedure(), run_of(model, 10), 10)
    return model


def quantized(methods=LSQ3, **settings):
    model = lowbit.calibrate(lowbit.prepare(trained(), **methods), [images()[0]])
    ptq = procedure("ptq", images=64, **settings)
    ptq.start(Run(model=model, optimizer=None, batches=batches_of()))
    return model


def test_lsq_by_squared_error():
    w = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
    q = lowbit.quantizer({"method": "lsq", "bits": 3, "init": "mse"})
    q.calibrate(w)
    errors = []
    for i in range(1, 101):
        s = 1.0 / 3 * i / 100
        errors.append(((torch.round(w / s).clamp(-4, 3) * s - w) ** 2).sum())
    s = 1.0 / 3 * (1 + int(torch.stack(errors).argmin())) / 100
    assert float(q.scale.detach()) == pytest.approx(s)
    assert ((q(w) - w) ** 2).sum() <= min(errors) + 1e-6
    channels = lowbit.quantizer({"method": "lsq", "bits": 3, "init": "mse", "granularity": "channel"})
    channels.calibrate(torch.stack([w, 3 * w]))
    torch.testing.assert_close(channels.scale.detach(), torch.tensor([s, 3 * s]))
    with pytest.raises(ValueError, match="lsq's init is 'median', allowed are mean, mse"):
        lowbit.quantizer({"method": "lsq", "bits": 3, "init": "median"})


def test_it_loses_less_than_calibration_alone():
    x, y = images()
    alone = lowbit.calibrate(lowbit.prepare(trained(), **LSQ3), [x])
    assert evaluate(quantized(), x, y).loss < evaluate(alone, x, y).loss


def test_parameters_but_scales_stay_and_the_network_converts(tmp_path):
    model, before = quantized(), dict(trained().named_parameters())
    kept = {name: p for name, p in model.named_parameters() if "quantizer" not in name}
    assert all(torch.equal(p, before[name]) for name, p in kept.items())
    assert_converts(model, tmp_path)


def test_statistics_are_those_of_the_quantized_network():
    model, without = quantized(), quantized(bn_batches=0)
    assert not torch.equal(model[4].running_mean, without[4].running_mean)
    assert torch.equal(without[4].running_mean, trained()[4].running_mean)
    with torch.no_grad():
        y = model.eval()[:1](images()[0])
    # the 100 batches are 25 times the four of an epoch, so their average is that of all images
    torch.testing.assert_close(model[1].running_mean, y.mean((0, 2, 3)), rtol=0, atol=1e-5)


def test_what_was_asked_for_is_kept():
    model = quantized({**LSQ3, "weight": {"method": "lsq", "bits": 3, "init": "mean"}})
    assert {model[i].weight_quantizer.init for i in (0, 3, 7)} == {"mean"}
    assert {model[i].input_quantizer.init for i in (0, 3, 7)} == {"mse"}


def test_it_refuses():
    with pytest.raises(InvalidInput, match="ptq: images is 0, bn_batches 100; allowed are whole numbers"):
        procedure("ptq", images=0)
    model = lowbit.calibrate(lowbit.prepare(trained(), **LSQ3), [images()[0]])
    with pytest.raises(InvalidInput, match="ptq: images is 512, the training set has 64; use images: 64"):
        procedure("ptq").start(Run(model=model, optimizer=None, batches=batches_of()))
    with pytest.raises(InvalidInput, match="ptq: trains nothing, but the run has 16 steps; use none, or retrain"):
        procedure("ptq").start(run_of(model))
    recipe = "data: digits\nmodel: digits_net\nweight: lsq:2\npretrain: {epochs: 1}\nprocedure: ptq\nepochs: 3\n"
    with pytest.raises(InvalidInput, match="line 6: ptq trains nothing, but epochs is 3; use epochs: 0"):
        parse_recipe(recipe)
