import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from lowbit.data import load
from lowbit.data.fashion_mnist import DEBIAN_FOLDER
from lowbit.data.idx import read_idx
from lowbit.errors import DataSetMissing, InvalidInput

PARTS = {"train": 12, "t10k": 5}


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_made_files(folder: Path, compress: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for part, count in PARTS.items():
        for name, array in (
            (f"{part}-images-idx3-ubyte", generator.integers(0, 256, (count, 28, 28))),
            (f"{part}-labels-idx1-ubyte", np.arange(count) % 10),
        ):
            data = idx_bytes(array)
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("layout", [".", "FashionMNIST/raw", "raw"])
def test_reads_every_layout(tmp_path: Path, layout: str, compress: bool) -> None:
    write_made_files(tmp_path / layout, compress)
    data = load("fashion_mnist", folder=tmp_path)
    assert data.train_x.shape == (12, 1, 28, 28)
    assert data.test_x.shape == (5, 1, 28, 28)
    assert data.train_x.dtype == torch.float32
    assert 0 <= data.train_x.min() <= data.train_x.max() <= 1
    assert data.test_y.tolist() == [0, 1, 2, 3, 4]


def test_missing_says_three_ways(tmp_path: Path) -> None:
    with pytest.raises(DataSetMissing) as caught:
        load("fashion_mnist", folder=tmp_path)
    message = str(caught.value)
    assert str(tmp_path) in message
    for way in ("apt-get install dataset-fashion-mnist", "download=True", "four IDX files"):
        assert way in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: b"", "begins with nothing"),
        (lambda data: b"\x00\x00\x0d" + data[3:], "begins with 00 00 0d 03"),
        (lambda data: data[:9], "ends inside its header"),
        (lambda data: data[:-1], "9407 bytes of data given"),
        (lambda data: data + b"\x00", "more than 9408"),
        (lambda data: data[:4] + b"\xff" * 12, "asks for"),
    ],
)
def test_damaged_images_are_refused(tmp_path: Path, damage: object, match: str) -> None:
    write_made_files(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=match) as caught:
        load("fashion_mnist", folder=tmp_path)
    assert str(path) in str(caught.value)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    whole = gzip.compress(idx_bytes(np.arange(200) % 10))
    for data in (b"not gzip", whole[:-6], whole[:20] + b"\x55" * 8 + whole[28:]):
        path.write_bytes(data)
        with pytest.raises(InvalidInput, match="fetch"):
            read_idx(path, dimensions=1)


def test_wrong_label_count_size_and_class(tmp_path: Path) -> None:
    write_made_files(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    good = labels.read_bytes()
    labels.write_bytes(idx_bytes(np.zeros(11)))
    with pytest.raises(InvalidInput, match="11 labels given for 12 images"):
        load("fashion_mnist", folder=tmp_path)
    labels.write_bytes(idx_bytes(np.full(12, 10)))
    with pytest.raises(InvalidInput, match="labels from 10 to 10"):
        load("fashion_mnist", folder=tmp_path)
    labels.write_bytes(good)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((5, 32, 32))))
    with pytest.raises(InvalidInput, match="32 x 32 given"):
        load("fashion_mnist", folder=tmp_path)


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_real_files() -> None:
    data = load("fashion_mnist")
    assert data.train_x.shape == (60_000, 1, 28, 28)
    assert data.test_x.shape == (10_000, 1, 28, 28)
    assert torch.bincount(data.train_y).tolist() == [6000] * 10
    assert data.test_y[:8].tolist() == [9, 2, 1, 1, 6, 1, 4, 6]
    assert data.train_x.mean().item() == pytest.approx(data.mean[0], abs=1e-4)
    assert data.train_x.std().item() == pytest.approx(data.std[0], abs=1e-4)
