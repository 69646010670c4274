"""The demo's network: three convolutions for 8 x 8 digits."""

from torch import Tensor, nn

from .weights import he_normal


class DigitsNet(nn.Module):
    """conv3x3-BN-ReLU three times, a max-pool after the second, global mean, linear; 57 thousand parameters.

    Widths are multiples of 32, which is what packed channels are stored in.

    Args:
        width: channels of the first convolution; the other two have twice as many.
        in_channels: channels of the image.
        classes: outputs.

    Shapes: float32 [N, in_channels, H, W], H and W at least 2 -> float32 logits [N, classes].

    Example:
        >>> import torch
        >>> DigitsNet()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """

    def __init__(self, width: int = 32, in_channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"DigitsNet: width={width} given; use at least 1")
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.relu2 = nn.ReLU()
        self.max_pool = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.relu3 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * width, classes)
        he_normal(self)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, in_channels, H, W]."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.max_pool(self.relu2(self.bn2(self.conv2(x))))
        x = self.relu3(self.bn3(self.conv3(x)))
        return self.fc(self.pool(x).flatten(1))
