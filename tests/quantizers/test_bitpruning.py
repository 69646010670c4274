import pytest
import torch

from lowbit.quantizers import quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def pruning(width: float, x: torch.Tensor = V, role: str = "weight") -> torch.nn.Module:
    q = quantizer(f"bitpruning:{int(width)}", role=role)
    q.calibrate(x)
    with torch.no_grad():
        q.width.fill_(width)
    return q


def test_worked_example() -> None:
    q = pruning(2.5)
    y = q(V)
    y.sum().backward()
    expected = [-1, -0.27619, 0.17619, 0.447619, 0.9, -0.27619]
    # printed with six decimals
    torch.testing.assert_close(y.detach(), torch.tensor(expected), rtol=0, atol=1e-6)
    assert q.width.grad.item() == pytest.approx(0.542857, abs=1e-6)


def test_an_integer_width_is_min_max_and_still_learns() -> None:
    q, minmax = pruning(3.0), quantizer("minmax:3")
    minmax.calibrate(V)
    x = V.clone().requires_grad_()
    y = q(x)
    assert torch.equal(y, minmax(V)) and q.unfinished() == 0
    y.sum().backward()
    assert q.width.grad is not None and x.grad.tolist() == [1] * 6


def test_eval_takes_the_next_integer() -> None:
    q, minmax = pruning(2.25), quantizer("minmax:3")
    minmax.calibrate(V)
    assert torch.equal(q.eval()(V), minmax(V)) and q.grid(V).bits == 3
    assert q.unfinished() == pytest.approx(0.75)


def test_codes_are_those_of_eval_while_training() -> None:
    q = pruning(2.25).train()
    assert torch.equal(q.encode(V), q.eval().encode(V))
    assert not q.training and q.train().encode(V) is not None and q.training


@pytest.mark.parametrize(("width", "bits"), [(-3.0, 1), (0.5, 1), (40.0, 16)])
def test_width_stays_between_one_and_sixteen(width: float, bits: int) -> None:
    q = pruning(2.0)
    with torch.no_grad():
        q.width.fill_(width)
    assert torch.isfinite(q(V)).all() and q.grid(V).bits == bits


def test_activations_mix_two_grids_of_one_range() -> None:
    q = pruning(2.5, role="activation").eval()
    q.training = True
    parts = []
    for bits in (2, 3):
        minmax = quantizer(f"minmax:{bits}", role="activation")
        minmax.calibrate(V)
        parts.append(minmax.eval()(V))
    q.track = lambda x: None
    # float32 sums of two terms
    torch.testing.assert_close(q(V).detach(), (parts[0] + parts[1]) / 2, rtol=1e-6, atol=1e-6)


def test_claim_width_shrinks_under_its_penalty() -> None:
    """Without one the width grows; with one it stops where a bit is worth less than it costs."""
    w = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    widths = {}
    for penalty in (0.0, 0.01, 0.2):
        q = pruning(4.0, w).train()
        optimizer = torch.optim.Adam(q.parameters(), lr=0.02)
        for _ in range(250):
            optimizer.zero_grad()
            (((q(w) - w) ** 2).mean() + penalty * q.width).backward()
            optimizer.step()
        widths[penalty] = q.width.item()
    assert widths[0.0] > widths[0.01] > widths[0.2] and widths[0.0] > 4 > widths[0.2]


def test_grid_needs_the_weight() -> None:
    with pytest.raises(ValueError, match=r"bitpruning computes its range from the weight: call grid\(weight\)"):
        pruning(2.0).grid()
