"""Networks and data that the tests of the measurements share."""

import copy
import functools

import torch
from torch import nn

import lowbit


def gaussian(count=512, features=64, seed=1):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def linear_chain(weight="l2:6", activation="lsq:6", depth=3, width=64, seed=0):
    """Linear layers without activation functions: noise passes as theory has it."""
    torch.manual_seed(seed)
    net = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth)))
    for layer in net:
        nn.init.normal_(layer.weight, std=width**-0.5)
    lowbit.prepare(net, weight, activation, first="same", last="same")
    return lowbit.calibrate(net, [gaussian(features=width)])


def blobs(count=512, classes=4, features=16, spread=3.0, seed=0):
    """Labelled points around class centres: inputs [count, features], labels [count]."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.randn(classes, features, generator=torch.Generator().manual_seed(99))
    y = torch.arange(count) % classes
    return centres[y] + spread * torch.randn(count, features, generator=generator), y


def trained(width=32, depth=3, steps=150, seed=0, norm=False, features=16, classes=4):
    """A float network that has learned `blobs`; the training runs once for all tests."""
    return copy.deepcopy(_trained(width, depth, steps, seed, norm, features, classes))


@functools.cache
def _trained(width, depth, steps, seed, norm, features, classes):
    torch.manual_seed(seed)
    parts: list[nn.Module] = []
    for index in range(depth - 1):
        parts += [nn.Linear(width if index else features, width)]
        parts += [nn.BatchNorm1d(width)] if norm else []
        parts += [nn.ReLU()]
    net = nn.Sequential(*parts, nn.Linear(width, classes))
    x, y = blobs(2048, classes, features)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()
