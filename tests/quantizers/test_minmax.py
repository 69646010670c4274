from itertools import pairwise

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])
"""The vector of every worked example: mean 0, mean size 0.5, sum of squares 2.2."""


def weights(bits: int) -> torch.nn.Module:
    q = quantizer(f"minmax:{bits}")
    q.calibrate(V)
    return q


# 1e-6: the expected numbers are printed with six decimals
@pytest.mark.parametrize(
    ("bits", "values", "error"),
    [
        (2, [-1, -0.366667, 0.266667, 0.266667, 0.9, -0.366667], 0.019074),
        (3, [-1, -0.185714, 0.085714, 0.628571, 0.9, -0.185714], 0.005),
    ],
)
def test_worked_examples(bits: int, values: list[float], error: float) -> None:
    y = weights(bits)(V)
    torch.testing.assert_close(y, torch.tensor(values), rtol=0, atol=1e-6)
    assert ((y - V) ** 2).mean().item() == pytest.approx(error, abs=1e-6)


def test_the_offset_belongs_inside_the_rounding() -> None:
    """Rounding x (2^n - 1) / (hi - lo) without the offset, as one equation prints, would send 0.1 to -1."""
    step = (0.9 + 1) / 3
    literal = -1 + step * torch.round(V / step)
    assert literal[2] == -1 and weights(2)(V)[2] > 0


def test_one_bit_is_the_two_ends() -> None:
    assert torch.equal(weights(1)(V), torch.tensor([-1, -1, 0.9, 0.9, 0.9, -1]))


@pytest.mark.parametrize("value", [0.37, -2.0, 0.0, 1e-42, 1e30])
def test_a_constant_is_returned_as_it_is(value: float) -> None:
    for shape in ((1,), (3, 4)):
        for method in ("minmax:2", "minmax:8@channel"):
            x = torch.full(shape, value)
            q = quantizer(method)
            q.calibrate(x)
            assert torch.equal(q(x), x)
            assert len(q.encode(x).unique()) == 1


def test_weights_follow_the_range_and_activations_keep_a_running_one() -> None:
    w = weights(2)
    assert torch.equal(w(3 * V), 3 * w(V)) or torch.allclose(w(3 * V), 3 * w(V), rtol=1e-6)
    a = quantizer("minmax:4", role="activation")
    a.calibrate(V)
    a.train()
    a(2 * V)
    assert a.range.lo.item() == pytest.approx(-1.01) and a.range.hi.item() == pytest.approx(0.909)
    a.eval()
    a(100 * V)
    assert a.range.lo.item() == pytest.approx(-1.01)


def test_activations_have_zero_on_the_grid() -> None:
    for low, high in ((-1.0, 0.9), (0.2, 0.9), (-3.0, -1.0)):
        q = quantizer("minmax:2", role="activation")
        q.calibrate(torch.tensor([low, high]))
        assert q.grid().has_zero and q(torch.zeros(1)).item() == 0


def test_more_bits_never_raise_the_error() -> None:
    w = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    errors = []
    for bits in range(1, 13):
        q = quantizer(f"minmax:{bits}")
        q.calibrate(w)
        errors.append(((q(w) - w) ** 2).mean().item())
    assert all(b < a / 2 for a, b in pairwise(errors))


def test_weights_need_the_tensor_for_their_grid() -> None:
    with pytest.raises(ValueError, match=r"minmax computes its range from the weight: call grid\(weight\)"):
        weights(2).grid()
