"""Two interleaved spirals made of half rings: data whose every point has a known right answer.

Source: Boo et al., section 3.1. With r = 0.1 and i = 0..4, class 0 is the upper arcs (y > 0) of radius (2i +
1) r about the origin and the lower arcs (y <= 0) of radius (2i + 2) r about (r, 0); class 1 has the two radii
exchanged. The arcs join into two spirals over x in [-1, 1.1].

Two readings are ours. The angles are (j + 0.5) pi / 100, which avoids doubled points at y = 0. The paper's
noise N(0, (r/3) I) is taken as a standard deviation of r / 3: as a variance, only 46 % of the points would
stay in the region of their label, which is chance, against 86 %.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from lowbit.errors import InvalidInput

from .dataset import DataSet

R = 0.1
RINGS = 5
ANGLES = 100
NOISE_COPIES = 9
GRID = (451, 441)
WINDOWS = {"literal": ((0.0, 1.0), (0.0, 1.0)), "lower": ((0.0, 1.0), (0.0, -1.0))}

Points = NDArray[np.float64]


def core_points() -> tuple[Points, NDArray[np.int64]]:
    """The points on the arcs themselves.

    Returns:
        points float64 [2000, 2] and labels int64 [2000] in {0, 1}, 1,000 of each.

    Example:
        >>> points, labels = core_points()
        >>> bool((correct_labels(points) == labels).all())
        True
    """
    angles = (np.arange(ANGLES) + 0.5) * np.pi / ANGLES
    points, labels = [], []
    for ring in range(RINGS):
        odd, even = (2 * ring + 1) * R, (2 * ring + 2) * R
        for label, upper, lower in ((0, odd, even), (1, even, odd)):
            points.append(np.stack([upper * np.cos(angles), upper * np.sin(angles)], axis=1))
            points.append(np.stack([R + lower * np.cos(angles), -lower * np.sin(angles)], axis=1))
            labels.append(np.full(2 * ANGLES, label))
    return np.concatenate(points), np.concatenate(labels).astype(np.int64)


def correct_labels(points: Points) -> NDArray[np.int64]:
    """The label of the region that each point lies in; regions meet halfway between the arcs.

    With rho = |p - c| / r about the centre c of the point's half and k = floor(rho + 0.5): for 1 <= k <= 10
    the label is whether k is even (y > 0) or odd (y <= 0).

    Args:
        points: [N, 2], any float type; computed in float64.

    Returns:
        int64 [N]: 0 or 1, and -1 outside the rings.

    Raises:
        InvalidInput: the points are not pairs.

    Example:
        >>> import numpy as np
        >>> correct_labels(np.array([[0.1, 0.0001], [0.2, 0.0001], [0.31, -0.001], [0.0, -0.2], [0.1, -0.1]]))
        array([0, 1, 0, 0, 1])
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InvalidInput(f"correct_labels: points of shape {points.shape} given; use [N, 2]")
    x, y = points[:, 0], points[:, 1]
    upper = y > 0
    k = np.floor(np.hypot(x - np.where(upper, 0.0, R), y) / R + 0.5).astype(np.int64)
    label = np.where(upper, k % 2 == 0, k % 2 == 1).astype(np.int64)
    return np.where((k >= 1) & (k <= 2 * RINGS), label, -1)


def borders() -> list[Points]:
    """The lines between the regions, and around them: half circles halfway between the arcs.

    Returns:
        Float64 [ANGLES + 1, 2] each: 2 * RINGS + 1 of the upper half, then as many of the lower.

    Example:
        >>> len(borders()), round(float(borders()[0][0, 0]), 6)
        (22, 0.05)
    """
    angles = np.linspace(0.0, np.pi, ANGLES + 1)
    radii = (np.arange(2 * RINGS + 1) + 0.5) * R
    upper = [np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1) for radius in radii]
    return upper + [np.stack([R + line[:, 0], -line[:, 1]], axis=1) for line in upper]


def grid_points() -> tuple[Points, NDArray[np.int64]]:
    """The test set: every valid point of a 451 x 441 grid over [-1.1, 1.15] x [-1.1, 1.1].

    Returns:
        points float64 [N, 2] and their correct labels int64 [N]; 30.5 % of the grid lies outside and is left
        out.

    Example:
        >>> points, labels = grid_points()
        >>> round(1 - len(points) / (451 * 441), 3)
        0.305
    """
    # Whole steps of 0.005, divided once: y = 0 is then exactly 0, where the halves meet.
    x = (np.arange(GRID[0]) - 220) / 200
    y = (np.arange(GRID[1]) - 220) / 200
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    labels = correct_labels(points)
    valid = labels >= 0
    return points[valid], labels[valid]


def window(kind: str = "literal", size: int = 200) -> NDArray[np.float32]:
    """Pixel centres of the square that the paper's figures show.

    Args:
        kind: ``"literal"`` is 0 < x < 1, 0 < y < 1 with y drawn downward, as the paper writes it; ``"lower"``
            is 0 < x < 1, -1 < y < 0 with y drawn upward, the same corner of an ordinary plot.
        size: pixels in each direction.

    Returns:
        float32 [size, size, 2]: row 0 is drawn at the top; [..., 0] is x.

    Raises:
        InvalidInput: the kind is unknown or the size is not positive.

    Example:
        >>> window("lower", size=2)[0].tolist()
        [[0.25, -0.25], [0.75, -0.25]]
    """
    if kind not in WINDOWS or size < 1:
        raise InvalidInput(
            f"window: kind={kind!r}, size={size} given; use one of {', '.join(WINDOWS)} and a size of at least 1"
        )
    (left, right), (top, bottom) = WINDOWS[kind]
    centres = (np.arange(size) + 0.5) / size
    x, y = left + (right - left) * centres, top + (bottom - top) * centres
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def load_rings(seed: int = 0, noise: float = R / 3) -> DataSet:
    """The half-ring data: noisy training points around the arcs, tested on a grid.

    Args:
        seed: of the noise (numpy's generator).
        noise: standard deviation of each coordinate.

    Returns:
        train_x float32 [20000, 2] (each core point and 9 noisy copies of it), labelled by the arc they came
        from; test_x float32 [N, 2], the valid grid points, labelled by the region they lie in.

    Raises:
        InvalidInput: the noise or the seed is negative.

    Example:
        >>> tuple(load_rings().train_x.shape)
        (20000, 2)
    """
    if noise < 0 or seed < 0:
        raise InvalidInput(f"data set 'rings': noise={noise}, seed={seed} given; use 0 or more for both")
    core, core_labels = core_points()
    generator = np.random.default_rng(seed)
    copies = [core] + [core + generator.normal(0.0, noise, core.shape) for _ in range(NOISE_COPIES)]
    test, test_labels = grid_points()
    return DataSet(
        name="rings",
        train_x=torch.from_numpy(np.concatenate(copies)).float(),
        train_y=torch.from_numpy(np.tile(core_labels, NOISE_COPIES + 1)),
        test_x=torch.from_numpy(test).float(),
        test_y=torch.from_numpy(test_labels),
        classes=("0", "1"),
    )
