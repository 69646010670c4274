import pytest
import torch

from lowbit.quantizers import quantizer
from lowbit.quantizers.hwgq import STEPS, best_step, half_gaussian_error


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
