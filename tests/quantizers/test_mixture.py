import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import ConversionError
from lowbit.quantizers import Quantizer, quantizer

V = torch.tensor([-1.0, -0.3, 0.1, 0.5, 0.9, -0.2])


def mixture(bits: int = 2, role: str = "weight", **options: object) -> torch.nn.Module:
    q = quantizer({"method": "mixture", "bits": bits, **options}, role=role)
    q.calibrate(V)
    return q.train()


# printed with six decimals or fewer
def test_worked_examples_of_binary_relax() -> None:
    relaxed = mixture(parts=["minmax:2", "float"], shares=[3, 1])
    expected = [-1, -0.35, 0.225, 0.325, 0.9, -0.325]
    torch.testing.assert_close(relaxed(V).detach(), torch.tensor(expected), rtol=0, atol=1e-6)
    expected = [-1, -0.302092, 0.169804, 0.428105, 0.9, -0.269804]
    torch.testing.assert_close(mixture(2)(V).detach(), torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("temperature", "shares"), [(100, (0.336244, 0.334050, 0.329705)), (1, (0.602437, 0.313040, 0.084523))]
)
def test_worked_shares_of_attention(temperature: float, shares: tuple[float, ...]) -> None:
    q = mixture(learned=True)
    with torch.no_grad():
        q.alpha.copy_(torch.tensor([3.927922, 3.273268, 1.963961]))
    q.temperature.fill_(temperature)
    assert q.shares().tolist() == pytest.approx(shares, abs=2e-6)


def test_gradients_of_shares_and_inputs() -> None:
    """da_k = sum g Q_k, through the softmax: the derivative of sum a_k (g . Q_k)."""
    q = mixture(learned=True, shares=[5, 3, 2])
    g = torch.tensor([1.0, -2, 3, 0.5, 1, 2])
    x = V.clone().requires_grad_()
    q(x).backward(g)
    values = torch.stack([part.train()(V).detach() @ g for part in q.parts])
    a = torch.tensor([0.5, 0.3, 0.2])
    # float32 sums of six and three terms
    torch.testing.assert_close(q.alpha.grad, a * (values - (a * values).sum()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(x.grad, g, rtol=1e-6, atol=0)


def test_parts_with_parameters_get_their_share() -> None:
    q, alone = mixture(parts=["lsq:2", "lsq:4"], shares=[1, 3]), quantizer("lsq:4")
    alone.calibrate(V)
    q(V).sum().backward()
    alone(V).sum().backward()
    torch.testing.assert_close(q.part1.scale.grad, 0.75 * alone.scale.grad)


def test_eval_is_the_part_of_the_largest_share() -> None:
    q = mixture(parts=["bwn", "twn", "minmax:8"], shares=[0.2, 0.5, 0.3])
    twn = quantizer("twn")
    twn.calibrate(V)
    assert torch.equal(q.eval()(V), twn(V)) and q.grid(V).same(twn.grid(V))
    assert torch.equal(q.train().encode(V), twn.encode(V)) and q.unfinished() == pytest.approx(0.5)


def test_float_is_never_left() -> None:
    q = mixture(parts=["float", "minmax:2"], shares=[0.9, 0.1])
    assert q.eval().chosen == 1 and q.unfinished() == pytest.approx(0.9)
    q.choose(1)
    assert q.unfinished() == 0
    with pytest.raises(ValueError, match="mixture has no quantizer 0 to end with, it has 2 parts"):
        q.choose(0)


@pytest.mark.parametrize("learned", [False, True])
def test_an_ended_mixture_trains_on_its_grid(learned: bool) -> None:
    q = mixture(learned=learned)
    q.choose(2)
    assert q.unfinished() == 0
    torch.testing.assert_close(q(V).detach(), copy.deepcopy(q).eval()(V).detach(), rtol=1e-6, atol=0)


def test_claim_error_falls_as_the_float_share_grows() -> None:
    """The relaxation leads from the float to the grid without a jump."""
    errors = [
        ((mixture(parts=["minmax:2", "float"], shares=[s, 1 - s])(V) - V) ** 2).mean().item()
        for s in (1.0, 0.75, 0.5, 0.25, 0.0)
    ]
    assert all(b < a for a, b in pairwise(errors)) and errors[-1] == 0


def test_a_model_with_mixtures_calibrates_and_converts() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    spec = {"method": "mixture", "bits": 2, "parts": ["sawb:2", "sawb:4"]}
    x = torch.randn(8, 6)
    model = lowbit.prepare(net, weight=spec, activation="mixture:2", first="same", last="same")
    lowbit.calibrate(model, [x])
    with pytest.raises(ConversionError, match=r"0: mixture still mixes: \d+\.\d% of its training value"):
        lowbit.convert(model, x)
    for q in model.modules():
        if isinstance(q, Quantizer):
            q.harden()
    program = lowbit.convert(model, x)
    assert torch.equal(torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy())), model.eval()(x))


@pytest.mark.parametrize("parts", [["float"], [], "minmax:2", 3])
def test_bad_parts(parts: object) -> None:
    with pytest.raises(ValueError, match=r"mixture's parts are .*, allowed is a list of methods, at least one"):
        mixture(parts=parts)


@pytest.mark.parametrize("shares", [[1], [1, -1, 1], [0, 0, 0], [1, 2, 3, 4], 3, ["1", "1", "1"], [1, 1, float("nan")]])
def test_bad_shares(shares: object) -> None:
    with pytest.raises(ValueError, match=r"mixture's shares are .*, allowed are 3 numbers from 0, not all 0"):
        mixture(shares=shares)


def test_bad_normalize() -> None:
    with pytest.raises(ValueError, match="mixture's normalize is 'std', allowed are none, detach, in_graph"):
        mixture(normalize="std")


@pytest.mark.parametrize("normalize", ["detach", "in_graph"])
def test_normalized_shares(normalize: str) -> None:
    """softmax(alpha / std(alpha)) at temperature 1, DQA Eq. 7's alpha for 2, 4 and 8 bits."""
    q = mixture(learned=True, normalize=normalize)
    with torch.no_grad():
        q.alpha.copy_(torch.tensor([6 / 7, 5 / 7, 3 / 7]))
    assert q.shares().tolist() == pytest.approx((0.602437, 0.313040, 0.084523), abs=1e-6)
    q.choose(1)
    assert q.unfinished() == 0


def test_bits_are_those_of_the_part_that_is_left() -> None:
    q = mixture(2)
    assert q.bits == 2
    q.share_out([1, 1, 3])
    assert (q.bits, q.shares().tolist()) == (8, pytest.approx([0.2, 0.2, 0.6]))
    loaded = mixture(2)
    loaded.load_state_dict(q.state_dict())
    assert loaded.bits == 8


def test_claim_three_widths_err_less_than_one_width_and_the_float() -> None:
    """DQA Fig. 2, on N(0, 1): at every temperature the error is at most that of Binary-Relax's two parts."""
    x = torch.randn(20000, generator=torch.Generator().manual_seed(0))

    def error(parts: list[str], alpha: list[float], temperature: float) -> float:
        q = quantizer({"method": "mixture", "bits": 2, "parts": parts, "learned": True}).train()
        q.calibrate(x)
        with torch.no_grad():
            q.alpha.copy_(torch.tensor(alpha))
            q.temperature.fill_(temperature)
            return (q(x) - x).abs().mean().item()

    for temperature in (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 100):
        three = error(["minmax:2", "minmax:4", "minmax:8"], [4 / 7, 2 / 7, 1 / 7], temperature)
        two = error(["minmax:2", "float"], [3 / 4, 1 / 4], temperature)
        # the coldest are 2 bits alone, up to the rounding of float32 sums
        assert three < two * (1 + 1e-6) if temperature < 0.1 else three < 0.99 * two
