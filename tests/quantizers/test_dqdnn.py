import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def dqdnn(bits: int = 4, x: torch.Tensor = V, role: str = "weight") -> torch.nn.Module:
    q = quantizer(f"dqdnn:{bits}", role=role)
    q.calibrate(x)
    return q


def fixed(step: float, limit: float) -> torch.nn.Module:
    q = dqdnn()
    with torch.no_grad():
        q.step.fill_(step), q.limit.fill_(limit)
    return q


def test_worked_example() -> None:
    q = fixed(0.25, 0.75)
    x = V.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    assert y.tolist() == [-0.75, -0.25, 0, 0.5, 0.75, -0.25] and q.grid().bits == 3
    # float32 sums of six terms
    assert q.step.grad.item() == pytest.approx(-0.4, abs=1e-6) and q.limit.grad.item() == 0
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 1]


def test_starts_at_the_width_asked_for() -> None:
    for bits in range(2, 9):
        assert dqdnn(bits).grid().bits == bits and dqdnn(bits, V.abs(), "activation").grid().bits == bits
    assert dqdnn(4)(V).abs().max().item() == pytest.approx(1.0, rel=1e-6)


def test_smooth_bits_meet_the_width_at_powers_of_two() -> None:
    q = fixed(0.25, 0.75)
    assert q.smooth_bits().item() == pytest.approx(3)
    q.smooth_bits().backward()
    # d log2(m / d + 1) / dm = 1 / ((m + d) ln 2)
    assert q.limit.grad.item() == pytest.approx(1 / (1.0 * 0.693147), rel=1e-5)


def test_range_is_a_multiple_of_the_step() -> None:
    q = fixed(0.3, 0.75)
    assert q(V).abs().max().item() == pytest.approx(0.6)  # round(2.5) = 2: half to even
    assert q.grid().code_range == (-2, 2) and q.grid().bits == 3


@pytest.mark.parametrize(
    ("step", "limit", "top"), [(-1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (1.0, -3.0, 1e-3), (1.0, 1e9, 64)]
)
def test_numbers_stay_within_their_bounds(step: float, limit: float, top: float) -> None:
    q = fixed(step, limit)
    y = q(torch.tensor([-1e6, 0.0, 1e6]))
    assert y.tolist() == pytest.approx([-top, 0, top]) and q.grid().bits <= 16


def test_claim_width_shrinks_under_its_penalty() -> None:
    w = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    widths = {}
    for penalty in (0.0, 0.02, 0.3):
        q = dqdnn(6, w).train()
        optimizer = torch.optim.Adam(q.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            (((q(w) - w) ** 2).mean() + penalty * q.smooth_bits()).backward()
            optimizer.step()
        widths[penalty] = q.smooth_bits().item()
    assert widths[0.0] > widths[0.02] + 0.5 > widths[0.3] + 1


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="dqdnn takes 2 or more bits where values are signed, got 1"):
        dqdnn(1)
    with pytest.raises(ValueError, match="dqdnn trains one width for the tensor, not one for each channel"):
        quantizer("dqdnn:4@channel")
