"""Lightning, imported in the one way that works beside a CPU build of torch.

It imports torchvision through torchmetrics, which fails there until two operators are declared.
"""

from lowbit.data import import_torchvision

import_torchvision()

import lightning.pytorch as pl  # noqa: E402

__all__ = ["pl"]
