import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def inq(bits: int, w: torch.Tensor = V) -> torch.nn.Module:
    q = quantizer(f"inq:{bits}")
    q.calibrate(w)
    return q


@pytest.mark.parametrize(
    ("bits", "smallest", "values"),
    [(3, 0.5, [-1, -0.5, 0, 0.5, 1, 0]), (5, 2.0**-7, [-1, -0.25, 0.125, 0.5, 1, -0.25])],
)
def test_worked_examples(bits: int, smallest: float, values: list[float]) -> None:
    q = inq(bits)
    assert q.smallest.item() == smallest and q(V).tolist() == values


@pytest.mark.parametrize("scale", [0.0, 1e-30, 0.7499999, 0.75, 1.4999999, 1.5, 1e30])
def test_largest_size_is_the_power_of_two_nearest_above_two_thirds(scale: float) -> None:
    """2^n1 with n1 = floor(log2(4 s / 3)): s in [3/4, 3/2) gives 1."""
    top = inq(4, torch.tensor([scale, -scale]))(torch.tensor([scale])).item()
    if scale == 0:
        assert top == 0
    elif 0.7 < scale < 2:
        assert top == {0.7499999: 0.5, 0.75: 1, 1.4999999: 1, 1.5: 2}[scale]
    else:
        assert 2 / 3 * scale < top <= 4 / 3 * scale


def test_boundaries_belong_to_the_larger_size() -> None:
    q = inq(4)  # sizes 1, 1/2, 1/4, 1/8
    x = torch.tensor([0.0625, 0.0624, 0.1875, 0.1874, 0.75, 0.7499, -0.75, -0.0625])
    assert q(x).tolist() == [0.125, 0, 0.25, 0.125, 1, 0.5, -1, -0.125]


def test_every_level_is_zero_or_a_power_of_two() -> None:
    w = torch.randn(500, generator=torch.Generator().manual_seed(0))
    for bits in range(2, 7):
        sizes = inq(bits, w)(w).abs().unique()
        sizes = sizes[sizes > 0]
        assert torch.equal(torch.frexp(sizes).mantissa, torch.full_like(sizes, 0.5))
        assert len(sizes) <= 2 ** (bits - 2)


def test_claim_error_falls_with_bits_and_beats_min_max_on_small_weights() -> None:
    """Powers of two are dense near 0, where most weights of a trained layer are."""
    w = torch.randn(5000, generator=torch.Generator().manual_seed(1)) ** 3
    errors = [((inq(bits, w)(w) - w) ** 2).mean().item() for bits in (2, 3, 4)]
    assert errors[0] > errors[1] > errors[2]
    minmax = quantizer("minmax:4")
    minmax.calibrate(w)
    assert ((inq(4, w)(w) - w) ** 2).mean() < 0.8 * ((minmax(w) - w) ** 2).mean()


def test_widths() -> None:
    with pytest.raises(ValueError, match="inq takes 2 to 6 bits, got '7'"):
        inq(7)
