import numpy as np
import pytest
import torch

import lowbit
from lowbit.quantizers import quantizer
from lowbit.quantizers.half_gaussian import STEPS, UNIT, best_step, half_gaussian_error, lloyd
from lowbit.runtime.engine import Engine


def hwgq(bits: int, **options: object) -> torch.nn.Module:
    q = quantizer({"method": "hwgq", "bits": bits, **options}, role="activation")
    q.calibrate(torch.zeros(1))
    return q


def gradient(x: list[float], **options: object) -> list[float]:
    leaf = torch.tensor(x, requires_grad=True)
    hwgq(2, **options)(leaf).sum().backward()
    return leaf.grad.tolist()


def test_worked_example() -> None:
    y = hwgq(2)(torch.tensor([-1.0, 0.2, 0.9, 2.0]))
    # float32 products
    torch.testing.assert_close(y, torch.tensor([0, 0.538, 1.076, 1.614]), rtol=0, atol=1e-6)


def test_worked_thresholds() -> None:
    x = torch.tensor([0.0, 1e-30, 0.8069, 0.8071, 1.3449, 1.3451])
    assert hwgq(2).encode(x).tolist() == [0, 1, 1, 2, 2, 3]


def test_worked_gradients() -> None:
    x = [-1.0, 0.0, 0.2, 1.6, 2.0]
    assert gradient(x) == [0, 0, 1, 1, 0]
    assert gradient(x, backward="relu") == [0, 0, 1, 1, 1]
    log = gradient(x, backward="log")
    assert log[:4] == [0, 0, 1, 1] and log[4] == pytest.approx(0.721501, abs=1e-6)


def test_zero_bin_lets_small_values_vanish() -> None:
    q = hwgq(2, zero_bin=True)
    assert q.encode(torch.tensor([0.3, 0.33, 5.0])).tolist() == [0, 1, 3]


@pytest.mark.parametrize("zero_bin", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
def test_claim_step_is_optimal_for_a_half_gaussian(bits: int, zero_bin: bool) -> None:
    """Published steps have three digits, so no step further away than their rounding is better."""
    step = best_step(bits, zero_bin)
    error = half_gaussian_error(step, bits, zero_bin)
    for factor in (0.5, 0.8, 0.9, 0.97, 1.03, 1.1, 1.25, 2):
        assert half_gaussian_error(factor * step, bits, zero_bin) > error


@pytest.mark.parametrize("zero_bin", [False, True])
def test_closed_form_error_is_that_of_the_quantizer(zero_bin: bool) -> None:
    x = torch.special.ndtri(0.5 + (torch.arange(100000, dtype=torch.float64) + 0.5) / 200000)
    for bits in STEPS[zero_bin]:
        q = hwgq(bits, zero_bin=zero_bin)
        # 1e-3: quantiles cut the outermost tail
        measured = ((q(x) - x) ** 2).mean().item()
        assert measured == pytest.approx(half_gaussian_error(q.step, bits, zero_bin), rel=1e-3)


@pytest.mark.parametrize(
    ("bits", "zero_bin", "share"), [(2, False, 0.7), (3, False, 0.9), (2, True, 0.7), (4, True, 0.8)]
)
def test_claim_beats_the_range_of_the_data(bits: int, zero_bin: bool, share: float) -> None:
    """Without a zero bin small values pay more, the more bits there are: at 4 bits as much as the range wins."""
    x = torch.randn(10000, generator=torch.Generator().manual_seed(0))
    minmax = quantizer(f"minmax:{bits}", role="activation", signed=False)
    minmax.calibrate(x.relu())
    minmax.eval()
    q = hwgq(bits, zero_bin=zero_bin)
    assert ((q(x) - x.relu()) ** 2).mean() < share * ((minmax(x.relu()) - x.relu()) ** 2).mean()


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="hwgq's backward is 'tanh', allowed are clipped, relu, log"):
        hwgq(2, backward="tanh")


@pytest.mark.parametrize("zero_bin", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_lloyd_levels_are_a_fixed_point_and_beat_even_steps(bits: int, zero_bin: bool) -> None:
    step, units = lloyd(bits, zero_bin)
    assert units[0] == 0 and units[-1] == UNIT and len(units) == 2**bits and list(units) == sorted(set(units))
    x = torch.special.ndtri(0.5 + (torch.arange(100_001, dtype=torch.float64) + 0.5) / 200_002).float()
    errors = {}
    for levels in ("uniform", "lloyd"):
        q = quantizer({"method": "hwgq", "bits": bits, "levels": levels, "zero_bin": zero_bin}, role="activation")
        q.calibrate(x)
        y = q.eval()(x)
        errors[levels] = ((y - x) ** 2).mean().item()
        for level in y.unique()[1 if zero_bin else 0 :] if levels == "lloyd" else ():
            # the mean of what it stands for, rounded to 1/127 of the top level
            assert abs(x[y == level].mean() - level) < 0.51 * step + 1e-3
    # one level: only rounding to 1/127 of it sets them apart
    assert errors["lloyd"] < errors["uniform"] * (1.0 + 1e-4 if bits == 1 else 0.97)


def test_lloyd_gradient_ends_at_its_top_level() -> None:
    q = quantizer({"method": "hwgq", "bits": 2, "levels": "lloyd"}, role="activation")
    q.calibrate(torch.ones(1))
    top = q(torch.tensor([1e9])).item()
    x = torch.tensor([-1.0, 0.0, 0.1, 0.99 * top, 1.01 * top, torch.nan], requires_grad=True)
    y = q(x)
    y.sum().backward()
    assert x.grad.tolist()[:5] == [0, 0, 1, 1, 0] and y[:2].tolist() == [0, 0] and y[2] > 0 and y[5].isnan()


@pytest.mark.parametrize("bits", [2, 4])
def test_lloyd_converts_exactly(bits: int) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 5, 3, bias=False), torch.nn.BatchNorm2d(5, affine=False), torch.nn.ReLU(),
        torch.nn.Conv2d(5, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 3),
    )  # fmt: skip
    x = torch.randn(5, 2, 6, 6)
    method = {"method": "hwgq", "bits": bits, "levels": "lloyd"}
    model = lowbit.calibrate(lowbit.prepare(net, activation=method, first="same", last="same"), [x])
    model.train()(x)
    model.eval()
    with torch.no_grad():
        assert np.array_equal(Engine(lowbit.convert(model, x)).run(x.numpy()), model(x).numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5, "levels": "lloyd"}, "hwgq with lloyd levels takes 1 to 4 bits, got 5"),
        ({"bits": 2, "levels": "even"}, "hwgq's levels are 'even', allowed are uniform, lloyd"),
    ],
)
def test_bad_levels(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantizer({"method": "hwgq", **options}, role="activation")
