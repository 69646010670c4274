"""`convert`: every part that has no integer form is listed, and nothing wrong gets through."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lowbit
from lowbit.errors import ConversionError, InvalidInput
from lowbit.quantizers import Quantizer
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available


def mlp(**settings: object) -> nn.Module:
    torch.manual_seed(0)
    return lowbit.prepare(
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), **settings
    )


def batch(n: int = 16) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(1))


class Unsupported(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.silu, self.group = nn.Conv2d(1, 2, 3), nn.SiLU(), nn.GroupNorm(1, 2)
        self.up, self.act = nn.ConvTranspose2d(2, 2, 2), nn.PReLU()
        self.b, self.head = nn.Conv2d(2, 2, (2, 2), padding="same"), nn.Linear(2, 2)
        self.norm = nn.BatchNorm2d(2, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.act(self.up(self.group(self.silu(self.a(x))))))
        y = self.b(y * torch.sigmoid(y))
        return self.head(y.mean((2, 3)))


def test_every_unsupported_part_is_listed_with_its_path_reason_and_advice():
    x = torch.randn(4, 1, 6, 6)
    model = lowbit.prepare(Unsupported(), example=x)
    with pytest.raises(ConversionError) as caught:
        lowbit.convert(model, x)
    lines = str(caught.value).splitlines()
    assert lines[0] == "convert cannot express 7 part(s) of the model as integers:"
    listed = {line.split(":")[0].strip(" -"): line for line in lines[1:]}
    # layers that only read a failed part are not reported again
    assert list(listed) == ["silu", "group", "up", "act", "norm", "sigmoid", "mul"]
    assert all(" has no integer form; use " in listed[k] for k in ("silu", "group", "up", "act", "sigmoid"))
    assert "use Hardswish" in listed["silu"]


def test_each_kind_alone_is_named():
    x = torch.randn(4, 2, 6, 6)
    for module, message in [
        (nn.SiLU(), "1: SiLU has no integer form; use Hardswish"),
        (nn.GELU(), "1: GELU has no integer form; use ReLU or Hardswish"),
        (nn.GroupNorm(1, 2), "1: GroupNorm has no integer form; use BatchNorm2d"),
        (nn.PReLU(), "1: PReLU has no integer form; use LeakyReLU"),
        (nn.ConvTranspose2d(2, 2, 2), "1: ConvTranspose2d has no integer form"),
        (nn.BatchNorm2d(2, track_running_stats=False), "1: BatchNorm without running statistics"),
        (nn.Conv2d(2, 2, 2, padding="same"), "1: padding 'same' of a .* kernel is uneven; use an odd kernel"),
        (nn.AdaptiveAvgPool2d(3), "1: pools .* to 3 with windows of different sizes"),
        (nn.MaxPool2d(2, return_indices=False, dilation=9), "1: a window of 10 does not fit"),
        (nn.AdaptiveMaxPool2d(1), "1: AdaptiveMaxPool2d has no integer form; use one of Conv2d"),
        (nn.Flatten(2), r"1: reshapes other than \[batch, \.\.\.\]"),
    ]:
        net = nn.Sequential(nn.Conv2d(2, 2, 3), module, nn.Conv2d(2, 2, 1))
        model = lowbit.prepare(net)
        for q in model.modules():
            if hasattr(q, "calibrated"):
                q.calibrated = True
        with pytest.raises(ConversionError, match=message):
            lowbit.convert(model, x)


def test_functional_parts_are_named():
    class Functional(nn.Module):
        def __init__(self, how) -> None:
            super().__init__()
            self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 2), how

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.how(self.a(x)))

    for how, message in [
        (lambda t: t * 2, "mul: mul has no integer form"),
        (lambda t: t + 1, "reads the constant 1"),
        (lambda t: torch.add(t, t, alpha=2), "adds with a factor"),
        (lambda t: t.view(-1, 2, 2).flatten(1), "reshapes other than"),
        (lambda t: t[:, [0, 1, 2, 3]], "getitem: getitem has no integer form"),
        (torch.sigmoid, "sigmoid: sigmoid has no integer form"),
        (lambda t: torch.cat([t, t], -1)[:, :4], "concatenates along axis -1; only channels"),
    ]:
        with pytest.raises(ConversionError, match=message):
            lowbit.convert(lowbit.prepare(Functional(how), example=batch()), batch())


def test_shape_queries_are_fine():
    class Query(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.a(x)
            x = F.relu(input=x)
            return self.b(x.view(x.shape[0], -1))

    x = torch.randn(4, 1, 4, 4)
    model = lowbit.prepare(Query(), example=x)
    assert np.array_equal(reference.run(lowbit.convert(model, x), x.numpy()), model.eval()(x).detach().numpy())


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.zeros(2, 4).double(), r"the example is torch.float64 \[2, 4\], allowed is a float32 tensor"),
        (torch.zeros(2, 4, 4), r"torch.float32 \[2, 4, 4\]"),
        (torch.zeros(4), "allowed is"),
        (torch.zeros(2, 4, device="meta"), r"torch.float32 \[2, 4\] without numbers \(meta\), allowed is"),
        (torch.zeros(0, 4), "allowed is"),
        ([1.0], "the example is list"),
        (torch.full((2, 4), float("nan")), "holds NaN or infinity"),
    ],
)
def test_wrong_examples(example, message):
    with pytest.raises(InvalidInput, match=message):
        lowbit.convert(mlp(example=batch()), example)


def test_an_example_of_the_wrong_shape_is_told_from_a_model_without_integer_form():
    with pytest.raises(
        ConversionError, match=r"0: needs \[4\], got \[5\]\nThe model itself cannot take the example, f"
    ):
        lowbit.convert(mlp(example=batch()), torch.zeros(2, 5))
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    with pytest.raises(ConversionError, match=r"cannot take the example, float32 \[2, 3, 8, 8\]: .*but got 3 channels"):
        lowbit.convert(lowbit.prepare(net, example=torch.randn(2, 2, 8, 8)), torch.zeros(2, 3, 8, 8))


def test_what_is_no_model_is_refused():
    with pytest.raises(InvalidInput, match="convert got 5, allowed is a model"):
        lowbit.convert(5, batch())


@pytest.mark.parametrize(("role", "place"), [("weight", "weight_quantizer"), ("activation", "input_quantizer")])
def test_trained_widths_above_8_bits_say_what_to_do(role, place):
    model = mlp(**{role: "bitpruning:8"}, example=batch())
    with torch.no_grad():
        getattr(model[2], place).width.fill_(9)
    with pytest.raises(ConversionError, match=r"2: bitpruning has grown to 9 bits, .*train on with a penalty"):
        lowbit.convert(model, batch())


def test_a_slope_trained_below_zero_still_converts():
    for role in ("weight", "activation"):
        model = mlp(**{role: "sigmoid:2"}, example=batch())
        for q in model.modules():
            if isinstance(q, Quantizer):
                q.harden()
        with torch.no_grad():
            getattr(model[2], {"weight": "weight_quantizer"}.get(role, "input_quantizer")).slope.fill_(-0.5)
        assert lowbit.convert(model, batch()).exact


def test_uncalibrated_unprepared_and_wide_models():
    with pytest.raises(ConversionError, match=r"0: its activation quantizer is not calibrated; run lowbit.calibrate"):
        lowbit.convert(mlp(), batch())
    with pytest.raises(ConversionError, match=r"0: is a plain Linear; call lowbit\.prepare"):
        lowbit.convert(nn.Sequential(nn.Linear(4, 2)), batch())
    with pytest.raises(ConversionError, match="2: lsq:9 has more than the 8 bits"):
        lowbit.convert(mlp(weight="lsq:9", example=batch()), batch())
    with pytest.raises(ConversionError, match="lsq:16 has more than the 8 bits"):
        lowbit.convert(mlp(activation="lsq:16", example=batch()), batch())


def test_weights_that_are_no_numbers_or_no_float32():
    model = mlp(weight="lsq:2", example=batch())
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    with pytest.raises(ConversionError, match="2: its weight holds NaN or infinity"):
        lowbit.convert(model, batch())
    with pytest.raises(ConversionError, match=r"0: its weight is torch.float64; .* call model.float"):
        lowbit.convert(mlp(example=batch()).double(), batch())
    model = mlp(activation="lsq:2", example=batch())
    with torch.no_grad():
        model[2].input_quantizer.scale.fill_(float("nan"))
    with pytest.raises(ConversionError, match="2: its activation quantizer has no usable scale"):
        lowbit.convert(model, batch())
    model = mlp(example=batch())
    with torch.no_grad():
        model[4].bias[1] = float("inf")
    with pytest.raises(ConversionError, match="4: array bias holds NaN or infinity"):
        lowbit.convert(model, batch())


def test_a_batchnorm_without_variance_is_refused():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, eps=1e-12), nn.Linear(4, 2))
    model = lowbit.prepare(net, example=batch())
    model[1].eps = 0.0
    model[1].running_var.zero_()
    with pytest.raises(ConversionError, match="1: array scale holds NaN or infinity"):
        lowbit.convert(model, batch())


def test_outputs_that_are_no_tensor():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.a(x)
            return y, y

    with pytest.raises(ConversionError, match="returns tuple; programs have one tensor"):
        lowbit.convert(lowbit.prepare(Two(), example=batch()), batch())


def test_the_model_is_left_as_it_was():
    model = mlp(example=batch())
    model[1].eval()
    before = ({k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()])
    x = batch()
    lowbit.convert(model, x)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before[0].items())
    assert [m.training for m in model.modules()] == before[1] and torch.equal(x, batch())


def test_a_program_that_disagrees_is_never_returned(monkeypatch):
    conversion = importlib.import_module("lowbit.convert")
    exact = conversion.reference.run
    monkeypatch.setattr(conversion.reference, "run", lambda p, x: exact(p, x) + np.float32(1))
    with pytest.raises(ConversionError, match=r"disagrees with the model on 100.0% .*; please report the model"):
        lowbit.convert(mlp(example=batch()), batch())


# -- layers with a float operand ---------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("settings", [{"activation": None}, {"weight": None}, {"weight": None, "activation": None}])
def test_inexact_layers_are_refused_or_bounded(settings, image):
    torch.manual_seed(0)
    if image:
        net, x = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1)), torch.randn(7, 3, 6, 5)
    else:
        net, x = nn.Sequential(nn.Linear(65, 9)), torch.randn(7, 65)
    model = lowbit.prepare(
        net, first="same", last="same", **({"weight": "lsq:3", "activation": "lsq:4"} | settings), example=x
    )
    missing = " and ".join(k for k in ("weight", "activation") if k in settings)
    with pytest.raises(ConversionError, match=f"0: its {missing} is float, .* pass allow_inexact=True"):
        lowbit.convert(model, x)
    program = lowbit.convert(model, x, allow_inexact=True)
    assert not program.exact and not program.summary().to_dict()["rows"][0]["exact"]
    layer = model.eval()[0]
    with torch.no_grad():
        weight = layer.weight if layer.weight_quantizer is None else layer.weight_quantizer(layer.weight)
        units = x if layer.input_quantizer is None else layer.input_quantizer(x)
        bias = layer.bias.double()
        total = layer.multiply(units.abs().double(), weight.abs().double(), bias.abs()).numpy()
        # 2 * K * 2^-24 * sum |w||x|, the bias counted as one more product
        bound = 2 * (layer.fan_in + 1) * 2.0**-24 * total
        truth = layer.multiply(units.double(), weight.double(), bias).numpy()
        outputs = [model(x).numpy(), torch.cat([model(x[i : i + 1]) for i in range(len(x))]).numpy()]
    outputs += [reference.run(program, x.numpy())]
    outputs += [Engine(program, isa=isa).run(x.numpy()) for isa in available()]
    for y in outputs:
        assert (np.abs(y - truth) <= bound).all()
