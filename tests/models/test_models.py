import copy

import pytest
import torch
from torch import fx, nn

from lowbit.errors import UnknownName
from lowbit.models import MODELS, CifarResNet, DigitsNet, build
from lowbit.models.cifar_resnet import BLOCKS, SHORTCUTS

SMALL = {
    "cifar_resnet": ({"width": 4, "blocks": 2}, (3, 32, 32)),
    "digits_net": ({}, (1, 8, 8)),
    "fcdnn": ({"width": 16, "depth": 4, "residual": True}, (2,)),
    "mobilenet_v2": ({"width": 0.25}, (3, 32, 32)),
    "resnet18": ({"width": 4}, (3, 32, 32)),
    "resnet20": ({"width": 4}, (3, 32, 32)),
    "resnet8": ({}, (1, 28, 28)),
}


def check(model: nn.Module, shape: tuple[int, ...]) -> None:
    """The model trains, traces, copies, and has one activation module a site."""
    x = torch.randn(3, *shape)
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    with torch.no_grad():
        expected = model(x)
        traced = fx.symbolic_trace(model)
        assert torch.equal(traced(x), expected)
        assert torch.equal(copy.deepcopy(model)(x), expected)
    calls = [str(node.target) for node in traced.graph.nodes if node.op == "call_module"]
    assert len(calls) == len(set(calls)), "a module is called at two places"
    activations = (nn.ReLU, nn.ReLU6)
    assert not any(
        node.op == "call_function" and node.target in (torch.relu, nn.functional.relu) for node in traced.graph.nodes
    )
    assert any(isinstance(module, activations) for module in model.modules())


def test_every_model_is_checked() -> None:
    assert SMALL.keys() == MODELS.keys()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_model(name: str) -> None:
    options, shape = SMALL[name]
    torch.manual_seed(0)
    check(build(name, **options), shape)


@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("in_channels", [1, 3])
def test_cifar_resnet(block: str, shortcut: str, in_channels: int) -> None:
    model = CifarResNet(4, 2, block, in_channels, classes=7, shortcut=shortcut)
    assert model(torch.randn(2, in_channels, 16, 16)).shape == (2, 7)
    check(model, (in_channels, 15, 17))


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown model 'resnet_8'; did you mean 'resnet8'"):
        build("resnet_8")
    with pytest.raises(UnknownName, match="unknown option of model 'fcdnn' 'deph'; did you mean 'depth'"):
        build("fcdnn", deph=3)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("cifar_resnet", {"block": "bottleneck"}, "use one of basic, pre-act, depthwise"),
        ("cifar_resnet", {"shortcut": "none"}, "use one of projection, zero-pad"),
        ("cifar_resnet", {"width": 0}, "width=0 given"),
        ("fcdnn", {"depth": 1}, "depth >= 2"),
        ("mobilenet_v2", {"width": 0}, "number above 0"),
        ("digits_net", {"width": 0}, "use at least 1"),
        ("resnet18", {"width": 0}, "use at least 1"),
    ],
)
def test_wrong_options(name: str, options: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build(name, **options)


def test_digits_net_is_small() -> None:
    assert sum(parameter.numel() for parameter in DigitsNet().parameters()) == 56_554
