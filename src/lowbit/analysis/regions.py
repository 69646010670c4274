"""Decision regions of a network with two inputs, and how noisy they are.

Source: Boo et al., section 3: weight quantization moves the regions' borders, activation quantization sprinkles points
of the wrong class over them. The noise index, which tells one from the other, is this library's: borders may lie
anywhere, but next to a smooth border a point still agrees with most of its neighbors.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowbit.errors import InvalidInput
from lowbit.training.evaluate import logits

Regions = NDArray[np.uint8]
"""Class of every point of a grid, [rows, columns]."""


def decision_regions(model: nn.Module, points: NDArray[np.float32]) -> Regions:
    """The class that a network, in eval mode, gives every point of a grid.

    Args:
        model: maps float32 [N, 2] to logits [N, classes], at most 256 classes.
        points: [rows, columns, 2], for example `lowbit.data.rings.window()`.

    Raises:
        InvalidInput: the points are not such a grid.

    Example:
        >>> import numpy as np
        >>> net = nn.Linear(2, 2)
        >>> _ = nn.init.eye_(net.weight), nn.init.zeros_(net.bias)
        >>> decision_regions(net, np.array([[[1, 0], [0, 1]]], dtype=np.float32)).tolist()
        [[0, 1]]
    """
    points = np.asarray(points, dtype=np.float32)
    if points.ndim != 3 or points.shape[2] != 2:
        raise InvalidInput(f"decision_regions: points of shape {points.shape} given; use [rows, columns, 2]")
    output = logits(model, torch.from_numpy(points.reshape(-1, 2)))
    return output.argmax(1).numpy().astype(np.uint8).reshape(points.shape[:2])


def noise_index(regions: Regions) -> float:
    """Share of the inner points that differ from the class of at least five of their eight neighbors, 0 to 1.

    0 for one class, for any straight border, and for borders that bend over many points; the share of flipped points
    where these lie alone. Patterns without a majority, such as a checkerboard, count as 0 too.

    Args:
        regions: [rows, columns] of classes, each at least 3.

    Raises:
        InvalidInput: it is smaller.

    Example:
        >>> import numpy as np
        >>> regions = np.zeros((5, 5), dtype=np.uint8)
        >>> regions[2, 2] = 1
        >>> round(noise_index(regions), 4)  # one of nine
        0.1111
    """
    regions = np.asarray(regions)
    if regions.ndim != 2 or min(regions.shape) < 3:
        raise InvalidInput(f"noise_index: regions of shape {regions.shape} given; use at least 3 by 3")
    rows, columns = regions.shape
    shifts = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    around = np.stack([regions[i : rows - 2 + i, j : columns - 2 + j] for i, j in shifts])
    middle = regions[1:-1, 1:-1]
    noisy = np.zeros(middle.shape, dtype=bool)
    for kind in np.unique(regions):
        noisy |= ((around == kind).sum(0) >= 5) & (middle != kind)
    return float(noisy.mean())
