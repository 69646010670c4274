import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest

from lowbit.data import import_torchvision, load
from lowbit.errors import DataSetMissing


def write_made_files(folder: Path, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files in CIFAR's on-disk format, and torchvision's checksums set to theirs."""
    reader = getattr(import_torchvision("datasets"), f"CIFAR{classes}")
    base = folder / reader.base_folder
    base.mkdir(parents=True)
    label_key = "labels" if classes == 10 else "fine_labels"
    meta = {reader.meta["key"]: [f"class {index}" for index in range(classes)]}

    def write(name: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content, protocol=2)
        (base / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    for part in ("train_list", "test_list"):
        files = []
        for index, (name, _) in enumerate(getattr(reader, part)):
            images = np.full((4, 3072), index, np.uint8)
            images[:, :1024] = 255
            files.append([name, write(name, {"data": images, label_key: [0, 1, 2, classes - 1]})])
        monkeypatch.setattr(reader, part, files)
    name = reader.meta["filename"]
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": write(name, meta)})


@pytest.mark.parametrize(("classes", "train"), [(10, 20), (100, 4)])
def test_made_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, train: int) -> None:
    write_made_files(tmp_path, classes, monkeypatch)
    data = load(f"cifar{classes}", folder=tmp_path)
    assert data.train_x.shape == (train, 3, 32, 32)
    assert data.test_x.shape == (4, 3, 32, 32)
    assert data.test_y.tolist() == [0, 1, 2, classes - 1]
    assert len(data.classes) == classes
    assert data.train_x[:, 0].min() == 1.0
    assert data.train_x[0, 1:].max() == 0.0


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_says_three_ways(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataSetMissing, match=r"download=True.*unpack.*copy a folder") as caught:
        load(name, folder=tmp_path)
    assert str(tmp_path) in str(caught.value)
