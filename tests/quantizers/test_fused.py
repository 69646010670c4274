"""One pass over memory gives the values and gradients of the plain form, natively and in torch alike."""

import pytest
import torch

from lowbit.quantizers import fused, quantizer

METHODS = ["lsq:2", "lsq:4", "lsq:8", "pact:2", "pact:4", "sign", "affine:4", "minmax:3", "hwgq:2"]
LAYOUTS = ["contiguous", "channels_last", "transposed", "sliced"]


def tensor(layout: str, generator: torch.Generator) -> torch.Tensor:
    x = torch.randn(5, 7, 9, 11, generator=generator)
    x.view(-1)[:6] = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e30, -1e30])
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    return {"contiguous": x, "transposed": x.transpose(1, 3), "sliced": x[:, ::2]}[layout]


def step(q: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """Value, input gradient and parameter gradients of one step."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    q.zero_grad(set_to_none=True)
    y = q(x)
    y.backward(grad)
    return [y.detach(), x.grad, *(p.grad for p in q.parameters())]


@pytest.fixture(params=METHODS)
def calibrated(request: pytest.FixtureRequest) -> torch.nn.Module:
    q = quantizer(request.param, role="activation")
    q.calibrate(torch.randn(64, 32, generator=torch.Generator().manual_seed(1)))
    return q.eval()  # running ranges stay, so that both forms see the same state


@pytest.mark.parametrize("layout", LAYOUTS)
def test_native_equals_torch_bit_for_bit(
    calibrated: torch.nn.Module, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fused._kernels is not None, "the native module is not built"
    generator = torch.Generator().manual_seed(2)
    x = tensor(layout, generator)
    grad = torch.randn(x.shape, generator=generator)
    native = step(calibrated, x, grad)
    monkeypatch.setattr(fused, "_kernels", None)
    for a, b in zip(native, step(calibrated, x, grad), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_pass_equals_the_plain_form(
    calibrated: torch.nn.Module, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(3)
    x = tensor(layout, generator)
    grad = torch.randn(x.shape, generator=generator)
    one_pass = step(calibrated, x, grad)
    monkeypatch.setattr("lowbit.quantizers.base.applies", lambda _: False)
    plain = step(calibrated, x, grad)
    assert torch.equal(one_pass[0], plain[0])
    assert torch.equal(one_pass[1], plain[1])
    for a, b in zip(one_pass[2:], plain[2:], strict=True):
        # float64 against float32 sums of some 3,500 terms of size 1: 3500 * 2^-24 with a margin for cancellation
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 16383, 16384, 16385, 600_001])
def test_sums_do_not_depend_on_threads(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    x, g = torch.randn(count, generator=generator), torch.randn(count, generator=generator)
    results = []
    for threads in (1, 2, 3):
        dx = torch.empty_like(x)
        sums = fused._kernels.lsq_backward(g.data_ptr(), x.data_ptr(), dx.data_ptr(), count, 0.3, -2.0, 1.0, threads)
        results.append((sums, dx))
    assert all(r[0] == results[0][0] and torch.equal(r[1], results[0][1]) for r in results)


def test_nan_stays_where_it_is(calibrated: torch.nn.Module) -> None:
    x = torch.linspace(-2, 2, 40)
    x[7] = float("nan")
    assert calibrated(x).isnan().nonzero().tolist() == [[7]]


@pytest.mark.parametrize("method", ["lsq:2", "pact:2", "sign"])
def test_gradients_that_are_not_finite_are_treated_alike(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mask is 0 the gradient is 0, whatever arrives; where it is 1, NaN and infinity pass."""
    q = quantizer(method, role="activation")
    q.calibrate(torch.randn(64, generator=torch.Generator().manual_seed(1)))
    x = torch.tensor([-50.0, 0.1, 0.1, 50.0])
    for grad in ([torch.nan, 1.0, 2.0, torch.inf], [1.0, torch.nan, torch.inf, 2.0]):
        found = []
        for kernels in (fused._kernels, None):
            with monkeypatch.context() as patch:
                patch.setattr(fused, "_kernels", kernels)
                found.append(step(q.eval(), x, torch.tensor(grad))[1])
        torch.testing.assert_close(*found, rtol=0, atol=0, equal_nan=True)
        assert found[0][0] == 0 and found[0][3] == 0
