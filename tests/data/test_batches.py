import pytest
import torch

from lowbit.data import Batches, Flip, Shift, augmentation
from lowbit.errors import InvalidInput, UnknownName

X = torch.rand(50, 1, 6, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(50)


def make(**options: object) -> Batches:
    return Batches(X, Y, **{"size": 8, "augment": ("shift:2", "flip"), **options})  # type: ignore[arg-type]


def test_an_epoch_can_be_replayed() -> None:
    batches = make(seed=3)
    torch.rand(7)  # torch's global generator has no part in it
    first, again = list(batches.epoch(2)), list(batches.epoch(2))
    assert len(first) == len(batches) == 7
    for (x, y), (x2, y2) in zip(first, again, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)
    batches.set_epoch(2)
    assert torch.equal(next(iter(batches))[0], first[0][0])


def test_epochs_and_seeds_differ() -> None:
    orders = [torch.cat([y for _, y in make(seed=s).epoch(e)]) for s, e in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert torch.equal(order.sort().values, Y)
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[1], orders[2])


def test_without_shuffle_and_augmentation_data_pass_unchanged() -> None:
    batches = Batches(X, Y, size=16, shuffle=False)
    assert torch.equal(torch.cat([x for x, _ in batches]), X)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [16, 48, 50])
def test_ranks_together_see_what_one_process_sees(count: int, drop_last: bool) -> None:
    one = Batches(X[:count], Y[:count], size=16, drop_last=drop_last)
    first, second = (
        Batches(X[:count], Y[:count], size=8, drop_last=drop_last, rank=rank, world_size=2) for rank in range(2)
    )
    assert len(first) == len(second) == len(one)
    for whole, half, other in zip(one, first, second, strict=True):
        assert torch.equal(whole[1], torch.cat([half[1], other[1]]))


def test_an_uneven_end_is_filled_from_the_start() -> None:
    ranks = [Batches(X[:9], Y[:9], size=4, shuffle=False, rank=rank, world_size=2) for rank in range(2)]
    seen = [[y.tolist() for _, y in rank] for rank in ranks]
    assert seen == [[[0, 1, 2, 3], [8]], [[4, 5, 6, 7], [0]]]


def test_ranks_draw_different_augmentation() -> None:
    same = torch.rand(1, 1, 6, 6).expand(32, 1, 6, 6)
    first, second = (
        next(Batches(same, torch.zeros(32), size=16, augment=(Shift(2),), rank=r, world_size=2).epoch(0))[0]
        for r in range(2)
    )
    assert not torch.equal(first, second)


def test_shift_moves_whole_images_within_bounds() -> None:
    x = torch.zeros(400, 2, 7, 7)
    x[:, :, 3, 3] = 1.0
    moved = Shift(2)(x, torch.Generator().manual_seed(0))
    assert moved.shape == x.shape
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved.sum((2, 3)), torch.ones(400, 2))
    places = moved[:, 0].flatten(1).argmax(1)
    rows, columns = places // 7, places % 7
    assert rows.unique().tolist() == columns.unique().tolist() == [1, 2, 3, 4, 5]


def test_shift_fills_with_zeros_and_keeps_by_none() -> None:
    x = torch.ones(64, 1, 4, 4)
    assert torch.equal(Shift(0)(x, torch.Generator()), x)
    assert set(Shift(1)(x, torch.Generator()).sum((1, 2, 3)).tolist()) == {9.0, 12.0, 16.0}


def test_flip_mirrors_half() -> None:
    x = torch.arange(4.0).expand(1000, 1, 1, 4)
    flipped = Flip()(x, torch.Generator().manual_seed(0))
    mirrored = (flipped[:, 0, 0, 0] == 3).sum().item()
    assert 430 < mirrored < 570
    assert torch.equal(flipped.sum(3), x.sum(3))


def test_written_augmentations() -> None:
    assert augmentation("crop:4") == Shift(4)
    with pytest.raises(UnknownName, match="did you mean 'flip'"):
        augmentation("flipp")
    with pytest.raises(InvalidInput, match=r"e.g. 'shift:2'"):
        augmentation("shift")
    with pytest.raises(InvalidInput, match="takes no number"):
        augmentation("flip:2")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"rank": 2, "world_size": 2}, "rank=2 of 2"),
        ({"size": 64, "drop_last": True}, "50 inputs give no batch of 64"),
    ],
)
def test_wrong_arguments(options: dict[str, object], match: str) -> None:
    with pytest.raises(InvalidInput, match=match):
        make(**options)
    with pytest.raises(InvalidInput, match="50 inputs and 3 labels"):
        Batches(X, Y[:3], size=2)
