"""Residual networks for small images, in three block designs.

Source: He et al., "Deep Residual Learning" (CIFAR networks, section 4.2) and "Identity Mappings"
(pre-activation); Boo et al., Table 5, for the widths and for the depthwise block with its expansion of six
times the *output* width. Three stages of widths D, 2D, 4D; a 3x3 stem; global mean; one linear layer.

Weights start as torch draws them. Behind a BatchNorm only their size relative to the learning rate matters, and He's
larger ones learned less in the eight epochs of our Fashion-MNIST recipes (float 88.7 against 89.6, W2A2 86.8 against
88.3, on held-out training images).
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 6


class ZeroPadShortcut(nn.Module):
    """He et al.'s option A: every `stride`-th pixel, new channels filled with zeros; no parameters.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and widen."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))


def _shortcut(kind: str, in_channels: int, out_channels: int, stride: int, norm: bool) -> nn.Module:
    """The branch around a block: nothing where shapes agree, else a projection or zero padding."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "zero-pad":
        return ZeroPadShortcut(in_channels, out_channels, stride)
    projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(out_channels)) if norm else projection


class BasicBlock(nn.Module):
    """conv-BN-ReLU-conv-BN, plus the shortcut, then ReLU.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H / stride, W / stride].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride, norm=True)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
    """BN-ReLU-conv, twice, plus the shortcut; no activation after the sum, no BN in the projection.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H / stride, W / stride].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.conv1(self.relu1(self.bn1(x)))
        return self.conv2(self.relu2(self.bn2(y))) + self.shortcut(x)


class DepthwiseBlock(nn.Module):
    """1x1 expansion to 6 * out_channels, 3x3 depthwise, 1x1 projection, each with BN; plus the shortcut.

    ReLU follows the first two; the sum is linear. Shapes as in :class:`BasicBlock`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: str) -> None:
        super().__init__()
        hidden = EXPANSION * out_channels
        self.expand = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.relu1 = nn.ReLU()
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU()
        self.project = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(shortcut, in_channels, out_channels, stride, norm=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.relu1(self.bn1(self.expand(x)))
        y = self.relu2(self.bn2(self.depthwise(y)))
        return self.bn3(self.project(y)) + self.shortcut(x)


BLOCKS: dict[str, Callable[[int, int, int, str], nn.Module]] = {
    "basic": BasicBlock,
    "pre-act": PreActBlock,
    "depthwise": DepthwiseBlock,
}
SHORTCUTS = ("projection", "zero-pad")
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "hardtanh": nn.Hardtanh, "identity": nn.Identity}
"""What stands after BatchNorms and sums; signs of activations need one that lets negative values through."""


class CifarResNet(nn.Module):
    """Residual network of three stages for images of about 32 x 32.

    Weight layers in the longest path: 6n + 2, or 9n + 2 with depthwise blocks; n=3 with D=16 is ResNet-20.

    Args:
        width: channels D of the first stage; the others have 2D and 4D.
        blocks: blocks n in each stage.
        block: ``"basic"``, ``"pre-act"`` or ``"depthwise"``.
        in_channels: 1 or 3 (any positive number works).
        classes: outputs.
        shortcut: where the shape changes: ``"projection"`` (1x1 convolution) or ``"zero-pad"`` (no
            parameters).
        activation: ``"relu"``; ``"hardtanh"`` or ``"identity"`` for signs, which a ReLU would make constant.

    Shapes: float32 [N, in_channels, H, W], H and W at least 4 -> float32 logits [N, classes].

    Raises:
        ValueError: an argument is outside what is allowed.

    Example:
        >>> import torch
        >>> CifarResNet(width=16, blocks=1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        width: int = 16,
        blocks: int = 3,
        block: str = "basic",
        in_channels: int = 3,
        classes: int = 10,
        shortcut: str = "projection",
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"CifarResNet: block={block!r} given; use one of {', '.join(BLOCKS)}")
        if shortcut not in SHORTCUTS:
            raise ValueError(f"CifarResNet: shortcut={shortcut!r} given; use one of {', '.join(SHORTCUTS)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"CifarResNet: activation={activation!r} given; use one of {', '.join(ACTIVATIONS)}")
        for name, value in (("width", width), ("blocks", blocks), ("classes", classes)):
            if value < 1:
                raise ValueError(f"CifarResNet: {name}={value} given; use at least 1")

        stem: list[nn.Module] = [nn.Conv2d(in_channels, width, 3, 1, 1, bias=False)]
        if block != "pre-act":
            stem += [nn.BatchNorm2d(width), nn.ReLU()]
        self.stem = nn.Sequential(*stem)

        channels = width
        stages = []
        for stage in range(3):
            layers = []
            for index in range(blocks):
                out_channels = width << stage
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(BLOCKS[block](channels, out_channels, stride, shortcut))
                channels = out_channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)

        self.final = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()) if block == "pre-act" else nn.Identity()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.ReLU:
                    setattr(parent, name, ACTIVATIONS[activation]())

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, in_channels, H, W]."""
        x = self.final(self.stages(self.stem(x)))
        return self.fc(self.pool(x).flatten(1))


def resnet8(in_channels: int = 1, classes: int = 10, width: int = 16, activation: str = "relu") -> CifarResNet:
    """ResNet-8 with 1x1 shortcuts, the size of MLPerf Tiny's image classifier: 78 thousand parameters.

    Example:
        >>> sum(p.numel() for p in resnet8().parameters())
        77754
    """
    return CifarResNet(width, blocks=1, in_channels=in_channels, classes=classes, activation=activation)


def resnet20(in_channels: int = 3, classes: int = 10, width: int = 16) -> CifarResNet:
    """ResNet-20 (He et al.), with projections where the shape changes.

    Example:
        >>> sum(p.numel() for p in resnet20().parameters())
        272474
    """
    return CifarResNet(width, blocks=3, in_channels=in_channels, classes=classes)
