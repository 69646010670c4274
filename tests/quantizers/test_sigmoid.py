from itertools import pairwise

import pytest
import torch

from lowbit.quantizers import quantizer
from lowbit.quantizers.kmeans import centers

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def sigmoid(bits: int, x: torch.Tensor = V, role: str = "weight", **options: object) -> torch.nn.Module:
    q = quantizer({"method": "sigmoid", "bits": bits, **options}, role=role)
    q.calibrate(x)
    return q


def test_worked_example() -> None:
    q = sigmoid(2, biases="linear")
    # printed with six decimals
    assert q.slope.item() == pytest.approx(1.25) and q.scale.item() == pytest.approx(0.8)
    assert q.biases.tolist() == [-0.5, 0.5]
    soft = [-0.424905, -0.139661, 0.046951, 0.228899, 0.389471, -0.093602]
    torch.testing.assert_close(q.train()(V).detach(), torch.tensor(soft), rtol=0, atol=1e-6)
    torch.testing.assert_close(q.eval()(V).detach(), torch.tensor([-0.8, 0, 0, 0.8, 0.8, 0]), rtol=0, atol=1e-6)


def test_worked_gradients() -> None:
    q = sigmoid(2, biases="linear", learn_biases=True).train()
    x = torch.tensor([0.5], requires_grad=True)
    q(x).backward()
    assert x.grad.item() == pytest.approx(0.434043, abs=2e-6)  # given as .434044
    assert q.scale.grad.item() == pytest.approx(0.286124, abs=1e-6)
    assert q.slope.grad.item() == pytest.approx(0.173618, abs=1e-6)
    assert q.biases.grad.tolist() == pytest.approx([-0.1480, -0.1992], abs=5e-5)
    assert abs(x.grad.item() - 0.276280) > 0.1  # the reading with a bare sigmoid


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_gradients_are_the_derivatives_of_the_soft_form(temperature: float) -> None:
    """gradcheck of the whole value in float64, for x and every parameter."""
    q = sigmoid(3, V.double(), learn_biases=True).double().train()
    q.temperature.fill_(temperature)
    parameters = dict(q.named_parameters())

    def value(x: torch.Tensor, *numbers: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(q, dict(zip(parameters, numbers, strict=True)), (x,))

    inputs = [t.detach().clone().requires_grad_() for t in (V.double(), *parameters.values())]
    assert torch.autograd.gradcheck(value, inputs)


def test_claim_soft_form_converges_to_the_hard_one() -> None:
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    q = sigmoid(3, x)
    hard = q.eval()(x).detach()
    gaps = []
    for temperature in (1, 5, 20, 100, 1000):
        q.temperature.fill_(temperature)
        gaps.append((q.train()(x).detach() - hard).abs().mean().item())
    assert all(b < 0.75 * a for a, b in pairwise(gaps)) and gaps[-1] < 0.01, gaps


def test_claim_k_means_biases_beat_linear_ones() -> None:
    """On heavy tails, with the best scale for each."""
    x = torch.randn(4000, generator=torch.Generator().manual_seed(1)) ** 3
    error = {}
    for rule in ("kmeans", "linear"):
        u = sigmoid(3, x, biases=rule).eval().units(x)[0].detach()
        best = (x * u).sum() / (u * u).sum()
        error[rule] = ((x - best * u) ** 2).mean().item()
    assert error["kmeans"] < error["linear"]


def test_centers_are_means_of_their_clusters() -> None:
    x = torch.tensor([0.0, 0.1, 0.2, 5.0, 5.1, 9.0, 9.2], dtype=torch.float64)
    torch.testing.assert_close(centers(x, 3), torch.tensor([0.1, 5.05, 9.1], dtype=torch.float64))
    assert centers(torch.tensor([1.0, 1, 1]), 3).tolist() == [1, 1, 1]  # fewer values than clusters


def test_activations_start_at_zero() -> None:
    q = sigmoid(2, V.relu(), "activation").eval()
    assert q.levels == (0, 1, 2, 3) and q(torch.tensor([-5.0])).item() == 0
    assert q.encode(torch.tensor([100.0])).item() == 3


def test_binary_weights_have_no_bias_and_the_gradient_of_temperature_one() -> None:
    """Yang et al. 4.1: T = 1 in the backward pass; the forward still sharpens."""
    q, plain = sigmoid(1).train(), sigmoid(1).train()
    assert q.biases.tolist() == [0] and q.bwd_T == 1 and sigmoid(2).bwd_T is None
    q.temperature.fill_(20)
    grads = []
    for each in (q, plain):
        x = V.clone().requires_grad_()
        each(x).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(q(V).detach(), q.scale.detach() * torch.tanh(10 * q.slope.detach() * V))
    assert q.scale.grad.item() == pytest.approx((q(V).detach() / q.scale.detach()).sum().item(), rel=1e-5)


def test_any_set_of_levels() -> None:
    q = sigmoid(3, levels=(-5, -1, 0, 7)).eval()
    assert q.grid().table == (-5, -1, 0, 7) and q.max_unit == 7
    units = q.units(torch.tensor([-9.0, 9.0]))[0]
    assert units.tolist() == [-5, 7]


@pytest.mark.parametrize("levels", [(1, 0), (0, 0, 1), (0,), (0.5, 1), 3, tuple(range(9))])
def test_bad_level_sets(levels: object) -> None:
    with pytest.raises(ValueError, match=r"sigmoid's levels are .*, allowed are 2 to 8 integers in ascending order"):
        quantizer({"method": "sigmoid", "bits": 3, "levels": levels})


def test_it_ends_in_steps() -> None:
    q = sigmoid(2).train()
    assert q.unfinished() == pytest.approx(0.377541, abs=1e-6)  # sigmoid(-1 / 2)
    q.harden()
    x = V.clone().requires_grad_()
    y = q(x)
    y.sum().backward()
    assert q.unfinished() == 0 and x.grad.abs().sum() > 0
    assert torch.equal(y, q.eval()(V))
    loaded = sigmoid(2)
    loaded.load_state_dict(q.state_dict())
    assert loaded.unfinished() == 0


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="sigmoid's bwd_T is 0, allowed are numbers above 0"):
        sigmoid(2, bwd_T=0)
    with pytest.raises(ValueError, match="sigmoid's biases are 'random', allowed are kmeans, linear"):
        sigmoid(2, biases="random")
    with pytest.raises(ValueError, match="sigmoid has one set of biases for the tensor, not one for each channel"):
        quantizer("sigmoid:2@channel")


def test_clamp_stops_the_gradient_of_far_values() -> None:
    x = torch.tensor([-3.0, 0.45, 3.0])
    grads = {}
    for clamp in (None, 10):
        q = quantizer({"method": "sigmoid", "bits": 2, "biases": "linear", "clamp": clamp})
        q.calibrate(torch.tensor([-1.0, 1.0]))
        q.temperature.fill_(5.0)
        w = x.clone().requires_grad_()
        q.train()(w).sum().backward()
        grads[clamp] = w.grad
    assert grads[10].tolist()[0] == grads[10].tolist()[2] == 0 and (grads[None] != 0).all()
    assert grads[10][1] == grads[None][1]
    with pytest.raises(ValueError, match="sigmoid's clamp is -1, allowed is a number above 0, or none"):
        quantizer({"method": "sigmoid", "bits": 2, "clamp": -1})
