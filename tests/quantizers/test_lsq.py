import math

import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def lsq(method: str, step: float, role: str = "weight", signed: bool | None = None) -> torch.nn.Module:
    q = quantizer(method, role=role, signed=signed)
    q.calibrate(V if q.signed else V.abs())
    with torch.no_grad():
        q.scale.fill_(step)
    return q


def test_worked_example() -> None:
    q = lsq("lsq:2", 0.45)
    x = V.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    # float32 products
    torch.testing.assert_close(y, torch.tensor([-0.9, -0.45, 0, 0.45, 0.45, 0]), rtol=0, atol=1e-6)
    assert q.scale.grad.item() == pytest.approx(-1 / 9 / math.sqrt(6), abs=1e-6)
    assert q.scale.grad.item() == pytest.approx(-0.045361, abs=1e-6)
    assert x.grad.tolist() == [0, 1, 1, 0, 0, 1]


@pytest.mark.parametrize(("index", "slope"), list(enumerate([-2, -1 / 3, -2 / 9, 1, 1, 4 / 9])))
def test_worked_gradient_of_each_element(index: int, slope: float) -> None:
    q = lsq("lsq:2", 0.45)
    q(V)[index].backward()
    # float32: x / s carries 1e-7
    assert q.scale.grad.item() * math.sqrt(6) == pytest.approx(slope, abs=1e-6)


def test_worked_initial_step() -> None:
    q = quantizer("lsq:2")
    q.calibrate(V)
    assert q.scale.item() == pytest.approx(1.0)  # 2 * 0.5 / sqrt(1)


# the worked examples of a fixed step; an asymmetric LSQ grid has one level more below
@pytest.mark.parametrize(
    ("bits", "step", "values"),
    [(2, 0.8, [-0.8, 0, 0, 0.8, 0.8, 0]), (3, 0.3, [-0.9, -0.3, 0, 0.6, 0.9, -0.3])],
)
def test_worked_examples_with_a_fixed_step(bits: int, step: float, values: list[float]) -> None:
    torch.testing.assert_close(lsq(f"lsq:{bits}", step)(V), torch.tensor(values), rtol=0, atol=1e-6)


def test_worked_example_unsigned() -> None:
    q = lsq("lsq:2", 0.4, role="activation", signed=False)
    x = torch.tensor([-0.5, 0.1, 0.3, 0.7, 3.0])
    torch.testing.assert_close(q(x), torch.tensor([0, 0, 0.4, 0.8, 1.2]), rtol=0, atol=1e-6)
    assert q(torch.tensor([0.2])).item() == 0  # a tie goes to the even code


def test_gradient_factor_counts_features_of_one_sample() -> None:
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    q = lsq("lsq:4", 0.1, role="activation", signed=True)
    q(x).sum().backward()
    whole = q.scale.grad.clone()
    q.scale.grad = None
    q(x[:4]).sum().backward()
    first = q.scale.grad.clone()
    q.scale.grad = None
    q(x[4:]).sum().backward()
    torch.testing.assert_close(first + q.scale.grad, whole)  # the factor does not depend on the batch


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [True, False])
def test_agrees_with_torch_learnable_fake_quantize(bits: int, signed: bool) -> None:
    """Values and both gradients of torch's operator.

    It multiplies by a reciprocal and passes gradients half a step beyond the range, so points within 1e-6 of a tie
    and within half a step outside the range are left out.
    """
    x = torch.randn(20000, generator=torch.Generator().manual_seed(1))
    step, low, high = 0.21, -(2 ** (bits - 1)) if signed else 0, 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    position = x.double() / step
    tie = ((position - position.floor()) - 0.5).abs() < 1e-6
    beyond = ((position <= low) & (position >= low - 0.5)) | ((position >= high) & (position <= high + 0.5))
    x = x[~tie & ~beyond]
    assert len(x) > 2000
    q = lsq(f"lsq:{bits}", step, role="activation", signed=signed)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    scale = torch.tensor([step], requires_grad=True)
    factor = 1 / math.sqrt(x.numel() * high)
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    a = q(mine)
    b = torch._fake_quantize_learnable_per_tensor_affine(theirs, scale, torch.zeros(1), low, high, factor)
    a.backward(g)
    b.backward(g)
    torch.testing.assert_close(a, b, rtol=2**-22, atol=0)  # 2 ulp: the same product of step and integer
    assert torch.equal(mine.grad, theirs.grad)
    # sums of up to 20,000 float32 products in another order
    torch.testing.assert_close(q.scale.grad, scale.grad[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_claim_a_trained_step_lowers_the_loss(bits: int) -> None:
    """The step alone is trained: from a poor one to below its initialisation's error, or as good."""
    w = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    q = quantizer(f"lsq:{bits}")
    q.calibrate(w)
    loss = [((q(w) - w) ** 2).sum().item()]
    with torch.no_grad():
        q.scale.mul_(2.5)
    loss.append(((q(w) - w) ** 2).sum().item())
    optimizer = torch.optim.Adam(q.parameters(), lr=0.01 * q.scale.item())
    for _ in range(300):
        optimizer.zero_grad()
        total = ((q(w) - w) ** 2).sum()
        total.backward()
        optimizer.step()
    loss.append(((q(w) - w) ** 2).sum().item())
    assert loss[2] < 0.5 * loss[1] and loss[2] < 1.1 * loss[0]


def test_training_lowers_the_loss_of_a_layer() -> None:
    """A 2-bit layer with a trained step against the same layer whose step stays at its initialisation."""
    generator = torch.Generator().manual_seed(3)
    x, target = torch.randn(256, 16, generator=generator), torch.randn(16, 4, generator=generator)
    final = {}
    for trained in (True, False):
        w = 0.3 * torch.randn(16, 4, generator=torch.Generator().manual_seed(4))
        w.requires_grad_()
        q = quantizer("lsq:2")
        q.calibrate(w.detach())
        parameters = [w, q.scale] if trained else [w]
        optimizer = torch.optim.Adam(parameters, lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            ((x @ q(w) - x @ target) ** 2).mean().backward()
            optimizer.step()
        final[trained] = ((x @ q(w) - x @ target) ** 2).mean().item()
    assert final[True] < 0.8 * final[False]


def test_step_stays_positive() -> None:
    q = lsq("lsq:2", -0.3)
    assert torch.isfinite(q(V)).all() and float(q.grid().scale) == pytest.approx(1e-8)


def test_one_signed_bit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lsq takes 2 or more bits where values are signed, got 1; .* bwn or sign"):
        quantizer("lsq:1")
    q = quantizer("lsq:1", role="activation")
    with pytest.raises(ValueError, match="cannot be quantized: lsq with one bit met negative values; use two"):
        q.calibrate(V)
    q.calibrate(V.abs())
    assert q.grid().code_range == (0, 1)
