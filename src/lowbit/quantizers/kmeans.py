"""k-means of a list of numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def centers(x: Tensor, count: int) -> Tensor:
    """Ascending k-means centers of a list of numbers, starting at quantiles; repeated where x has fewer values."""
    x = x.sort().values
    found = x[((torch.arange(count, device=x.device) + 0.5) / count * len(x)).long()].clone()
    for _ in range(100):
        group = torch.bucketize(x, (found[1:] + found[:-1]) / 2)
        size = torch.zeros_like(found).index_add_(0, group, torch.ones_like(x))
        total = torch.zeros_like(found).index_add_(0, group, x)
        moved = torch.where(size > 0, total / size.clamp_min(1), found).sort().values
        if torch.equal(moved, found):
            break
        found = moved
    return found
