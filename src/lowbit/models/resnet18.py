"""ResNet-18 for small images: a 3x3 stem without max-pool in place of ImageNet's 7x7 with one."""

from torch import Tensor, nn

from .cifar_resnet import BasicBlock
from .weights import he_normal


class ResNet18(nn.Module):
    """Four stages of two basic blocks, widths 64 to 512; 11.2 million parameters.

    Source: He et al., "Deep Residual Learning", Table 1, with the stem that is customary for CIFAR.

    Args:
        in_channels: channels of the image.
        classes: outputs.
        width: channels of the first stage; each further stage doubles them.

    Shapes: float32 [N, in_channels, H, W], H and W at least 8 -> float32 logits [N, classes].

    Example:
        >>> sum(p.numel() for p in ResNet18(classes=10).parameters())
        11173962
    """

    def __init__(self, in_channels: int = 3, classes: int = 10, width: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"ResNet18: width={width} given; use at least 1")
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        channels = width
        stages = []
        for stage in range(4):
            out_channels = width << stage
            first = BasicBlock(channels, out_channels, 2 if stage else 1, "projection")
            second = BasicBlock(out_channels, out_channels, 1, "projection")
            stages.append(nn.Sequential(first, second))
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, in_channels, H, W]."""
        x = self.stages(self.stem(x))
        return self.fc(self.pool(x).flatten(1))
