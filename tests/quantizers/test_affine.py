import pytest
import torch

import lowbit
from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def activations(bits: int, x: torch.Tensor = V) -> torch.nn.Module:
    q = quantizer(f"affine:{bits}", role="activation")
    q.calibrate(x)
    return q.eval()


@pytest.mark.parametrize(
    ("bits", "scale", "zero", "codes"),
    [(8, 1.9 / 255, 134, [0, 94, 147, 201, 255, 107]), (2, 0.633333, 2, [0, 2, 2, 3, 3, 2])],
)
def test_worked_examples(bits: int, scale: float, zero: int, codes: list[int]) -> None:
    q = activations(bits)
    assert q.encode(V).tolist() == codes
    assert q.grid().zero == zero and float(q.grid().scale) == pytest.approx(scale, abs=1e-6)


def test_worked_value() -> None:
    assert activations(8)(V)[3].item() == pytest.approx(0.499216, abs=1e-6)  # printed with six decimals


def test_one_signed_bit_has_zero_and_one_end() -> None:
    """With a zero point one bit is legal for signed activations."""
    q = activations(1)
    assert q.grid().has_zero and len(q(V).unique()) == 2


def test_one_weight_bit_is_refused() -> None:
    with pytest.raises(ValueError, match="affine takes 2 or more bits for weights, got 1; for one bit use bwn"):
        quantizer("affine:1")


def test_weights_are_narrow_and_symmetric() -> None:
    w = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    for bits in (2, 4, 8):
        q = quantizer(f"affine:{bits}@channel")
        q.calibrate(w)
        top = 2 ** (bits - 1) - 1
        assert q.grid(w).code_range == (-top, top)
        assert torch.equal(q.encode(-w), -q.encode(w))
        assert q.encode(w).abs().amax(1).tolist() == [top] * 4


def test_range_always_includes_zero() -> None:
    for x in (torch.tensor([0.5, 0.9]), torch.tensor([-0.9, -0.5])):
        q = activations(8, x)
        assert q(torch.zeros(1)).item() == 0 and q.grid().zero in (0, 255)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_agrees_with_torch_fake_quantize(bits: int) -> None:
    """Same values and gradients where torch's operator is comparable.

    It multiplies by a reciprocal, so points within 1e-6 of a tie may round otherwise, and it passes gradients half a
    step beyond the range; both are left out.
    """
    x = 1.2 * torch.randn(20000, generator=torch.Generator().manual_seed(1))
    q = activations(bits, x[:2000])
    grid, top = q.grid(), 2**bits - 1
    scale, zero = float(grid.scale), grid.zero
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    a = q(mine)
    b = torch.fake_quantize_per_tensor_affine(theirs, scale, zero, 0, top)
    a.sum().backward()
    b.sum().backward()
    position = x.double() / scale
    tie = ((position - position.floor()) - 0.5).abs() < 1e-6
    low, high = -zero, top - zero
    beyond = ((position < low) & (position > low - 0.5)) | ((position > high) & (position < high + 0.5))
    kept = ~tie & ~beyond
    assert kept.float().mean() > 0.5 and (~kept).any()
    # 2 ulp: both sides multiply a float32 scale by an integer; torch converts the scale to float32 by itself
    torch.testing.assert_close(a[kept], b[kept], rtol=2**-22, atol=0)
    assert torch.equal(mine.grad[kept], theirs.grad[kept])


def test_eight_bits_beat_four_beat_two() -> None:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(2))
    errors = [((activations(bits, x)(x) - x) ** 2).mean().item() for bits in (2, 4, 8)]
    assert errors[0] > 10 * errors[1] > 1000 * errors[2]


def test_one_outlier_sets_the_step() -> None:
    """The card's warning: the step of everything else grows with the largest value."""
    x = torch.randn(1000, generator=torch.Generator().manual_seed(3))
    spoiled = torch.cat([x, torch.tensor([100.0])])
    plain, stretched = activations(4, x), activations(4, spoiled)
    assert ((stretched(x) - x) ** 2).mean() > 20 * ((plain(x) - x) ** 2).mean()


def test_delay_passes_values_until_it_is_over() -> None:
    for role in ("weight", "activation"):
        q = quantizer({"method": "affine", "bits": 2, "delay": 3}, role=role)
        q.calibrate(V)
        q.train()
        assert q.unfinished() == 1 and not torch.equal(q.eval()(V), V)
        q.train()
        for _ in range(3):
            assert torch.equal(q(V), V)
        assert q.unfinished() == 0
        value = q(V)
        assert torch.equal(value, q.eval()(V)) and len(value.unique()) <= 4


def test_delay_survives_saving_and_can_be_ended() -> None:
    q = quantizer({"method": "affine", "bits": 2, "delay": 9}, role="activation")
    q.calibrate(V)
    q.train()(V)
    again = quantizer({"method": "affine", "bits": 2, "delay": 9}, role="activation")
    again.load_state_dict(q.state_dict())
    assert int(again.waited) == 1
    again.harden()
    assert again.unfinished() == 0 and not torch.equal(again.train()(V), V)


def test_delayed_quantizers_do_not_convert_before_the_end() -> None:
    x = torch.randn(4, 6)
    method = {"method": "affine", "bits": 4, "delay": 2}
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 3))
    model = lowbit.calibrate(lowbit.prepare(net, activation=method, first="same", last="same"), [x])
    with pytest.raises(lowbit.errors.ConversionError, match="0: "):
        lowbit.convert(model.eval(), x)
    model.train()
    for _ in range(2):
        model(x)
    lowbit.convert(model.eval(), x)


def test_ties_away_from_zero() -> None:
    x = torch.tensor([0.0, 255.0, 0.5, 2.5])
    for rounding, codes in (("half_even", [0, 255, 0, 2]), ("half_away", [0, 255, 1, 3])):
        q = quantizer({"method": "affine", "bits": 8, "rounding": rounding}, role="activation")
        q.calibrate(x)
        assert q.eval().encode(x).tolist() == codes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": -1}, "affine's delay is -1, allowed is a number of steps from 0"),
        ({"delay": 1.5}, "affine's delay is 1.5, allowed"),
        ({"rounding": "up"}, "affine's rounding is 'up', allowed are half_even, half_up, half_away, stochastic"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantizer({"method": "affine", "bits": 8, **options})
