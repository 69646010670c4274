import numpy as np
import pytest
import torch

from lowbit.data import load
from lowbit.data.rings import R, borders, core_points, correct_labels, grid_points, window
from lowbit.errors import InvalidInput


@pytest.mark.parametrize(
    ("x", "y", "label"),
    [(0.1, 0.0001, 0), (0.2, 0.0001, 1), (0.31, -0.001, 0), (0.0, -0.2, 0), (0.1, -0.1, 1)],
)
def test_worked_examples(x: float, y: float, label: int) -> None:
    assert correct_labels(np.array([[x, y]])).tolist() == [label]


def test_outside_the_rings_is_minus_one() -> None:
    assert correct_labels(np.array([[0.0, 0.04], [0.1, -0.04], [0.0, 1.06], [1.2, -0.01]])).tolist() == [-1] * 4


def test_every_core_point_has_its_own_label() -> None:
    points, labels = core_points()
    assert points.shape == (2000, 2)
    assert np.bincount(labels).tolist() == [1000, 1000]
    assert np.array_equal(correct_labels(points), labels)
    assert points[:, 0].min() > -1.0
    assert points[:, 0].max() < 1.1
    assert len(np.unique(points.round(9), axis=0)) == 2000


def test_boundaries_continue_across_the_middle() -> None:
    x = np.linspace(-1.1, 1.15, 1001)
    above = correct_labels(np.stack([x, np.full_like(x, 1e-9)], axis=1))
    below = correct_labels(np.stack([x, np.full_like(x, -1e-9)], axis=1))
    both = (above >= 0) & (below >= 0)
    assert np.array_equal(above[both], below[both])


def test_borders_lie_between_the_regions() -> None:
    centres = [0.0] * 11 + [R] * 11
    for line, centre in zip(borders(), centres, strict=True):
        inner = line[1:-1] - [centre, 0.0]
        within, beyond = (correct_labels(inner * factor + [centre, 0.0]) for factor in (0.999, 1.001))
        assert (within != beyond).all()


def test_grid_leaves_out_what_lies_outside() -> None:
    points, labels = grid_points()
    assert 1 - len(points) / (451 * 441) == pytest.approx(0.305, abs=5e-4)
    assert points.min(axis=0) == pytest.approx([-1.05, -1.05], abs=0.006)
    # Both regions measure 55 pi r^2; a grid point stands for 0.005 x 0.005.
    for count in np.bincount(labels):
        assert count * 0.005**2 == pytest.approx(55 * np.pi * R**2, rel=2e-3)


def test_noise_is_a_standard_deviation() -> None:
    rings = load("rings")
    assert torch.bincount(rings.train_y).tolist() == [10_000, 10_000]
    assert rings.train_x.dtype == torch.float32
    noise = rings.train_x[2000:] - rings.train_x[:2000].repeat(9, 1)
    assert noise.std().item() == pytest.approx(R / 3, rel=0.02)
    kept = (torch.from_numpy(correct_labels(rings.train_x[2000:].numpy())) == rings.train_y[2000:]).float()
    assert kept.mean().item() == pytest.approx(0.86, abs=0.02)


def test_seed_decides_the_noise_only() -> None:
    first, second, again = load("rings", seed=1), load("rings", seed=2), load("rings", seed=1)
    assert torch.equal(first.train_x, again.train_x)
    assert not torch.equal(first.train_x, second.train_x)
    assert torch.equal(first.train_x[:2000], second.train_x[:2000])
    assert torch.equal(first.test_x, second.test_x)


def test_window_is_drawn_from_the_top() -> None:
    literal, lower = window(size=4), window("lower", size=4)
    assert literal.shape == (4, 4, 2)
    assert literal[0, 0].tolist() == [0.125, 0.125]
    assert literal[3, 0].tolist() == [0.125, 0.875]
    assert lower[3, 0].tolist() == [0.125, -0.875]


def test_wrong_arguments() -> None:
    with pytest.raises(InvalidInput, match="use one of literal, lower"):
        window("upper")
    with pytest.raises(InvalidInput, match=r"shape \(3,\) given; use \[N, 2\]"):
        correct_labels(np.zeros(3))
    with pytest.raises(InvalidInput, match="noise=-1"):
        load("rings", noise=-1)
