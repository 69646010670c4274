import copy
import pickle

import pytest
import torch
from torch import nn

import lowbit
from lowbit.layers import QuantConv2d, QuantLinear
from lowbit.quantizers import Quantizer, quantizer
from lowbit.quantizers.gradient import QuantizeGradient

G = torch.tensor([[0.1, -0.4, 0.2, 0.0]])


def gradients(method: object) -> Quantizer:
    return quantizer(method, role="gradient")  # type: ignore[arg-type]


def test_worked_example_without_noise() -> None:
    # printed with six decimals
    expected = torch.tensor([[0.133333, -0.4, 0.133333, 0.133333]])
    torch.testing.assert_close(gradients("dorefa:2").eval()(G), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["dorefa:1", "dorefa:2", "dorefa:4", "uniform:2", "uniform:4"])
def test_claim_noise_makes_the_mean_right(method: str) -> None:
    """Rounding alone is biased; with noise the mean over many draws is the gradient itself, the largest one too."""
    torch.manual_seed(0)
    draws = 20_000
    q, g = gradients(method).train(), torch.tensor([[0.11, -0.4, 0.23, 0.0, 0.37]])
    values = q(g.expand(draws, 5))
    # 5 standard errors; the standard deviation of a value is at most half the distance of two levels, here 2 M
    error = (values.mean(0) - g[0]).abs().max()
    assert error < 5 * 0.4 / draws**0.5
    rounded = (q.eval()(g)[0] - g[0]).abs().max()
    assert rounded > 2 * error


def test_values_lie_on_the_grid_of_each_sample() -> None:
    torch.manual_seed(1)
    g = torch.randn(6, 3, 4, 4) * torch.logspace(-6, 3, 6).reshape(-1, 1, 1, 1)
    for method, count in (("dorefa:3", 8), ("uniform:3", 7)):
        q = gradients(method).train()
        for sample, value in zip(g, q(g), strict=True):
            top, levels = sample.abs().max(), value.unique()
            assert len(levels) <= count and levels.abs().max() <= top * (1 + 2**-22)
            gaps = levels.diff() / (2 * top / (count - 1))
            torch.testing.assert_close(gaps, gaps.round())


def test_samples_do_not_see_each_other() -> None:
    q = gradients("dorefa:4").eval()
    g = torch.randn(2, 5)
    both = q(g * torch.tensor([[1.0], [1e6]]))
    assert torch.equal(both[:1], q(g[:1]))


def test_zeros_and_nan_stay_in_their_sample() -> None:
    for method in ("dorefa:2", "uniform:2"):
        q = gradients(method).train()
        value = q(torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [torch.inf, 1.0], [1.0, -1.0]]))
        assert torch.equal(value[0], torch.zeros(2)) and value[1:3].isnan().all() and value[3].abs().tolist() == [1, 1]


def test_the_layer_uses_the_quantized_gradient_for_weights_bias_and_inputs() -> None:
    conv = nn.Conv2d(2, 3, 3, bias=True)
    layer = QuantConv2d.replace(conv, None, None, None, gradients("dorefa:2").eval())
    x = torch.randn(4, 2, 6, 6, requires_grad=True)
    g = torch.randn(4, 3, 4, 4)
    layer(x).backward(g)
    found = x.grad, conv.weight.grad, conv.bias.grad
    plain = torch.autograd.grad(
        torch.nn.functional.conv2d(x, conv.weight, conv.bias),
        (x, conv.weight, conv.bias),
        gradients("dorefa:2").eval()(g),
    )
    for got, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(got, expected)


def test_prepare_attaches_by_rule_and_summary_shows_it() -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    rules = [{"match": "4", "gradient": None}, {"match": "2", "gradient": "uniform:8"}]
    model = lowbit.prepare(net, gradient="dorefa:4", rules=rules)
    table = lowbit.summary(model)
    assert [(r["gradient"], r["G"]) for r in table.to_dict()["rows"]] == [
        ("dorefa:4", 4), ("uniform:8", 8), (None, 32),
    ]  # fmt: skip
    assert "gradient" in str(table) and "dorefa:4" in str(table)
    plain = lowbit.prepare(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)))
    assert "gradient" not in str(lowbit.summary(plain)), "an empty column is left out"


def test_converted_program_does_not_depend_on_it() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))]
    nets.append(copy.deepcopy(nets[0]))
    x = torch.randn(7, 6)
    programs = []
    for net, gradient in zip(nets, (None, "dorefa:4"), strict=True):
        model = lowbit.calibrate(lowbit.prepare(net, gradient=gradient), [x]).eval()
        programs.append(lowbit.runtime.reference.run(lowbit.convert(model, x), x.numpy()))
    assert (programs[0] == programs[1]).all()


def test_saved_copied_and_switched_off() -> None:
    net = lowbit.prepare(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4)), gradient="uniform:4")
    lowbit.calibrate(net, [torch.randn(3, 6)])
    twin = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    twin.load_state_dict(net.state_dict())
    layer = twin[0]
    assert isinstance(layer, QuantLinear) and layer.gradient_quantizer is not None
    g = torch.randn(3, 5)
    layer.gradient_quantizer.enabled = False
    assert layer.gradient_quantizer(g) is g


def test_compiles_as_one_graph() -> None:
    net = lowbit.prepare(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), gradient="dorefa:4")
    x = torch.randn(3, 6)
    lowbit.calibrate(net, [x])
    net.train()[0].gradient_quantizer.eval()  # draws of a compiler are its own
    net[2].gradient_quantizer.eval()
    twin = copy.deepcopy(net)
    torch.compiler.reset()
    net(x).square().sum().backward()
    torch.compile(twin, fullgraph=True, backend="aot_eager")(x).square().sum().backward()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_an_empty_batch_passes() -> None:
    y = torch.zeros(0, 3, requires_grad=True)
    QuantizeGradient.apply(y, gradients("dorefa:2")).sum().backward()
    assert y.grad is not None and y.grad.shape == (0, 3)


def test_bad_choices() -> None:
    with pytest.raises(ValueError, match="lsq quantizes WA, not role 'gradient'"):
        gradients("lsq:2")
    with pytest.raises(ValueError, match="uniform takes neither levels nor step for gradients"):
        gradients({"method": "uniform", "bits": 4, "levels": "midrise"})
    with pytest.raises(ValueError, match="uniform takes 2 or more bits where values are signed, got 1"):
        gradients("uniform:1")
    with pytest.raises(ValueError, match="a gradient has no straight-through estimator"):
        gradients({"method": "dorefa", "bits": 4, "ste": "poly"})
