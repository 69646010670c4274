"""Batches whose every random choice is a function of (seed, epoch, rank).

An epoch can therefore be replayed: a training that is resumed at an epoch's start sees the batches it would
have seen.
"""

import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lowbit.errors import InvalidInput

from .augment import Augmentation, augmentation

# Two streams of one (seed, epoch): the order, which all ranks share, and the augmentation, which they must
# not.
_ORDER, _AUGMENT = 0, 1


def generator_for(*key: int) -> torch.Generator:
    """A torch generator that depends on all of the given numbers, each at least 0.

    Example:
        >>> a, b = generator_for(0, 1), generator_for(1, 0)
        >>> a.initial_seed() == b.initial_seed()
        False
    """
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    # torch takes 64 bits, but only non-negative seeds are the same in every interface of it.
    return torch.Generator().manual_seed(int(state) >> 1)


class Batches:
    """Shuffled, augmented batches of tensors in memory, for one process or one rank of several.

    With W ranks, the shuffled order is cut into groups of W * size and rank r takes the r-th part of each
    group, so that the ranks together see in each step what one process with batches of W * size sees. Where
    the last group does not divide evenly, it is filled up from the start of the order; all ranks take equally
    many steps.

    Args:
        x: inputs [N, ...].
        y: labels [N].
        size: of a batch, on each rank.
        seed: at least 0.
        augment: applied in order to each batch, as objects or as written: ``("shift:2", "flip")``.
        shuffle: False keeps the order, for evaluation.
        drop_last: leave out a last group that is not full.
        rank: of this process, in [0, world_size).
        world_size: processes.

    Raises:
        InvalidInput: sizes, seed or rank do not fit, or there is not one batch.

    Example:
        >>> batches = Batches(torch.arange(10.0), torch.arange(10), size=4)
        >>> [len(x) for x, y in batches.epoch(0)]
        [4, 4, 2]
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        size: int,
        seed: int = 0,
        augment: Sequence[str | Augmentation] = (),
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(x) != len(y):
            raise InvalidInput(f"Batches: {len(x)} inputs and {len(y)} labels given; use as many of both")
        if size < 1 or seed < 0:
            raise InvalidInput(f"Batches: size={size}, seed={seed} given; use size >= 1 and seed >= 0")
        if not 0 <= rank < world_size:
            raise InvalidInput(f"Batches: rank={rank} of {world_size} given; use a rank in 0..world_size - 1")
        self.x, self.y = x, y
        self.size, self.seed = size, seed
        self.augment = tuple(augmentation(item) if isinstance(item, str) else item for item in augment)
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rank, self.world_size = rank, world_size
        self.current_epoch = 0
        if len(self) == 0:
            raise InvalidInput(
                f"Batches: {len(x)} inputs give no batch of {size * world_size}; use a smaller size, more "
                "data, or drop_last=False"
            )

    def __len__(self) -> int:
        """Steps in an epoch, the same on every rank."""
        groups = len(self.x) / (self.size * self.world_size)
        return math.floor(groups) if self.drop_last else math.ceil(groups)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that plain iteration (``for x, y in batches``) gives."""
        self.current_epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of the chosen epoch; the choice stays, so that iterating again repeats them."""
        return self.epoch(self.current_epoch)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, x [size, ...] and y [size]; identical each time that it is asked for.

        Args:
            epoch: at least 0.
        """
        draws = generator_for(self.seed, epoch, _AUGMENT, self.rank)
        order = self._order(epoch)
        for start in range(0, len(order), self.size):
            chosen = order[start : start + self.size]
            x = self.x[chosen]
            for change in self.augment:
                x = change(x, draws)
            yield x, self.y[chosen]

    def plain(self) -> "Batches":
        """The same inputs in the same order without augmentation, as an evaluation sees them.

        Example:
            >>> batches = Batches(torch.ones(2, 1, 4, 4), torch.zeros(2), size=2, augment=["shift:2"])
            >>> [x.min().item() for x, y in batches.plain()]
            [1.0]
        """
        bare = copy.copy(self)
        bare.augment = ()
        return bare

    def _order(self, epoch: int) -> Tensor:
        """Indices int64 that this rank visits in the epoch."""
        count = len(self.x)
        order = (
            torch.randperm(count, generator=generator_for(self.seed, epoch, _ORDER))
            if self.shuffle
            else torch.arange(count)
        )
        group = self.size * self.world_size
        if self.drop_last:
            order = order[: count // group * group]
        elif count % self.world_size:
            order = torch.cat([order, order[: self.world_size - count % self.world_size]])
        parts = []
        for start in range(0, len(order), group):
            whole = order[start : start + group]
            share = len(whole) // self.world_size
            parts.append(whole[self.rank * share : (self.rank + 1) * share])
        return torch.cat(parts)
