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


@pytest.mark.parametrize("trained", ["step, range", "width, step", "width, range"])
@pytest.mark.parametrize("signed", [True, False])
def test_parametrisations_are_one_function_by_the_chain_rule(trained: str, signed: bool) -> None:
    """At equal d and m they give equal values; gradients are those of d and m times the derivatives of d and m."""
    x = V if signed else V.abs()
    q = quantizer({"method": "dqdnn", "bits": 4, "trained": trained}, role="activation", signed=signed)
    plain = quantizer("dqdnn:4", role="activation", signed=signed)
    for each in (q, plain):
        each.calibrate(x)
    x, g = 1.5 * x, torch.linspace(-1, 2, 6)
    assert torch.equal(q(x), plain(x)) and q.grid().bits == 4
    for each in (q, plain):
        each.zero_grad()
        each(x).backward(g)
    dd, dm = plain.step.grad, plain.limit.grad
    d, m, sign = plain.step.detach(), plain.limit.detach(), float(signed)
    steps = 2 ** (4 - sign)  # width 4: m / d + 1
    expected = {
        "step, range": {"step": dd, "limit": dm},
        "width, step": {"width": dm * d * steps * 0.6931472, "step": dd + dm * (steps - 1)},
        "width, range": {"width": -dd * m * steps * 0.6931472 / (steps - 1) ** 2, "limit": dm + dd / (steps - 1)},
    }[trained]
    assert {name for name, _ in q.named_parameters()} == set(expected)
    for name, parameter in q.named_parameters():
        # float32: the width 4 comes from a logarithm
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trained", ["step, range", "width, step", "width, range"])
def test_a_whole_width_can_be_set(trained: str) -> None:
    for role, x in (("weight", V), ("activation", V.abs())):
        q = quantizer({"method": "dqdnn", "bits": 6, "trained": trained}, role=role)
        q.calibrate(x)
        for bits in (4, 2):
            q.set_bits(bits)
            assert q.grid().bits == bits and q(x).abs().max().item() == pytest.approx(1.0, rel=1e-5)


def test_width_stays_within_its_bounds() -> None:
    for trained in ("width, step", "width, range"):
        q = quantizer({"method": "dqdnn", "bits": 4, "trained": trained})
        q.calibrate(V)
        # clamped to 2 and 16 bits; then m to 64 = 448 steps of 1 / 7, or d to 2^-8 = 256 steps: 10 bits each
        for width, bits in ((-3.0, 2), (99.0, 10)):
            with torch.no_grad():
                q.width.fill_(width)
            y = q(V)
            assert torch.isfinite(y).all() and q.grid().bits == bits


def test_step_as_a_power_of_two() -> None:
    q = quantizer({"method": "dqdnn", "bits": 3, "power_of_two": True})
    q.calibrate(V)
    assert q.grid().scale == 0.25 and q(V).abs().max() <= 1
    with torch.no_grad():
        q.step.fill_(0.2)
    q(V).sum().backward()
    assert q.grid().scale == 0.25 and q.step.grad is not None and torch.isfinite(q.step.grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trained": "bits"}, "dqdnn's trained numbers are 'bits', allowed are 'step, range', 'width, step'"),
        ({"power_of_two": 1}, "dqdnn's power_of_two is 1, allowed are true and false"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantizer({"method": "dqdnn", "bits": 4, **options})
