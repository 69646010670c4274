import dataclasses

import pytest
import torch

from lowbit.data import DataSet, load
from lowbit.errors import InvalidInput, UnknownName


def small(**changes: object) -> DataSet:
    x, y = torch.arange(12.0).reshape(6, 1, 1, 2), torch.tensor([0, 1, 0, 1, 0, 1])
    settings = {"train_x": x, "train_y": y, "test_x": x[:2], "test_y": y[:2]}
    return DataSet(name="small", classes=("a", "b"), **{**settings, **changes})  # type: ignore[arg-type]


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown data set 'digit'; did you mean 'digits'"):
        load("digit")
    with pytest.raises(UnknownName, match="unknown option of data set 'rings' 'sead'; did you mean 'seed'"):
        load("rings", sead=1)


def test_a_data_set_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        small().name = "other"  # type: ignore[misc]


def test_labels_must_fit() -> None:
    with pytest.raises(InvalidInput, match="6 train inputs and 2 labels"):
        small(train_y=torch.tensor([0, 1]))
    with pytest.raises(InvalidInput, match="train labels from 0 to 2"):
        small(train_y=torch.tensor([0, 1, 2, 1, 0, 1]))


def test_subset_is_the_start_of_a_seeded_permutation() -> None:
    whole = small()
    part = whole.subset(train=3, seed=1234)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1234))[:3]
    assert torch.equal(part.train_x, whole.train_x[order])
    assert torch.equal(part.test_x, whole.test_x)
    with pytest.raises(InvalidInput, match="use 0 to 6"):
        whole.subset(train=7)


def test_normalized() -> None:
    changed = small(mean=(1.0,), std=(2.0,)).normalized()
    assert torch.equal(changed.train_x, (small().train_x - 1) / 2)
    with pytest.raises(InvalidInput, match="no mean to normalize by"):
        changed.normalized()
