"""Functional sites become layers inside the user's own forward, which keeps its behaviour."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lowbit
from lowbit.layers import AdaptiveAvgPool2d, Add, AvgPool2d, Concat, Mean
from lowbit.runtime import reference


def in_place(a: Tensor, b: Tensor) -> Tensor:
    a += b
    return a.mean((2, 3))


SITES = [
    (lambda a, b: (a + b).mean((2, 3)), 3, {Add, Mean}),
    (lambda a, b: torch.add(a, b).mean([-2, -1]), 3, {Add, Mean}),
    (lambda a, b: a.add(b).mean(dim=(2, 3), keepdim=True).flatten(1), 3, {Add, Mean}),
    (lambda a, b: a.add_(b).mean((3, 2)), 3, {Add, Mean}),
    (in_place, 3, {Add, Mean}),
    (lambda a, b: torch.cat([a, b], 1).mean((2, 3)), 6, {Concat, Mean}),
    (lambda a, b: torch.cat(tensors=(a, b, a), dim=1).mean((2, 3)), 9, {Concat, Mean}),
    (lambda a, b: F.avg_pool2d(a, 3).mean((2, 3)), 3, {AvgPool2d, Mean}),
    (lambda a, b: F.avg_pool2d(b, kernel_size=2, stride=1, padding=1, count_include_pad=False).mean((2, 3)), 3,
     {AvgPool2d, Mean}),
    (lambda a, b: F.adaptive_avg_pool2d(b, 1).flatten(1), 3, {Mean}),
    (lambda a, b: F.adaptive_avg_pool2d(a, (1, 1)).flatten(1), 3, {Mean}),
    (lambda a, b: F.adaptive_avg_pool2d(a, (2, 3)).mean((2, 3)), 3, {AdaptiveAvgPool2d, Mean}),
    (lambda a, b: torch.mean(b, (2, 3)), 3, {Mean}),
]  # fmt: skip


class Flat(nn.Module):
    """One functional site between two convolutions and a head."""

    def __init__(self, site: Callable[..., Tensor], channels: int) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.Linear(channels, 2)
        self.site = site

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.site(F.relu(self.a(x)), self.b(x)))


@pytest.mark.parametrize("add", [None, "lsq:8"])
@pytest.mark.parametrize("number", range(len(SITES)))
def test_sites_are_routed_and_exact(number, add):
    site, channels, kinds = SITES[number]
    torch.manual_seed(number)
    net, x = Flat(site, channels), torch.randn(3, 2, 8, 8)
    keys, expected = set(net.state_dict()), net(x)
    # with floats everywhere the routed network is the network
    floats = lowbit.prepare(copy.deepcopy(net), weight=None, activation=None, first=None, last=None)
    torch.testing.assert_close(floats(x), expected)
    model = lowbit.prepare(net, weight="lsq:4", activation="lsq:4", add=add, example=x)
    made = {type(m) for n, m in model.named_modules() if n.startswith("lowbit_") and "." not in n}
    assert made == kinds
    assert {k for k in set(model.state_dict()) - keys if "quantizer" not in k} == set()
    program = lowbit.convert(model, x)
    assert np.array_equal(reference.run(program, x.numpy()), model.eval()(x).detach().numpy())


def test_a_routed_forward_is_copied_with_its_module():
    model = lowbit.prepare(Flat(in_place, 3), example=torch.randn(2, 2, 8, 8)).eval()
    x = torch.randn(2, 2, 8, 8)
    model.site = None
    expected = model(x)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), expected)
        with torch.no_grad():
            twin.head.bias += 1
        assert not torch.equal(twin(x), expected)
    assert torch.equal(model(x), expected)


class Up(nn.Module):
    """A U-Net's decoder stage, whose skip connection may be missing."""

    def __init__(self, channels: int, skip: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels if skip else channels, channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return F.relu(self.conv(x))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up1, self.up2 = Up(4, False), Up(4, True)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        return self.out(self.up2(self.up1(b), a))


class Shared(nn.Module):
    """One block called twice, once with its optional argument."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.out = nn.Conv2d(1, 4, 3, padding=1), Up(4, False), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        y = self.up(y)
        return self.out(self.up(y) + y)


@pytest.mark.parametrize("add", [None, "lsq:8"])
@pytest.mark.parametrize("kind", [UNet, Shared])
def test_optional_arguments_and_blocks_called_twice(kind, add):
    torch.manual_seed(0)
    x = torch.randn(2, 1, 7, 9)
    model = lowbit.prepare(kind(), weight="lsq:3", activation="lsq:3", add=add, example=x)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    if kind is UNet:
        assert isinstance(model.up2.lowbit_cat, Concat)
    program = lowbit.convert(model, x)
    assert np.array_equal(reference.run(program, x.numpy()), model.eval()(x).detach().numpy())


def test_a_tensor_changed_in_place_is_read_as_eager_reads_it():
    class Reader(nn.Module):
        """The later reader of `y` sees it after the ReLU, as torch does."""

        def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 3), how

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = self.how(y)
            return self.b(z + y)

    x = torch.randn(64, 4)
    changes = [
        nn.ReLU(inplace=True), F.relu_, torch.relu_, lambda t: F.relu(t, inplace=True), lambda t: t.relu_(),
        lambda t: F.hardtanh(t, -1.0, 1.0, True), nn.Sequential(nn.Identity(), nn.Hardswish(inplace=True)),
    ]  # fmt: skip
    for how in changes:
        model = lowbit.prepare(Reader(how), weight="lsq:8", activation="lsq:8", example=x)
        program = lowbit.convert(model, x)
        assert np.array_equal(reference.run(program, x.numpy()), model.eval()(x).detach().numpy())


def test_a_view_of_a_tensor_changed_in_place_is_refused():
    class View(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            flat = y.flatten(1)
            z = F.relu_(y)
            return self.b(flat + z.flatten(1))

    model = lowbit.prepare(View(), example=torch.randn(2, 1, 4, 4))
    with pytest.raises(lowbit.LowbitError, match="reads a view of what relu_ changes in place; use inplace=False"):
        lowbit.convert(model, torch.randn(2, 1, 4, 4))
