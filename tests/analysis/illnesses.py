"""Networks with one illness each, and healthy ones: what the advice must find, and stay silent on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

import lowbit
from lowbit.analysis import Context
from tests.analysis.networks import blobs, trained

Case = tuple[nn.Module, Context]
RECIPE = {"procedure": {"name": "plain"}, "modifiers": [], "rules": [], "epochs": 8, "model": {"name": "digits_net"}}
TRAINED = Context(trained=True, recipe=RECIPE)


def low_bit(net, weight, activation, rules=None):
    lowbit.prepare(net, weight, activation, first="same", last="same", rules=rules)
    return lowbit.calibrate(net, [blobs()[0]]).eval()


def stale_statistics() -> Case:
    """Quantized weights that are smaller than the real ones, behind which BatchNorm still expects the latter."""
    net = low_bit(trained(norm=True, depth=4), "l2:5", "lsq:8")
    with torch.no_grad():
        for index in (0, 3, 6):
            net[index].weight_quantizer.step *= 0.4
    return net, Context()


def dead_input() -> Case:
    """A learned step that training has driven through zero."""
    net = low_bit(trained(depth=4), "l2:6", "lsq:6")
    with torch.no_grad():
        net[4].input_quantizer.scale.fill_(-0.003)
    return net, TRAINED


def narrow_range() -> Case:
    """A scale that clips most of a layer's inputs."""
    net = low_bit(trained(depth=4), "l2:6", "lsq:6")
    with torch.no_grad():
        net[4].input_quantizer.scale /= 12
    return net, Context()


def unequal_filters() -> Case:
    """One scale for filters of very different sizes; BatchNorm-like factors behind them undo the sizes."""
    net = trained(depth=4)
    with torch.no_grad():
        factors = torch.logspace(-1.3, 1.3, 32)
        net[2].weight *= factors[:, None]
        net[2].bias *= factors
        net[4].weight /= factors
    exempt = [{"match": "2", "weight": "l2:5@tensor"}, {"match": "4", "weight": None, "activation": None}]
    return low_bit(net, "l2:8", "lsq:8", rules=exempt), Context()


def one_weak_layer() -> Case:
    """Two bits in one layer, eight elsewhere."""
    return low_bit(trained(depth=4), "l2:8", "lsq:8", rules=[{"match": "2", "weight": "l2:2"}]), Context()


def coarse_weights() -> Case:
    """Two bits for all weights, not trained."""
    return low_bit(trained(depth=5), "l2:2", "lsq:8"), Context(trained=False)


def coarse_activations() -> Case:
    """Two bits for all inputs but the first, which has signs."""
    return low_bit(trained(depth=5), "l2:8", "uniform:2", rules=[{"match": "0", "activation": "uniform:4"}]), Context()


def deep_and_coarse() -> Case:
    """Two bits for all inputs of a deep network."""
    return low_bit(trained(depth=9, width=32, steps=300), "l2:8", "uniform:2"), Context()


def amplifying() -> Case:
    """Layers that shrink what all inputs have in common and enlarge the rest, where the classes are."""
    torch.manual_seed(0)
    x, _ = blobs()
    common = torch.nn.functional.normalize(torch.ones(16), dim=0)
    turn = [torch.linalg.qr(torch.randn(16, 16))[0] for _ in range(3)]
    net = nn.Sequential(*(nn.Linear(16, 16) for _ in range(3)), nn.Linear(16, 4))
    rest = torch.eye(16) - torch.outer(common, common)
    with torch.no_grad():
        for layer, rotation in zip(net, turn, strict=False):
            layer.weight.copy_(3 * rest @ rotation @ rest + 0.9 * torch.outer(common, common))
            layer.bias.zero_()
        net[0].weight.mul_(0.03)
        net[0].bias.copy_(6.0 * common * 4)
        hidden = net[:3](x)
        net[3].weight.copy_(torch.randn(4, 16) @ rest)
        net[3].bias.copy_(-(hidden @ net[3].weight.T).mean(0))
    return low_bit(net, "affine:8", "affine:5"), Context()


def distorted_after_training() -> Case:
    """Two-bit weights that were trained, beside inputs of eight bits."""
    return low_bit(trained(depth=5), "l2:2", "lsq:8"), TRAINED


def distorted_alone() -> Case:
    """Two-bit weights that were trained, beside float inputs."""
    return low_bit(trained(depth=5), "l2:2", None), TRAINED


def both_after_training() -> Case:
    """Weights and inputs of few bits, trained."""
    return low_bit(trained(depth=5), "l2:3", "uniform:3"), TRAINED


ILL: dict[str, Callable[[], Case]] = {
    "batchnorm": stale_statistics,
    "dead-step": dead_input,
    "tensor-range": narrow_range,
    "channel-scales": unequal_filters,
    "weak-layer": one_weak_layer,
    "weights-first": coarse_weights,
    "activations-first": coarse_activations,
    "lipschitz": amplifying,
    "shallower": deep_and_coarse,
    "cyclical-rate": distorted_after_training,
    "attention": distorted_alone,
    "distill": both_after_training,
}
HEALTHY: dict[str, Callable[[], Case]] = {
    "8 bits": lambda: (low_bit(trained(depth=4), "affine:8", "affine:8"), Context()),
    "8 bits, BatchNorm": lambda: (low_bit(trained(depth=4, norm=True), "affine:8", "affine:8"), TRAINED),
    "8 bits, deep": lambda: (low_bit(trained(depth=9, steps=300), "l2:8", "lsq:8"), TRAINED),
    "6 bits a channel": lambda: (low_bit(trained(depth=3, width=64), "l2:7@channel", "lsq:8"), Context(trained=False)),
}


def labels_of(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Classes by the float network: its accuracy is then 100 %, and only quantization can lose any."""
    from lowbit.analysis.switches import evaluating, quantizing

    with quantizing(net, weights=False, activations=False), evaluating(net):
        return net(x).argmax(1)
