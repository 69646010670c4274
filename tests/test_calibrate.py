"""`calibrate`: what it changes, what it leaves, and what it refuses."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import lowbit
from lowbit.errors import InvalidInput, NotCalibrated


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))


def batches(n: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, 1, 6, 6, generator=generator) for _ in range(n)]


def test_it_leaves_parameters_statistics_and_modes():
    model = lowbit.prepare(net())
    model[1].eval()
    kept = {k: v.clone() for k, v in model.state_dict().items() if "quantizer" not in k}
    modes = [m.training for m in model.modules()]
    assert lowbit.calibrate(model, batches()) is model
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in kept.items())
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


def test_batches_may_have_targets_and_come_from_a_generator():
    a = lowbit.calibrate(lowbit.prepare(net()), batches())
    b = lowbit.calibrate(lowbit.prepare(net()), ((x, torch.zeros(8)) for x in batches()))
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_estimates_are_means_over_batches_and_start_anew():
    one = [lowbit.calibrate(lowbit.prepare(net(), activation="lsq:4", last="same"), [x])[4] for x in batches()]
    model = lowbit.prepare(net(), activation="lsq:4", last="same", example=batches(1)[0])
    lowbit.calibrate(model, batches())
    mean = torch.stack([layer.input_quantizer.scale for layer in one]).mean()
    torch.testing.assert_close(model[4].input_quantizer.scale, mean)


def test_signs_are_seen_in_any_batch():
    model = lowbit.prepare(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), first="same", activation="lsq:4")
    lowbit.calibrate(model, [torch.rand(4, 2), torch.rand(4, 2) - 0.5])
    assert model[0].input_quantizer.signed is True
    lowbit.calibrate(model, [torch.rand(4, 2) + 3])
    assert model[0].input_quantizer.scale > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_numbers_name_the_layer(bad):
    model = lowbit.prepare(net())
    x = batches(1)[0]
    x[3, 0, 2, 2] = bad
    with pytest.raises(InvalidInput, match=r"^0: the input holds NaN or infinity"):
        lowbit.calibrate(model, [x])
    with torch.no_grad():
        model[4].weight[0, 0] = bad
    with pytest.raises(InvalidInput, match=r"^4: the weight holds NaN or infinity"):
        lowbit.calibrate(model, batches())
    assert all(m.enabled for m in model.modules() if hasattr(m, "enabled"))


def test_bad_weights_are_named_when_preparing():
    bad = net()
    with torch.no_grad():
        bad[0].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="0: the weight holds NaN or infinity"):
        lowbit.prepare(bad)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one batch"),
        (iter([]), "at least one batch"),
        ([torch.zeros(0, 1, 6, 6)], "0: the input is empty"),
        ([torch.zeros(2, 3, 6, 6)], r"cannot take a batch of torch.float32 \[2, 3, 6, 6\] on cpu: .*expected input"),
        ([torch.zeros(2, 1, 6, 6).double()], "cannot take a batch of torch.float64"),
        ([{"x": 1}], "a batch of dict"),
        ([("a", "b")], "a batch of str"),
        ([()], "a batch of empty tuple"),
        ([[]], "a batch of empty list"),
        (torch.zeros(8, 1, 6, 6), r"got one tensor, allowed is a list .* such as \[x\]"),
        (None, "got None, allowed is a list"),
        (5, "got 5, allowed is a list"),
        ([torch.zeros(1, 6, 6)], r"cannot take a batch of torch.float32 \[1, 6, 6\] on cpu: expected 4D input"),
    ],
)
def test_bad_batches(given, message):
    model = lowbit.prepare(net())
    with pytest.raises(InvalidInput, match=message):
        lowbit.calibrate(model, given)
    lowbit.calibrate(model, batches())  # and nothing is broken afterwards
    assert lowbit.convert(model, batches()[0]).exact


def _breaks_off() -> Iterator[Tensor]:
    yield batches()[1] * 7
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["lsq:4", "minmax:4", "mixture:2", {"method": "lq", "bits": 2}])
@pytest.mark.parametrize("calibrated", [False, True])
def test_an_aborted_calibration_changes_nothing(method, calibrated):
    model = lowbit.prepare(net(), activation=method, last="same")
    if calibrated:
        lowbit.calibrate(model, batches())
    with torch.no_grad():
        model[4].weight.mul_(3)
    kept = copy.deepcopy(model.state_dict())
    x = batches()[0]
    for given, error in (([x, x * torch.nan], InvalidInput), (_breaks_off(), KeyboardInterrupt)):
        with pytest.raises(error):
            lowbit.calibrate(model, given)
        for key, value in model.state_dict().items():
            assert torch.equal(value, kept[key]), key
    if not calibrated:
        with pytest.raises(NotCalibrated):
            model(x)


def test_an_unprepared_model_is_refused():
    with pytest.raises(InvalidInput, match=r"without quantizers; call lowbit.prepare\(model\) first"):
        lowbit.calibrate(net(), batches())


def test_only_the_named_quantizers_are_measured():
    model = lowbit.calibrate(lowbit.prepare(net()), batches())
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    lowbit.calibrate(model, [3 * x for x in batches()], only={model[4].input_quantizer})
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, kept[k])]
    assert {name.split(".")[1] for name in changed} == {"input_quantizer"}
    assert {name.split(".")[0] for name in changed} == {"4"}


def test_behind_a_folded_relu_the_rest_is_calibrated_on_what_the_float_network_gives():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(64, 4)
    expected = model(x)
    last_input = model[:4](x)
    lowbit.calibrate(lowbit.prepare(model, None, "lsq:2", first="same", last="same"), [x])
    assert isinstance(model[3], nn.Identity)
    torch.testing.assert_close(model[4].input_quantizer.scale, 2 * last_input.mean() / 3**0.5)
    for index in (0, 2, 4):
        model[index].input_quantizer.enabled = False
    assert torch.equal(model(x), expected)


def test_a_switched_off_quantizer_has_no_factor_on_the_output():
    """XNOR-Net's K stands for the magnitude that the signs of the input have lost."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 16, 3))
    x = batches()[0]
    expected = model(x)
    lowbit.prepare(model, None, "xnor", first="same", last="same", example=x)
    assert not torch.allclose(model(x), expected)
    for index in (0, 2):
        model[index].input_quantizer.enabled = False
    assert torch.equal(model(x), expected)
