"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images, 32 x 32 in colour.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images". torchvision reads the files; it
compares their checksums before it opens them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lowbit.errors import DataSetMissing

from .dataset import DataSet
from .torchvision_import import import_torchvision

# Of the training images, in [0, 1], red, green, blue.
MEAN = {10: (0.4914, 0.4822, 0.4465), 100: (0.5071, 0.4865, 0.4409)}
STD = {10: (0.2470, 0.2435, 0.2616), 100: (0.2673, 0.2564, 0.2762)}


def load_cifar10(folder: str | Path | None = None) -> DataSet:
    """CIFAR-10 as float32 [N, 3, 32, 32] in [0, 1] (multiples of 1/255).

    Args:
        folder: holds ``cifar-10-batches-py``, as torchvision downloads it; None looks in ``data``.

    Raises:
        DataSetMissing: the files are not there, or are damaged.

    Example:
        ``load_cifar10("data").subset(train=5_000)``
    """
    return _load(10, folder)


def load_cifar100(folder: str | Path | None = None) -> DataSet:
    """CIFAR-100, its 100 fine classes; otherwise as :func:`load_cifar10`.

    Args:
        folder: holds ``cifar-100-python``; None looks in ``data``.

    Raises:
        DataSetMissing: the files are not there, or are damaged.

    Example:
        ``load_cifar100("data")``
    """
    return _load(100, folder)


def _load(classes: int, folder: str | Path | None) -> DataSet:
    root = Path("data") if folder is None else Path(folder)
    reader = getattr(import_torchvision("datasets"), f"CIFAR{classes}")
    try:
        train, test = reader(root, train=True), reader(root, train=False)
    except RuntimeError as error:
        raise DataSetMissing(
            f"data set 'cifar{classes}': {reader.base_folder} is not in {root}, or is damaged; get it "
            f"with torchvision.datasets.CIFAR{classes}(FOLDER, download=True), or unpack {reader.filename} "
            "into a folder, or copy a folder that torchvision filled elsewhere, and name that FOLDER"
        ) from error
    train_x, train_y = _tensors(train)
    test_x, test_y = _tensors(test)
    return DataSet(
        name=f"cifar{classes}",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=tuple(train.classes),
        mean=MEAN[classes],
        std=STD[classes],
        divisor=255,
    )


def _tensors(part: Any) -> tuple[Tensor, Tensor]:
    """Images float32 [N, 3, 32, 32] in [0, 1] and labels int64 [N] of a torchvision data set."""
    x = torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous().float() / 255
    return x, torch.tensor(part.targets, dtype=torch.int64)
