"""Float networks to start from: plain torch modules that know nothing of quantization.

``build(name, **options)`` makes one by name, as recipes and the command line do; the classes are public too.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from lowbit.errors import unknown
from lowbit.settings import typed_settings

from .cifar_resnet import CifarResNet, resnet8, resnet20
from .digits_net import DigitsNet
from .fcdnn import FCDNN
from .mobilenet_v2 import MobileNetV2
from .resnet18 import ResNet18

__all__ = [
    "FCDNN",
    "MODELS",
    "CifarResNet",
    "DigitsNet",
    "MobileNetV2",
    "ResNet18",
    "build",
    "resnet8",
    "resnet20",
]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "cifar_resnet": CifarResNet,
    "digits_net": DigitsNet,
    "fcdnn": FCDNN,
    "mobilenet_v2": MobileNetV2,
    "resnet18": ResNet18,
    "resnet20": resnet20,
    "resnet8": resnet8,
}


def build(name: str, **options: Any) -> nn.Module:
    """Make a network by name, with freshly drawn float32 weights (from torch's global generator).

    Args:
        name: a key of ``MODELS``.
        options: the network's own arguments, for example ``classes`` or ``width``.

    Raises:
        UnknownName: the network, or an option of it, does not exist; the message holds the nearest name.
        InvalidInput: an option is of another type.
        ValueError: an option is outside what the network allows.

    Example:
        >>> sum(p.numel() for p in build("fcdnn", width=200, depth=4).parameters())
        81402
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name](**typed_settings(f"model {name!r}", "option", MODELS[name], options))
