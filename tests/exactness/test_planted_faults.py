"""The comparison catches what it is there for: each fault below is planted and must be found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exactness.check import Converted, Mismatch, compare, on_ties, stages
from exactness.edges import drive
from torch import nn

import lowbit
import lowbit.program
from lowbit.grid import Uniform
from lowbit.layers import QuantConv2d, WeightLayer, batchnorm
from lowbit.layers.pool import Mean
from lowbit.runtime import reference

Made = tuple[nn.Module, Converted, torch.Tensor]


class Network(nn.Module):
    """Everything that a fault can be planted in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(8)
        self.conv3 = nn.Conv2d(8, 8, 3, stride=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.norm2(self.conv2(x)) + self.norm1(x)
        x = F.relu(self.conv3(F.leaky_relu(x, 0.1)))
        return self.head(F.hardswish(F.avg_pool2d(x, 2)).mean((2, 3)))


def make(activation: str = "lsq:4") -> Made:
    torch.manual_seed(0)
    net = Network()
    for norm in (net.norm1, net.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(3, 3, 15, 13)
    rules = [{"match": "conv2", "activation": activation}]
    model = lowbit.prepare(net, weight="lsq:4", activation="lsq:4", rules=rules, example=x).eval()
    return model, stages(model, x), x


@pytest.fixture(scope="module")
def made() -> Made:
    return make()


def look(made: Made) -> None:
    """What the tests of random networks do."""
    model, converted, x = made
    compare(model, converted, x, [])
    compare(model, converted, on_ties(model, converted, x), [])
    drive(converted)


def test_without_a_fault(made):
    look(made)
    kinds = {op.kind for op in made[1].program.ops}
    assert kinds >= {"quantize", "conv", "linear", "rescale", "threshold", "affine", "add", "avg_pool", "mean"}


def wide_affine(op, inputs, types):
    """x * scale + shift rounded once, as a fused multiply-add does."""
    x = inputs[0].astype(np.float64)
    scale, shift = (op.arrays[k].astype(np.float64).reshape(-1, *(1,) * (x.ndim - 2)) for k in ("scale", "shift"))
    return (x * scale + shift).astype(np.float32)


def wide_rescale(op, inputs, types):
    acc, c = (
        inputs[0].astype(np.float64),
        reference.coefficients(types[0].grid, types[0].weight_grid, types[0].shape[0]),
    )
    shape = (-1, *(1,) * (acc.ndim - 3))
    y = sum(a * k.astype(np.float64).reshape(shape) for a, k in zip(acc, c, strict=True))
    bias = op.arrays.get("bias")
    return (y if bias is None else y + bias.astype(np.float64).reshape(shape)).astype(np.float32)


def no_bias(op, inputs, types):
    return RESCALE(lowbit.program.Op(**{**vars(op), "arrays": {}}), inputs, types)


def reciprocal(x, grid):
    if not isinstance(grid, Uniform):
        return QUANTIZE(x, grid)
    code = np.rint(x * (np.float32(1) / grid.scale)) + np.float32(grid.zero)
    return np.clip(code, *grid.code_range).astype(np.int32)


def half_up(x, grid):
    if not isinstance(grid, Uniform):
        return QUANTIZE(x, grid)
    code = np.floor(x / grid.scale + np.float32(0.5)) + np.float32(grid.zero)
    return np.clip(code, *grid.code_range).astype(np.int32)


def late_threshold(op, inputs, types):
    """Above the threshold only, not at it."""
    moved = op.arrays["thresholds"]
    moved = moved + np.where(op.arrays["descending"][:, None] > 0, -1, 1).astype(moved.dtype)
    return THRESHOLD(lowbit.program.Op(**{**vars(op), "arrays": {**op.arrays, "thresholds": moved}}), inputs, types)


def pairwise_sum(x):
    """numpy's own order of additions, backwards so that it also shows in short sums."""
    return x.reshape(*x.shape[:2], -1)[..., ::-1].sum(axis=-1, dtype=np.float64).astype(np.float32)


RESCALE, THRESHOLD = reference.OPERATIONS["rescale"], reference.OPERATIONS["threshold"]
QUANTIZE, MULTIPLY = reference.quantize, QuantConv2d.multiply


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("affine", wide_affine),
        ("rescale", wide_rescale),
        ("rescale", no_bias),
        ("threshold", late_threshold),
    ],
)
def test_faulty_operation_of_the_reference(made, monkeypatch, kind, fault):
    monkeypatch.setitem(reference.OPERATIONS, kind, fault)
    with pytest.raises(Mismatch):
        look(made)


@pytest.mark.parametrize(
    ("name", "fault"), [("quantize", reciprocal), ("quantize", half_up), ("_sequential_sum", pairwise_sum)]
)
def test_faulty_function_of_the_reference(made, monkeypatch, name, fault):
    monkeypatch.setattr(reference, name, fault)
    with pytest.raises(Mismatch):
        look(made)


def test_batchnorm_of_torch(made, monkeypatch):
    def forward(self, x):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    monkeypatch.setattr(batchnorm._Exact, "forward", forward)
    with pytest.raises(Mismatch, match="affine norm"):
        look(made)


def test_bias_dropped_by_the_layer(made, monkeypatch):
    exact = WeightLayer._integers

    def without(self, x, wq, xq):
        return exact(self, x, wq, xq) - (0 if self.bias is None else self.bias.reshape(-1, *(1,) * (x.ndim - 2)))

    monkeypatch.setattr(WeightLayer, "_integers", without)
    with pytest.raises(Mismatch):
        look(made)


def test_bias_inside_the_convolution(made, monkeypatch):
    """F.conv2d(bias=...) in units: one rounding less."""

    def inside(self, x, wq, xq):
        sx, sw = xq.scales(x), wq.scales(self.weight)
        c = (sx[0] * sw[0]).double()
        bias = None if self.bias is None else self.bias.double() / c
        return (self.multiply(xq.units(x)[0].double(), wq.units(self.weight)[0].double(), bias) * c).float()

    monkeypatch.setattr(WeightLayer, "_integers", inside)
    with pytest.raises(Mismatch):
        look(made)


def test_mean_by_torch(made, monkeypatch):
    monkeypatch.setattr(Mean, "exactly", lambda self, x, scale: x.double().mean((2, 3), keepdim=self.keep).float())
    with pytest.raises(Mismatch):
        look(made)


@pytest.mark.parametrize("side", ["layer", "reference"])
def test_padding_with_plus_one(monkeypatch, side):
    """A sign has no zero; its padding is the unit 0 all the same."""
    made = make("sign")
    look(made)

    def ones(self, x, weight, bias):
        left, right, top, bottom = self.pads()
        return F.conv2d(F.pad(x, (left, right, top, bottom), value=1.0), weight, bias, self.stride)

    def pad(x, padding, mode):
        widths = ((0, 0),) * (x.ndim - 2) + tuple((p, p) for p in padding)
        return np.pad(x, widths, constant_values=1)

    if side == "layer":
        monkeypatch.setattr(made[0].conv2, "multiply", ones.__get__(made[0].conv2))
    else:
        monkeypatch.setattr(reference, "_pad", pad)
    with pytest.raises(Mismatch):
        look(made)
