"""scikit-learn's handwritten digits: 1,797 real 8 x 8 images that come with its wheel.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI (its test part).
"""

import torch

from lowbit.errors import MissingExtra

from .dataset import DataSet

TEST = 360
SPLIT_SEED = 0


def load_digits() -> DataSet:
    """Digits as float32 [N, 1, 8, 8] in [0, 1] (multiples of 1/16): 1,437 for training, 360 for testing.

    The split is always the same and stratified: every digit is tested 35 to 37 times.

    Raises:
        MissingExtra: scikit-learn is not installed.

    Example:
        >>> digits = load_digits()
        >>> tuple(digits.train_x.shape), tuple(digits.test_x.shape)
        ((1437, 1, 8, 8), (360, 1, 8, 8))
    """
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise MissingExtra(
            "data set 'digits': scikit-learn is not installed; run: pip install 'lowbit[train]'"
        ) from error

    images, labels = datasets.load_digits(return_X_y=True)
    train, test = model_selection.train_test_split(
        range(len(labels)), test_size=TEST, stratify=labels, random_state=SPLIT_SEED
    )
    # Sixteenths are exact in float32.
    x = torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16
    y = torch.from_numpy(labels).long()
    return DataSet(
        name="digits",
        train_x=x[train],
        train_y=y[train],
        test_x=x[test],
        test_y=y[test],
        classes=tuple("0123456789"),
        mean=(float(x[train].mean()),),
        std=(float(x[train].std()),),
        divisor=16,
    )
