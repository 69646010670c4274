"""Random changes to training images; every one takes the generator that it draws from."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from lowbit.errors import InvalidInput, unknown


class Augmentation(Protocol):
    """Maps images float32 [N, C, H, W] to as many of the same shape, drawing from the given generator."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Apply it to a batch."""
        ...


@dataclass(frozen=True)
class Shift:
    """Move each image by its own whole number of pixels, at most `pixels` in each direction; zeros move in.

    With 4 pixels this is the customary CIFAR augmentation "pad by 4, crop at random".

    Example:
        >>> x = torch.ones(1, 1, 3, 3)
        >>> Shift(1)(x, torch.Generator().manual_seed(0)).shape
        torch.Size([1, 1, 3, 3])
    """

    pixels: int

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise InvalidInput(f"Shift: {self.pixels} pixels given; use 0 or more")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Shift each image of x by its own offset."""
        count, _, height, width = x.shape
        offsets = torch.randint(0, 2 * self.pixels + 1, (2, count, 1), generator=generator)
        rows = offsets[0] + torch.arange(height)
        columns = offsets[1] + torch.arange(width)
        padded = F.pad(x, (self.pixels,) * 4)
        image = torch.arange(count)[:, None, None]
        # Indices on both sides of the slice put its axis last: [N, H, W, C].
        moved = padded[image, :, rows[:, :, None], columns[:, None, :]]
        return moved.permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Flip:
    """Mirror each image left to right with probability one half.

    Example:
        >>> x = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> Flip()(x, torch.Generator().manual_seed(1)).sum().item()
        6.0
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror about half of the images of x."""
        mirror = torch.rand(len(x), generator=generator) < 0.5
        return torch.where(mirror[:, None, None, None], x.flip(-1), x)


def augmentation(spec: str) -> Augmentation:
    """An augmentation from its written form: ``"shift:2"``, ``"crop:4"`` (the same as shift) or ``"flip"``.

    Raises:
        UnknownName: there is none of that name.
        InvalidInput: the number is missing, not whole, or given to a name that takes none.

    Example:
        >>> augmentation("crop:4")
        Shift(pixels=4)
    """
    name, _, number = spec.partition(":")
    if name == "flip":
        if number:
            raise InvalidInput(f"augmentation {spec!r}: 'flip' takes no number; write 'flip'")
        return Flip()
    if name in ("shift", "crop"):
        if not number.isdecimal():
            raise InvalidInput(f"augmentation {spec!r}: write the pixels as a whole number, e.g. '{name}:2'")
        return Shift(int(number))
    raise unknown("augmentation", name, ("crop", "flip", "shift"))
