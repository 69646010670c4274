import pytest
import torch
from torch import nn

from lowbit.models import build


@pytest.mark.parametrize("block", ["basic", "pre-act", "depthwise"])
def test_another_activation_takes_the_place_of_every_relu(block: str) -> None:
    for name, kind in (("hardtanh", nn.Hardtanh), ("identity", nn.Identity)):
        net = build("cifar_resnet", block=block, blocks=1, activation=name)
        assert not any(isinstance(m, nn.ReLU) for m in net.modules())
        assert sum(isinstance(m, kind) for m in net.modules()) >= 7 - (block == "pre-act")
        assert net(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
    with pytest.raises(ValueError, match="activation='selu' given; use one of relu, hardtanh, identity"):
        build("cifar_resnet", activation="selu")
