"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28 x 28 grey.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms".
"""

from pathlib import Path

import torch
from torch import Tensor

from lowbit.errors import DataSetMissing, InvalidInput

from .dataset import DataSet
from .idx import read_idx

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Of the training images, in [0, 1].
MEAN = 0.2860
STD = 0.3530
SIDE = 28


def load_fashion_mnist(folder: str | Path | None = None) -> DataSet:
    """Fashion-MNIST as float32 [N, 1, 28, 28] in [0, 1] (multiples of 1/255).

    Args:
        folder: where the four IDX files are, plain or .gz, or the root that torchvision downloaded into
            (``folder/FashionMNIST/raw``). None looks where Debian's package puts them.

    Raises:
        DataSetMissing: a file is not there.
        InvalidInput: a file is damaged.

    Example:
        ``load_fashion_mnist("data").subset(train=20_000, seed=1234)``
    """
    roots = [DEBIAN_FOLDER] if folder is None else _layouts(Path(folder))
    train_x, train_y = _read(roots, "train")
    test_x, test_y = _read(roots, "t10k")
    return DataSet(
        name="fashion_mnist",
        train_x=train_x,
        train_y=train_y,
        test_x=test_x,
        test_y=test_y,
        classes=CLASSES,
        mean=(MEAN,),
        std=(STD,),
        divisor=255,
    )


def _layouts(folder: Path) -> list[Path]:
    return [folder, folder / "FashionMNIST" / "raw", folder / "raw"]


def _read(roots: list[Path], part: str) -> tuple[Tensor, Tensor]:
    """Images float32 [N, 1, 28, 28] and labels int64 [N] of one part: "train" or "t10k"."""
    image_path = _find(roots, f"{part}-images-idx3-ubyte")
    label_path = _find(roots, f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(image_path, dimensions=3), read_idx(label_path, dimensions=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise InvalidInput(
            f"{image_path}: images of {images.shape[1]} x {images.shape[2]} given; "
            f"Fashion-MNIST has {SIDE} x {SIDE}, so fetch the file again"
        )
    if len(images) != len(labels):
        raise InvalidInput(f"{label_path}: {len(labels)} labels given for {len(images)} images; fetch both files again")
    x = torch.from_numpy(images.copy()).unsqueeze(1).float() / 255
    return x, torch.from_numpy(labels.copy()).long()


def _find(roots: list[Path], name: str) -> Path:
    for root in roots:
        for path in (root / name, root / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataSetMissing(
        f"data set 'fashion_mnist': no file {name}[.gz] in {', '.join(map(str, roots))}; get it by "
        "`apt-get install dataset-fashion-mnist`, or with torchvision.datasets.FashionMNIST(FOLDER, "
        "download=True), or put the four IDX files into a folder, and name that FOLDER for the last two"
    )
