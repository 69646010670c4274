"""Starting weights of the deep networks here: He et al.'s normal distribution, scaled by the fan-out."""

from torch import nn


def he_normal(model: nn.Module) -> None:
    """Draw every convolution's weight, in place, from N(0, 2 / fan_out); BatchNorm to 1 and 0, biases to 0.

    Linear layers here are classifiers: N(0, 0.01^2) keeps the first logits near zero.

    Example:
        >>> layer = nn.Conv2d(3, 8, 3)
        >>> he_normal(layer)
        >>> layer.bias.abs().max().item()
        0.0
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
