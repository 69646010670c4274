"""MobileNetV2 for small images: the stem's stride is 1 in place of 2.

Source: Sandler et al., "MobileNetV2", Table 2; Boo et al., section 5.2, for the stem's stride.
"""

from torch import Tensor, nn

from .weights import he_normal

# expansion, output channels at width 1, blocks, stride of the first block
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never more than a tenth below `channels`.

    Example:
        >>> [round_channels(c) for c in (1.0, 8.4, 11.2, 48.0)]
        [8, 8, 16, 48]
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution that keeps the image's size at stride 1, and its BatchNorm."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; added to the input where the shapes agree.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H / stride, W / stride].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*_conv_norm(in_channels, hidden, 1), nn.ReLU6()]
        layers += [*_conv_norm(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        layers += _conv_norm(hidden, out_channels, 1)
        self.branch = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return x + self.branch(x) if self.residual else self.branch(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 with a width multiplier, for images of about 32 x 32.

    Args:
        width: multiplier of every channel count; the last 1x1 convolution never has fewer than 1280.
        in_channels: channels of the image.
        classes: outputs.
        stem_stride: 1 for 32 x 32 images, 2 for ImageNet's.

    Shapes: float32 [N, in_channels, H, W], H and W at least 16 -> float32 logits [N, classes].

    Raises:
        ValueError: the width is not positive.

    Example:
        >>> sum(p.numel() for p in MobileNetV2(width=0.25).parameters())
        250922
    """

    def __init__(self, width: float = 1.0, in_channels: int = 3, classes: int = 10, stem_stride: int = 1) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"MobileNetV2: width={width} given; use a number above 0, for example 0.5")
        channels = round_channels(32 * width)
        self.stem = nn.Sequential(*_conv_norm(in_channels, channels, 3, stem_stride), nn.ReLU6())
        blocks = []
        for expansion, base, count, first_stride in STAGES:
            out_channels = round_channels(base * width)
            for index in range(count):
                stride = first_stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, out_channels, stride, expansion))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        last = round_channels(1280 * max(1.0, width))
        self.head = nn.Sequential(*_conv_norm(channels, last, 1), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(last, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, in_channels, H, W]."""
        x = self.head(self.blocks(self.stem(x)))
        return self.fc(self.pool(x).flatten(1))
