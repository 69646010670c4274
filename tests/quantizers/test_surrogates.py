import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import lowbit
from lowbit.errors import UnknownName
from lowbit.quantizers import METHODS, quantizer
from lowbit.quantizers.surrogates import SURROGATES, surrogate

X = torch.tensor([-1.5, -0.5, 0.5, 1.5])


def slope(ste: object, x: Tensor) -> list[float]:
    """dq/dx of a sign with this estimator."""
    q = quantizer({"method": "sign", "ste": ste}, role="activation")
    q.calibrate(x)
    x = x.clone().requires_grad_()
    q(x).sum().backward()
    assert x.grad is not None
    return x.grad.tolist()


@pytest.mark.parametrize(
    ("ste", "expected"),
    [
        ("identity", [1, 1, 1, 1]),
        ("htanh", [0, 1, 1, 0]),
        ("poly", [0, 1, 1, 0]),
        ({"name": "sat_relu", "top": 1}, [0, 0, 1, 0]),
        ({"name": "clipped", "low": -0.5, "high": 2}, [0, 1, 1, 1]),
    ],
)
def test_worked_examples(ste: object, expected: list[float]) -> None:
    assert slope(ste, X) == expected


def test_worked_example_of_poly_between() -> None:
    assert slope("poly", torch.tensor([0.25, -0.25])) == [1.5, 1.5]


PRIMITIVES: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "clipped": lambda x: x.clamp(-1, 1),
    "htanh": lambda x: x.clamp(-1, 1),
    "sat_relu": lambda x: x.clamp(0, 1),
    "poly": lambda x: torch.where(x < 0, 2 * x + x * x, 2 * x - x * x).where(x.abs() < 1, x.sign()),
    "tanh": torch.tanh,
}
"""The functions whose derivatives the estimators are, written down here from their definitions."""


@pytest.mark.parametrize("name", SURROGATES)
def test_each_is_the_derivative_of_its_function(name: str) -> None:
    # odd multiples of 0.01: no kink of any function lies within the step of the differences
    x = (torch.arange(-150, 150, dtype=torch.float64) * 2 + 1) / 100
    h = 1e-5
    f = PRIMITIVES[name]
    numeric = (f(x + h) - f(x - h)) / (2 * h)
    found = surrogate(name)
    assert found is not None
    torch.testing.assert_close(found.slope(x), numeric, rtol=1e-8, atol=1e-8)  # h^2 f''' / 6, and rounding / h


@pytest.mark.parametrize("b", [1.0, 3.0])
def test_gradcheck_of_the_smooth_one(b: float) -> None:
    """With tanh's own value forward, the estimator is its exact derivative."""
    from lowbit.quantizers.surrogates import Slopes

    found = surrogate({"name": "tanh", "slope": b})
    assert found is not None
    x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: Slopes.apply(t, torch.tanh(b * t.detach()), found.slope), x)


def test_tanh_nears_the_sign_as_its_slope_grows() -> None:
    x = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    for b in (1.0, 10.0, 100.0):
        found = surrogate({"name": "tanh", "slope": b})
        assert found is not None
        # all but the ends' 1 - tanh(2 b) of the area of a derivative of the sign, 2, in an ever narrower middle
        area = torch.trapezoid(found.slope(x), x).item()
        assert area == pytest.approx(2 * math.tanh(2 * b), rel=1e-3)


def _parameter_gradients(ste: str | None) -> tuple[Tensor, dict[str, Tensor]]:
    q = quantizer({"method": "lsq", "bits": 2, "ste": ste} if ste else "lsq:2", role="activation", signed=True)
    x = torch.randn(64, generator=torch.Generator().manual_seed(0))
    q.calibrate(x)
    w = x.clone().requires_grad_()
    q(w).backward(torch.ones(64))
    assert w.grad is not None
    return w.grad, {name: p.grad.clone() for name, p in q.named_parameters() if p.grad is not None}


def test_trained_scales_keep_their_gradient() -> None:
    (own_x, own), (x, trained) = _parameter_gradients(None), _parameter_gradients("identity")
    assert own.keys() == trained.keys() == {"scale"} and torch.equal(own["scale"], trained["scale"])
    assert (x == 1).all() and not torch.equal(own_x, x)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_one_and_keeps_its_values(method: str) -> None:
    card = METHODS[method].card
    bits, role = max(2, card.min_bits) if card.max_bits > 1 else 1, "weight" if "W" in card.kind else "activation"
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    plain = quantizer({"method": method, "bits": bits, "granularity": "tensor"}, role=role)
    other = quantizer({"method": method, "bits": bits, "granularity": "tensor", "ste": "poly"}, role=role)
    for q in (plain, other):
        q.calibrate(x)
        q.eval()
    w = x.clone().requires_grad_()
    y = other(w)
    assert torch.equal(y, plain(x)) and torch.equal(other.encode(x), plain.encode(x))
    y.backward(torch.full_like(x, 3.0))
    assert w.grad is not None
    torch.testing.assert_close(w.grad, 3 * (2 - 2 * x.abs()).clamp_min(0))
    again = pickle.loads(pickle.dumps(copy.deepcopy(other)))
    assert str(again.ste) == "poly" and torch.equal(again(x), y)


def test_compiles_as_one_graph() -> None:
    q = quantizer({"method": "lsq", "bits": 2, "ste": {"name": "tanh", "slope": 2}}, role="activation", signed=True)
    x = torch.randn(5, 4)
    q.calibrate(x)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.compiler.reset()
    q(a).square().sum().backward()
    torch.compile(q, fullgraph=True, backend="aot_eager")(b).square().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_a_relu_is_not_folded_away_where_the_gradient_differs() -> None:
    """An identity estimator would let gradients through below 0, where the ReLU stops them."""

    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))

    folded = lowbit.prepare(net(), activation="lsq:2")
    kept = lowbit.prepare(net(), activation={"method": "lsq", "bits": 2, "ste": "identity"})
    assert isinstance(folded[1], nn.Identity) and isinstance(kept[1], nn.ReLU)
    assert lowbit.summary(kept).to_dict()["rows"][1]["activation"] == "lsq:2 ste=identity"


@pytest.mark.parametrize(
    ("ste", "message"),
    [
        ("polly", "unknown straight-through estimator (ste) 'polly'; did you mean 'poly'?"),
        (3, "unknown straight-through estimator (ste) 3. Known: clipped"),
        ({"name": None}, "unknown straight-through estimator (ste) None. Known: clipped"),
        ({"name": "tanh", "slop": 2}, "unknown setting of ste 'tanh' 'slop'; did you mean 'slope'?"),
        ({"name": "tanh", "slope": 0}, "tanh takes a slope above 0, got 0"),
        ({"slope": 2}, "ste {'slope': 2} names no straight-through estimator; write {'name': 'tanh', 'slope': 2}"),
        ({"name": "tanh", "slope": math.nan}, "ste 'tanh': slope is nan, allowed is a number"),
        ({"name": "clipped", "low": 2}, "clipped takes low < high, got 2 and 1.0"),
        ({"name": "sat_relu", "top": "1"}, "ste 'sat_relu': top is '1', allowed is a number"),
    ],
)
def test_bad_choices(ste: object, message: str) -> None:
    with pytest.raises((UnknownName, ValueError)) as error:
        quantizer({"method": "sign", "ste": ste})
    assert message in str(error.value)
