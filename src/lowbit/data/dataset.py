"""What every reader returns: a labelled training and test set held in memory."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lowbit.errors import InvalidInput


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """A data set in memory; immutable, so that selections return a new one.

    Attributes:
        name: the name that `load` knows it by.
        train_x: float32 [N, ...]; images are [N, C, H, W] in [0, 1].
        train_y: int64 [N], in [0, number of classes).
        test_x: as train_x.
        test_y: as train_y.
        classes: one name a class.
        mean: of each channel of the training images, for those who normalize; empty where it makes no sense.
        std: as mean, the standard deviation.
        divisor: what x was divided by when it was uint8 pixels; 0 for data that never were.
        normalized_by: mean and std that were taken out of x.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    divisor: int = 0
    normalized_by: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,), (1.0,))

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.train_x, self.train_y), ("test", self.test_x, self.test_y)):
            if len(x) != len(y):
                raise InvalidInput(
                    f"data set {self.name!r}: {len(x)} {part} inputs and {len(y)} labels given; "
                    "every input needs one label"
                )
            if len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(self.classes):
                raise InvalidInput(
                    f"data set {self.name!r}: {part} labels from {int(y.min())} to {int(y.max())} given; "
                    f"with {len(self.classes)} classes they lie in 0 to {len(self.classes) - 1}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch: (C, H, W) or (features,)."""
        return tuple(self.train_x.shape[1:])

    def subset(self, train: int | None = None, test: int | None = None, seed: int = 0) -> "DataSet":
        """A random selection of the given sizes; None keeps a part whole and in order.

        Args:
            train: training inputs to keep.
            test: test inputs to keep.
            seed: of torch's generator; the selection is the start of ``torch.randperm``.

        Raises:
            InvalidInput: more is asked for than there is.

        Example:
            >>> from lowbit.data import load
            >>> len(load("digits").subset(train=100).train_x)
            100
        """
        train_keep = self._choose("train", train, len(self.train_x), seed)
        test_keep = self._choose("test", test, len(self.test_x), seed)
        return replace(
            self,
            train_x=self.train_x[train_keep],
            train_y=self.train_y[train_keep],
            test_x=self.test_x[test_keep],
            test_y=self.test_y[test_keep],
        )

    def normalized(self) -> "DataSet":
        """The same data with x replaced by (x - mean) / std, channel by channel.

        Raises:
            InvalidInput: the data set has no mean, or is normalized already.
        """
        if not self.mean:
            raise InvalidInput(f"data set {self.name!r} has no mean to normalize by; use it as it is")
        shape = (1, -1, *[1] * (self.train_x.dim() - 2))
        mean, std = torch.tensor(self.mean).reshape(shape), torch.tensor(self.std).reshape(shape)
        return replace(
            self,
            train_x=(self.train_x - mean) / std,
            test_x=(self.test_x - mean) / std,
            mean=(),
            std=(),
            normalized_by=(self.mean, self.std),
        )

    def _choose(self, part: str, count: int | None, present: int, seed: int) -> Tensor | slice:
        if count is None:
            return slice(None)
        if not 0 <= count <= present:
            raise InvalidInput(
                f"data set {self.name!r}: {count} {part} inputs asked for; there are {present}, so use 0 to {present}"
            )
        return torch.randperm(present, generator=torch.Generator().manual_seed(seed))[:count]
