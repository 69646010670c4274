"""lq, abc, xnor, xnor++: METHODS' worked numbers, claims, and gains that programs compute alike."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import InvalidInput
from lowbit.quantizers import quantizer
from lowbit.quantizers.abc import fit
from lowbit.quantizers.xnor import XNOR
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def near(a: torch.Tensor, b: list[float], tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.detach(), torch.tensor(b, dtype=torch.float32), rtol=0, atol=tolerance)


# -- LQ-Nets -----------------------------------------------------------------------------------------------------


def qem(q: torch.nn.Module, x: torch.Tensor, rounds: int = 50) -> None:
    for _ in range(rounds):
        q.basis = q._fit(x.reshape(1, -1), q.basis)


def test_lq_example_converges_from_the_given_basis() -> None:
    q = quantizer("lq:2@tensor")
    q.calibrate(V)
    q.basis = torch.tensor([[0.25, 0.5]])
    qem(q, V)
    # the ridge of 1e-4 in the normal equations moves the fit by about 1e-4 / 6
    near(q.basis[0], [0.3375, 0.6125], 5e-5)
    near(q.eval()(V), [-0.95, -0.275, 0.275, 0.275, 0.95, -0.275], 1e-4)


def test_qem_never_raises_the_error() -> None:
    torch.manual_seed(0)
    w = torch.randn(4, 200)
    q = quantizer("lq:3@channel").eval()
    q.calibrate(w)
    q.basis = torch.rand(4, 3) + 0.1
    errors = []
    for _ in range(30):
        errors.append(((q(w) - w) ** 2).sum(1))
        q.basis = q._fit(w, q.basis)
    for before, after in pairwise(errors):
        assert (after <= before * (1 + 1e-4)).all()  # the ridge may cost that much
    assert (errors[-1] < errors[0]).all()


def test_lq_beats_a_uniform_grid_on_gaussian_weights() -> None:
    torch.manual_seed(0)
    w = torch.randn(1, 4000)
    errors = {}
    for spec in ("lq:2@tensor", "minmax:2@tensor"):
        q = quantizer(spec).eval()
        q.calibrate(w)
        errors[spec] = float(((q(w) - w) ** 2).mean())
    assert errors["lq:2@tensor"] < errors["minmax:2@tensor"] / 2


def test_lq_codes_of_activations_ascend_with_the_value() -> None:
    q = quantizer("lq:3", role="activation").eval()
    q.calibrate(torch.randn(1000).abs())
    q.basis = torch.tensor([[0.5, 0.6, 0.7]])  # 0.5 + 0.6 > 0.7: bit patterns are not in order
    x = torch.linspace(-1, 3, 400)
    codes = q.encode(x)
    assert (codes.diff() >= 0).all()
    assert np.array_equal(q.grid().values(codes.numpy()), q(x).numpy())


# -- ABC-Net -----------------------------------------------------------------------------------------------------


def test_abc_weight_examples() -> None:
    q = quantizer("abc:3@tensor")
    q.calibrate(V)
    near(q.scales(V), [0.325, 0.275, 0.35])
    near(q(V), [-0.95, -0.25, 0.3, 0.3, 0.95, -0.25])
    assert float(((q(V) - V) ** 2).sum()) == pytest.approx(0.09, abs=1e-6)
    one = quantizer("abc:1@tensor")
    one.calibrate(V)
    near(one.scales(V), [0.5])


def test_abc_activation_examples() -> None:
    x = torch.tensor([-0.2, 0.3, 0.6, 1.4])
    q = quantizer("abc:2", role="activation")
    q.calibrate(x)
    q.shift.data = torch.tensor([0.0, 0.5])
    near(q.units(x)[0], [-1, -1, 1, 1])
    near(q.units(x)[1], [-1, 1, 1, 1])


def test_abc_error_falls_with_every_base() -> None:
    torch.manual_seed(0)
    w = torch.randn(3000)
    errors = []
    for bases in (1, 2, 3, 5):
        q = quantizer(f"abc:{bases}@tensor")
        q.calibrate(w)
        errors.append(float(((q(w) - w) ** 2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < errors[0] / 2


def test_abc_constant_weights_do_not_fail() -> None:
    q = quantizer("abc:3@tensor")
    q.calibrate(torch.full((5,), 0.7))
    near(q(torch.full((5,), 0.7)), [0.7] * 5)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("numbers", [1, 2, 5, 9, 300])
def test_abc_fit_is_the_pseudo_inverse(bits: int, numbers: int) -> None:
    draw = torch.Generator().manual_seed(numbers)
    normal = torch.randn((9, numbers), generator=draw)
    skewed = torch.rand((9, numbers), generator=draw) ** 8
    few = torch.randint(-1, 2, (9, numbers), generator=draw).float()
    for w in (normal, skewed, few, few.sign() + 0.5):
        q = quantizer(f"abc:{bits}")
        bases = q._bases(w)
        fitted = torch.linalg.pinv(bases.double().movedim(0, -1)) @ w.double()[..., None]
        # both are float64 solutions of one problem; conditions of the bases reach a few hundred
        assert torch.allclose(fit(bases, w.double()), fitted[..., 0], rtol=0, atol=1e-12)


def test_abc_fit_where_both_ends_are_empty() -> None:
    # thresholds are rounded, so that +-std may lie within them; the pseudo-inverse is the reference again
    w = torch.tensor([[-1.0, 1.0, 1.0, -1.0, 0.2]], dtype=torch.float64)
    bases = torch.stack([torch.full_like(w, -1), torch.where(w > 0, 1.0, -1.0), torch.ones_like(w)])
    fitted = torch.linalg.pinv(bases.movedim(0, -1)) @ w[..., None]
    assert torch.allclose(fit(bases, w), fitted[..., 0], rtol=0, atol=1e-12)


# -- XNOR-Net ----------------------------------------------------------------------------------------------------


def test_xnor_example() -> None:
    image = torch.tensor([[[[1.0, -2], [3, -4]], [[-1, 2], [1, 0]]]])
    conv = nn.Conv2d(2, 1, 2, bias=False)
    conv.weight.data = torch.tensor([[[[1, -1], [2, -0.5]], [[0.5, 0.5], [-1, -0.5]]]])
    net = lowbit.prepare(nn.Sequential(conv), weight="xnor", activation="xnor", first="same", last="same")
    layer = net[0]
    near(layer.weight_quantizer.scales(layer.weight)[0], [0.875])
    assert float(layer.input_quantizer.gain(image, layer)) == 1.75
    for mode in (True, False):
        near(net.train(mode)(image).reshape(-1), [3.0625])


@pytest.mark.parametrize("build", [lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), lambda: nn.Linear(5, 3)])
def test_the_gradient_of_k_flows_where_asked_for(build) -> None:  # type: ignore[no-untyped-def]
    """dK/dI = sgn(I) / count, by finite differences of mean|I| as a plain float function."""
    torch.manual_seed(0)
    layer = lowbit.prepare(nn.Sequential(build()), weight="xnor", activation="xnor", first="same", last="same")[0]
    x = torch.randn(2, 2, 5, 5) if isinstance(layer, nn.Conv2d) else torch.randn(2, 5)
    for magnitude in ("constant", "flows"):
        q = quantizer({"method": "xnor", "magnitude": magnitude}, role="activation")
        image = x.clone().requires_grad_()
        k = q.gain(image, layer)
        assert torch.equal(k, quantizer("xnor", role="activation").gain(x, layer))
        if magnitude == "constant":
            assert not k.requires_grad
            continue
        g = torch.randn(k.shape)
        k.backward(g)
        wide = x.double().requires_grad_()
        mean = wide.abs().mean(1, keepdim=True)
        if isinstance(layer, nn.Conv2d):
            mean = nn.functional.avg_pool2d(nn.functional.pad(mean, (1, 1, 1, 1)), 3, 2)
        mean.backward(g.double())
        torch.testing.assert_close(image.grad.double(), wide.grad, rtol=1e-5, atol=1e-6)  # float32 sums of few terms
    with pytest.raises(ValueError, match="xnor's magnitude is 'float', allowed are 'constant' and 'flows'"):
        quantizer({"method": "xnor", "magnitude": "float"})


def test_k_makes_a_binary_layer_follow_the_size_of_its_input() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 32) * torch.linspace(0.1, 3, 64)[:, None]
    linear = nn.Linear(32, 8, bias=False)
    float_out = linear(x).detach()
    errors = {}
    for method in ("xnor", "sign"):
        net = nn.Sequential(nn.Linear(32, 8, bias=False))
        net.load_state_dict({"0.weight": linear.weight})
        lowbit.prepare(net, weight="bwn", activation=method, first="same", last="same", example=x)
        out = net.eval()(x).detach()
        scale = (out * float_out).sum() / (out * out).sum()  # the best single scale for each
        errors[method] = float(((scale * out - float_out) ** 2).sum())
    assert errors["xnor"] < errors["sign"]


GEOMETRIES = [{"kernel_size": 3, "padding": 1}, {"kernel_size": (3, 1), "stride": 2}, {"kernel_size": 2, "dilation": 2}]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize(
    "methods",
    [
        ("xnor", "xnor"),
        ("xnor++", "xnor++"),
        ("xnor++", "xnor"),
        ("bwn", {"method": "tbn", "magnitude": True}),
    ],
    ids=str,
)
def test_gains_are_the_same_everywhere(methods: tuple[str, object], geometry: dict, bias: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 5, bias=bias, **geometry), nn.BatchNorm2d(5), nn.Conv2d(5, 4, 1, bias=bias), nn.Flatten(),
        nn.LazyLinear(3),
    )  # fmt: skip
    x = torch.randn(3, 3, 7, 9)
    net(x)
    lowbit.prepare(net, weight=methods[0], activation=methods[1], first="same", last="same", example=x)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.train()(x).square().sum().backward()
    optimizer.step()
    program = lowbit.convert(net, x)
    expected = net.eval()(x).detach().numpy()
    assert np.array_equal(reference.run(program, x.numpy()), expected)
    for isa in ("scalar", None):
        out, values = Engine(program, isa=isa).trace(x.numpy())
        assert np.array_equal(out, expected)
        for name, value in reference.run(program, x.numpy(), trace=True)[1].items():
            assert np.array_equal(values.get(name, value), value), name
        assert np.array_equal(Engine(program, isa=isa).run(x.numpy()), expected)


# -- XNOR-Net++ --------------------------------------------------------------------------------------------------


def test_xnor_plus_example() -> None:
    q = quantizer("xnor++")
    conv = nn.Conv2d(1, 1, 1)
    q.calibrate(torch.ones(1, 1, 1, 1))
    layer = lowbit.prepare(nn.Sequential(conv), first=None, last=None)[0]
    x = torch.zeros(1, 1, 2, 2)
    q.gain(x, layer)
    for factor, values in zip(q.factors, ([2.0], [1.0, 0.5], [1.0, 3.0]), strict=True):
        factor.data = torch.tensor(values)
    near(q.gain(x, layer)[0, 0], [[2, 6], [1, 3]])


@pytest.mark.parametrize("case", [1, 2, 3, 4])
def test_xnor_plus_cases_train_and_fix_their_size(case: int) -> None:
    x = torch.randn(2, 3, 6, 5)
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    weight = {"method": "xnor++", "case": case}
    lowbit.prepare(net, weight=weight, activation="sign", first="same", last="same", example=x)
    net.train()(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net[0].weight_quantizer.parameters())
    methods = {"weight": weight, "activation": "sign", "first": "same", "last": "same"}
    small = lowbit.prepare(nn.Sequential(nn.Conv2d(3, 4, 3)), example=torch.randn(2, 3, 3, 3), **methods)
    if case != 1:
        with pytest.raises(InvalidInput, match="learned Gamma"):  # outputs of 1 x 1 are a size like any other
            small(torch.randn(1, 3, 9, 9))
    if case == 1:
        net(torch.randn(1, 3, 9, 9))
    else:
        with pytest.raises(InvalidInput, match=f"0: xnor\\+\\+ case {case} learned Gamma"):
            net(torch.randn(1, 3, 9, 9))


def test_wrong_options() -> None:
    with pytest.raises(ValueError, match="case 1 to 4"):
        quantizer({"method": "xnor++", "case": 5})
    with pytest.raises(ValueError, match="lq takes 1 to 4 bits, got '5'"):
        quantizer("lq:5")
    assert XNOR.card.max_bits == 1
