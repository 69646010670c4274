"""The noise index against patterns whose index is known, and regions against a network whose border is known."""

import numpy as np
import pytest
import torch
from torch import nn

from lowbit.analysis.regions import decision_regions, noise_index
from lowbit.data.rings import correct_labels, window
from lowbit.errors import InvalidInput

SIZE = 42
ROW, COLUMN = np.mgrid[:SIZE, :SIZE]


@pytest.mark.parametrize(
    "regions",
    [
        np.zeros((SIZE, SIZE)),
        COLUMN >= 17,  # half planes: straight, diagonal, and one that climbs a step in three
        ROW + COLUMN >= 40,
        3 * ROW - COLUMN >= 5,
        (ROW + COLUMN) % 2,  # no majority anywhere
        (COLUMN // 2) % 2,  # stripes of two points
        (ROW >= 20) + 2 * (COLUMN >= 20),  # four classes
        correct_labels(window().reshape(-1, 2)).reshape(200, 200),
    ],
)
def test_smooth_regions_have_no_noise(regions: np.ndarray) -> None:
    assert noise_index(regions.astype(np.int64)) == 0


@pytest.mark.parametrize("classes", [2, 5])
def test_single_flipped_points_are_counted(classes: int) -> None:
    regions = np.where(COLUMN >= 21, classes - 1, 0)
    flipped = [(r, c) for r in range(3, SIZE - 3, 4) for c in (5, 9, 30, 34)]
    for r, c in flipped:
        regions[r, c] = classes - 1 - regions[r, c]
    assert noise_index(regions) == pytest.approx(len(flipped) / (SIZE - 2) ** 2)


def test_points_on_the_edge_of_the_grid_are_not_judged() -> None:
    regions = np.zeros((SIZE, SIZE), dtype=np.uint8)
    regions[0, ::2] = regions[-1, ::2] = 1
    assert noise_index(regions) == 0


def test_random_points_have_the_index_of_their_rate() -> None:
    # rare flips: a flipped point has no flipped neighbor but with probability 8 p
    regions = (np.random.default_rng(0).random((1000, 1000)) < 0.01).astype(np.uint8)
    assert noise_index(regions) == pytest.approx(regions[1:-1, 1:-1].mean(), rel=0.01)
    half = np.random.default_rng(0).integers(0, 2, (1000, 1000))
    # five or more of eight coins, and the middle one other: 93 / 256
    assert noise_index(half) == pytest.approx(93 / 256, rel=0.01)


def test_regions_are_drawn_as_the_points_lie() -> None:
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
        net.bias.copy_(torch.tensor([0.5, 0.0]))
    found = decision_regions(net.train(), window(size=20))  # class 1 where x > 0.25
    assert net.training
    assert np.array_equal(found, np.tile(np.arange(20) >= 5, (20, 1)))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"shape \(4, 2\) given; use \[rows, columns, 2\]"):
        decision_regions(nn.Linear(2, 2), np.zeros((4, 2), dtype=np.float32))
    with pytest.raises(InvalidInput, match="at least 3 by 3"):
        noise_index(np.zeros((2, 9), dtype=np.uint8))
