import torch

from lowbit.data import load


def test_shapes_and_range() -> None:
    digits = load("digits")
    assert digits.train_x.shape == (1437, 1, 8, 8)
    assert digits.test_x.shape == (360, 1, 8, 8)
    assert digits.train_x.dtype == torch.float32
    assert digits.train_y.dtype == torch.int64
    assert digits.train_x.min() == 0
    assert digits.train_x.max() == 1
    assert len(digits.classes) == 10


def test_split_is_stratified_disjoint_and_repeatable() -> None:
    digits, again = load("digits"), load("digits")
    assert torch.equal(digits.test_x, again.test_x)
    assert torch.equal(digits.train_y, again.train_y)
    counts = torch.bincount(digits.test_y)
    assert counts.min() >= 35
    assert counts.max() <= 37
    together = torch.cat([digits.train_x, digits.test_x])
    assert len(together.unique(dim=0)) == 1797


def test_pixels_are_exact_sixteenths() -> None:
    pixels = load("digits").train_x * 16
    assert torch.equal(pixels, pixels.round())
