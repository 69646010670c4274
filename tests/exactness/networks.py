"""Random small networks of everything that converts, drawn one decision at a time.

`Draw` is either a numpy generator (seeded loops) or hypothesis (which then shrinks what fails).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn


class Draw:
    """Decisions from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        return int(self.rng.integers(low, high + 1))

    def choice(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def often(self, one_in: int = 2) -> bool:
        return self.integer(1, one_in) == 1


class Shrinking(Draw):
    """Decisions from hypothesis."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(st.integers(low, high))


@dataclass
class Step:
    """One call in the forward: a submodule by name or a function, on earlier values."""

    call: str | Callable[..., Tensor]
    inputs: tuple[int, ...]


class Net(nn.Module):
    """Runs its steps one after another; traceable, since the list is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for step in self.steps:
            call = getattr(self, step.call) if isinstance(step.call, str) else step.call
            values.append(call(*(values[i] for i in step.inputs)))
        return values[-1]


@dataclass
class Case:
    """A network with the settings to prepare it and inputs to feed it."""

    net: Net
    settings: dict[str, Any]
    shape: tuple[int, ...]
    seed: int
    methods: list[str] = field(default_factory=list)

    def inputs(self, batch: int, salt: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + salt)
        return torch.randn(batch, *self.shape, generator=generator)


def weight_method(d: Draw) -> str:
    kind = d.choice([
        "lsq", "affine", "minmax", "sawb", "bwn", "twn", "sign", "lsq", "sawb",
        "uniform", "l2", "dorefa", "binaryconnect", "abc", "lq", "xnor", "xnor++",
    ])  # fmt: skip
    if kind in ("sign", "binaryconnect", "xnor", "xnor++"):
        return kind
    if kind in ("bwn", "twn"):
        return kind + d.choice(["", "@tensor", "@channel"])
    low, high = {"lsq": (2, 8), "affine": (2, 8), "l2": (2, 8), "lq": (1, 4), "abc": (1, 4), "uniform": (2, 8)}.get(
        kind, (1, 8)
    )
    return f"{kind}:{d.integer(low, high)}" + (d.choice(["", "@channel"]) if kind != "dorefa" else "")


def activation_method(d: Draw) -> str:
    kind = d.choice(
        ["lsq", "pact", "affine", "minmax", "lsq", "sign", "dorefa", "uniform", "lq", "abc", "xnor", "xnor++"]
    )
    if kind in ("sign", "xnor", "xnor++"):
        return kind
    return f"{kind}:{d.integer(2, 4) if kind in ('lq', 'abc') or not d.often(3) else d.integer(2, 8)}"


def _conv(d: Draw, x: Tensor) -> nn.Module | None:
    channels = x.shape[1]
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    groups = d.choice([1, 1, channels, d.choice(divisors)])
    kernel = (d.integer(1, 3), d.integer(1, 3))
    dilation = d.choice([(1, 1), (1, 1), (2, 1), (2, 2)])
    mode = d.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
    padding: Any = (d.integer(0, 2), d.integer(0, 2))
    if d.often(6) and kernel[0] % 2 == kernel[1] % 2 == 1:
        padding, stride = d.choice(["same", "valid"]), (1, 1)
    else:
        stride = (d.integer(1, 2), d.integer(1, 2))
    return nn.Conv2d(
        channels, groups * d.integer(1, 3), kernel, stride, padding, dilation, groups, d.often(), padding_mode=mode
    )


def _activation(d: Draw) -> nn.Module | Callable[[Tensor], Tensor]:
    return d.choice([
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardtanh(-0.7, 1.3), nn.Hardswish(), nn.LeakyReLU(0.1),
        F.relu, torch.relu, F.relu6, F.hardswish, _hardtanh, _leaky,
    ])  # fmt: skip


def _hardtanh(x: Tensor) -> Tensor:
    return F.hardtanh(x, -0.5, 0.9)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, negative_slope=0.2)


def _norm(d: Draw, x: Tensor) -> nn.Module:
    channels, affine = x.shape[1], not d.often(4)
    kind = nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d
    norm = kind(channels, eps=d.choice([1e-5, 1e-3]), affine=affine)
    with torch.no_grad():
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.2, 2).mul_(torch.randint(0, 4, (channels,)).clamp_max(1)).add_(1e-9)
        if affine:
            norm.weight.normal_()  # negative ones too, and now and then none at all
            norm.weight[torch.rand(channels) < 0.1] = 0
            norm.bias.normal_()
    return norm


def _pool(d: Draw) -> nn.Module | Callable[[Tensor], Tensor]:
    kernel = (d.integer(1, 3), d.integer(1, 3))
    padding = (d.integer(0, kernel[0] // 2), d.integer(0, kernel[1] // 2))
    stride, ceil = d.choice([None, (d.integer(1, 3), d.integer(1, 3))]), d.often()
    if d.often():
        dilation = d.choice([1, 1, 2])
        if d.often():
            return lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode=ceil)
        return nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
    count, divisor = d.often(), d.choice([None, None, 5])
    if d.often():
        return lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, count, divisor)
    return nn.AvgPool2d(kernel, stride, padding, ceil, count, divisor)


def _global(d: Draw, x: Tensor) -> nn.Module | Callable[[Tensor], Tensor]:
    height, width = x.shape[2:]
    return d.choice([
        nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((height if d.often() else 1, 1)), _mean, _mean_keep,
        lambda x: F.adaptive_avg_pool2d(x, 1), lambda x: F.adaptive_avg_pool2d(x, (1, width)),
    ])  # fmt: skip


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _mean_keep(x: Tensor) -> Tensor:
    return x.mean(dim=[-1, -2], keepdim=True)


def _join(*tensors: Tensor) -> Tensor:
    return torch.cat(tensors, dim=1)


def _flatten(x: Tensor) -> Tensor:
    return torch.flatten(x, 1)


def _add_method(a: Tensor, b: Tensor) -> Tensor:
    return a.add(b)


class Builder:
    """Grows a network; a drawn module that torch refuses for this tensor is left out."""

    def __init__(self, d: Draw, shape: tuple[int, ...]) -> None:
        self.d, self.net = d, Net()
        self.values = [torch.randn(2, *shape)]

    def add(self, call: Any, *inputs: int) -> bool:
        inputs = inputs or (len(self.values) - 1,)
        if call is None:
            return False
        with torch.no_grad():
            try:
                if isinstance(call, nn.Module):
                    call.eval()
                y = call(*(self.values[i].clone() for i in inputs))
            except RuntimeError:
                return False
        if isinstance(call, nn.Module):
            call.train()
            name = f"{type(call).__name__.lower()}{len(self.values)}"
            self.net.add_module(name, call)
            call = name
        if y.numel() > 4000 or y.numel() == 0 or not y.isfinite().all():
            return False
        self.net.steps.append(Step(call, inputs))
        self.values.append(y)
        return True

    def grow(self) -> None:
        d, x, last = self.d, self.values[-1], len(self.values) - 1
        kind = d.choice(["layer", "layer", "norm", "act", "add", "concat", "pool", "block", "block", "branch"])
        if kind == "layer":
            self.layer()
        elif kind == "norm":
            self.add(_norm(d, x))
        elif kind == "act":
            self.add(_activation(d))
        elif kind == "block":
            _ = self.layer() and self.add(_norm(d, self.values[-1])) and self.add(_activation(d))
        elif kind == "branch":  # a residual: two readers of one value
            if x.ndim == 4:
                self.add(nn.Conv2d(x.shape[1], x.shape[1], 3, padding=1, bias=False))
                self.add(_norm(d, x))
            else:
                self.add(nn.Linear(x.shape[1], x.shape[1]))
            self.add(operator.add, len(self.values) - 1, last)
        elif kind == "pool" and x.ndim == 4:
            self.add(_global(d, x) if d.often(6) else _pool(d))
        else:
            others = [i for i, v in enumerate(self.values) if v.shape[2:] == x.shape[2:]]
            same = [i for i in others if self.values[i].shape == x.shape]
            if kind == "add":
                self.add(d.choice([operator.add, torch.add, _add_method]), last, d.choice(same))
            elif kind == "concat":
                self.add(_join, last, d.choice(others))

    def layer(self) -> bool:
        d, x = self.d, self.values[-1]
        return self.add(_conv(d, x) if x.ndim == 4 else nn.Linear(x.shape[1], d.integer(1, 9), bias=d.often()))

    def finish(self) -> None:
        """Every network ends in a linear layer, and so has at least one."""
        if self.values[-1].ndim == 4:
            self.add(self.d.choice([nn.Flatten(), _flatten, _mean]))
        assert self.add(nn.Linear(self.values[-1].shape[1], self.d.integer(1, 7)))


def draw_case(d: Draw, length: int = 8) -> Case:
    """A network of about `length` parts with methods for everything."""
    seed = d.integer(0, 2**31)
    torch.manual_seed(seed)
    shape = (d.integer(1, 5), d.integer(1, 9), d.integer(1, 9)) if not d.often(6) else (d.integer(1, 20),)
    builder = Builder(d, shape)
    for _ in range(d.integer(1, length)):
        builder.grow()
    builder.finish()
    settings: dict[str, Any] = {
        "weight": weight_method(d),
        "activation": activation_method(d),
        "add": d.choice([None, None, "lsq:8", "affine:4", "minmax:8"]),
        "output": d.choice([None, None, None, "lsq:8", "affine:5"]),
        "first": d.choice(["affine:8", "same", "minmax:8", "lsq:8@channel"]),
        "last": d.choice(["affine:8", "same", "lsq:4"]),
    }
    layers = [n for n, m in builder.net.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    if d.often():  # mixed methods: one layer of its own
        rule = {"match": d.choice(layers), "weight": weight_method(d), "activation": activation_method(d)}
        settings["rules"] = [rule]
    modes = {getattr(builder.net, name).padding_mode for name in layers if "conv" in name}
    for choice in (settings, *settings.get("rules", [])):
        if choice["activation"] == "xnor" and modes - {"zeros"}:
            choice["activation"] = "xnor++"  # XNOR's K is defined for zero padding only
    return Case(builder.net, settings, shape, seed)
