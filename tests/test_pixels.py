"""Programs that take uint8 images answer as the eval model does on the floats that the pixels stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lowbit
from lowbit.errors import ConversionError, InvalidInput
from lowbit.pixels import from_bytes
from lowbit.program import Op, Program
from lowbit.runtime import load, reference
from lowbit.runtime.engine import Engine, available

IMAGENET = lowbit.Pixels(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def images(count: int = 8, channels: int = 3, size: int = 16) -> Tensor:
    """Random pixels; the first image holds all 256 of them in every channel."""
    x = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=torch.manual_seed(3))
    x[0] = torch.arange(size * size, dtype=torch.uint8).reshape(size, size)
    return x


class Stem(nn.Module):
    """A normalization of the image, a stem, and something behind it."""

    def __init__(self, norm: bool, readers: int = 1) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.stems = nn.ModuleList(nn.Conv2d(3, 8, 3, stride=2, padding=1) for _ in range(readers))
        self.bn, self.conv, self.fc = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        y = self.stems[0](x)
        if len(self.stems) > 1:
            y = y + self.stems[1](x)
        return self.fc(self.conv(torch.relu(self.bn(y))).mean((2, 3)))


def prepared(net: nn.Module, x: Tensor, pixels: lowbit.Pixels, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    model = lowbit.prepare(net, weight="lsq:2", activation="lsq:2", example=pixels(x), **settings)
    lowbit.calibrate(model, [pixels(x)])
    model.train()
    with torch.no_grad():
        model(pixels(x))  # BatchNorm learns means
    return model.eval()


def same(program: Program, model: nn.Module, x: Tensor, pixels: lowbit.Pixels) -> None:
    assert program.input_dtype == "uint8"
    assert program.ops[0].kind == "lookup"
    with torch.no_grad():
        expected = model(pixels(x)).numpy()
    assert np.array_equal(reference.run(program, x.numpy()), expected)
    for isa in available():
        assert np.array_equal(Engine(program, isa=isa).run(x.numpy()), expected), isa
    assert np.array_equal(Engine(program, threads=2).run(x.numpy()[:1]), expected[:1])


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("first", ["affine:8", "lsq:8", "lsq:2", "sign", "minmax:4"])
def test_equals_the_eval_model_on_the_scaled_image(first, norm):
    x = images()
    model = prepared(Stem(norm), x, IMAGENET, first=first)
    same(lowbit.convert(model, x, pixels=IMAGENET), model, x, IMAGENET)


def test_several_readers_with_quantizers_of_their_own():
    x = images()
    rules = [{"match": "stems.1", "weight": "lsq:4", "activation": "lsq:4"}]
    model = prepared(Stem(True, readers=2), x, IMAGENET, rules=rules)
    program = lowbit.convert(model, x, pixels=IMAGENET)
    assert [op.kind for op in program.ops].count("lookup") == 2
    same(program, model, x, IMAGENET)


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_a_multilayer_perceptron_on_flattened_images(channels):
    pixels = lowbit.Pixels(divisor=16, mean=(3.0,), std=(2.5,))
    x = images(channels=channels)
    model = prepared(nn.Sequential(nn.Flatten(), nn.Linear(256 * channels, 6), nn.ReLU(), nn.Linear(6, 2)), x, pixels)
    same(lowbit.convert(model, x, pixels=pixels), model, x, pixels)


def test_a_pool_before_the_first_layer_works_on_codes():
    x = images()
    net = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2))
    model = prepared(net, x, IMAGENET)
    same(lowbit.convert(model, x, pixels=IMAGENET), model, x, IMAGENET)


def test_a_file_keeps_it(tmp_path):
    x = images()
    model = prepared(Stem(False), x, IMAGENET)
    program = lowbit.convert(model, x, pixels=IMAGENET)
    program.save(tmp_path / "net.lowbit")
    net = load(tmp_path / "net.lowbit")
    assert np.array_equal(net.run(x.numpy()), model(IMAGENET(x)).detach().numpy())
    assert net.program.source["pixels"] == "(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))"
    assert net.kernels()[program.ops[0].output] == "lookup_u8_portable"
    with pytest.raises(InvalidInput, match=r"input is float32, this network takes uint8 \[batch, 3, 16, 16\]"):
        net.run(IMAGENET(x).numpy())


@pytest.mark.parametrize(
    ("net", "settings", "message"),
    [
        (Stem(False), {"first": None}, r"stems\.0: float_conv reads the image as floats; quantize its input"),
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)), {},
         "0: avg_pool reads the image as floats"),
    ],
)  # fmt: skip
def test_floats_of_the_image_are_refused(net, settings, message):
    x = images()
    model = prepared(net, x, IMAGENET, **settings)
    with pytest.raises(ConversionError, match=message):
        lowbit.convert(model, x, allow_inexact=True, pixels=IMAGENET)


def test_a_program_without_a_quantizer_is_refused():
    arrays = {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32)}
    op = Op(kind="affine", name="norm", inputs=("input",), output="y", arrays=arrays)
    with pytest.raises(ConversionError, match="the output is the image itself"):
        from_bytes(Program(ops=(op,), input_shape=(3, 4, 4), output="y"), IMAGENET)


def test_wrong_use():
    x = images()
    model = prepared(Stem(False), x, IMAGENET)
    with pytest.raises(InvalidInput, match=r"holds bytes; .* pixels=lowbit\.Pixels"):
        lowbit.convert(model, x)
    with pytest.raises(InvalidInput, match=r"the example is torch\.float32 \[8, 3, 16, 16\]; with pixels"):
        lowbit.convert(model, IMAGENET(x), pixels=IMAGENET)
    with pytest.raises(InvalidInput, match=r"pixels is \(0, 1\), allowed is lowbit\.Pixels"):
        lowbit.convert(model, x, pixels=(0, 1))
    with pytest.raises(InvalidInput, match="2 numbers as mean, the images 3 channels"):
        lowbit.convert(model, x, pixels=lowbit.Pixels(mean=(0.1, 0.2)))
    for wrong in ({"divisor": 0}, {"std": (1.0, -1.0)}, {"mean": (float("nan"),)}):
        with pytest.raises(InvalidInput, match="not finite, or a divisor or std that is not positive"):
            lowbit.Pixels(**wrong)
    with pytest.raises(InvalidInput, match="allowed is a uint8 tensor"):
        IMAGENET(x.float())


def test_pixels_are_what_the_usual_preparation_makes():
    """ToTensor and Normalize of torchvision: x.float().div(255).sub(mean).div(std), with tensors [channels, 1, 1]."""
    x = images(2)
    mean, std = torch.tensor(IMAGENET.mean)[:, None, None], torch.tensor(IMAGENET.std)[:, None, None]
    assert torch.equal(IMAGENET(x), x.to(torch.float32).div(255).sub_(mean).div_(std))
