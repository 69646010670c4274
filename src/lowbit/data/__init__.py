"""Data sets, one reader a file, and the batches made from them.

``load(name)`` reads one by name, as recipes and the command line do.
"""

import inspect
from collections.abc import Callable
from typing import Any

from lowbit.errors import unknown

from .augment import Augmentation, Flip, Shift, augmentation
from .batches import Batches, generator_for
from .cifar import load_cifar10, load_cifar100
from .dataset import DataSet
from .digits import load_digits
from .fashion_mnist import load_fashion_mnist
from .rings import load_rings
from .torchvision_import import import_torchvision

__all__ = [
    "READERS",
    "Augmentation",
    "Batches",
    "DataSet",
    "Flip",
    "Shift",
    "augmentation",
    "generator_for",
    "import_torchvision",
    "load",
]

READERS: dict[str, Callable[..., DataSet]] = {
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "digits": load_digits,
    "fashion_mnist": load_fashion_mnist,
    "rings": load_rings,
}


def load(name: str, **options: Any) -> DataSet:
    """Read a data set by name.

    Args:
        name: a key of ``READERS``.
        options: the reader's own, for example ``folder`` or ``seed``.

    Raises:
        UnknownName: the data set, or an option of it, does not exist; the message holds the nearest name.
        DataSetMissing: its files are not on this machine; the message says the three ways to get them.
        InvalidInput: its files are damaged, or an option is outside what is allowed.

    Example:
        >>> load("digits").shape
        (1, 8, 8)
    """
    if name not in READERS:
        raise unknown("data set", name, READERS)
    allowed = inspect.signature(READERS[name]).parameters
    for option in options:
        if option not in allowed:
            raise unknown(f"option of data set {name!r}", option, allowed)
    return READERS[name](**options)
