"""Decision regions of a network with two inputs, as small pictures for the page of its diagnosis."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lowbit.analysis.regions import decision_regions, noise_index
from lowbit.analysis.switches import quantizing
from lowbit.report.images import address

SIZE = 160
COLORS = ("c6dff0", "e08a1e", "009e73", "f0e442", "cc79a7", "56b4e9", "d55e00", "0072b2", "999999", "222222")
"""Told apart by every kind of color blindness (the first two as in `lowbit reproduce boo-figure2`, most of the others
are Okabe and Ito's); classes beyond these have the last one's."""


def region_pictures(model: nn.Module, x: Tensor) -> list[dict[str, str]]:
    """The regions of the network without its quantizers and with them, over the range of the inputs.

    Args:
        model: prepared and calibrated.
        x: inputs it was measured on, [N, ...].

    Returns:
        [{title, image}], the image as the address of a PNG whose first input grows to the right and whose second grows
        upward; nothing where inputs are not two numbers.
    """
    if x.ndim != 2 or x.shape[1] != 2:
        return []
    low, high = x.detach().cpu().amin(0).numpy(), x.detach().cpu().amax(0).numpy()
    across, up = (np.linspace(low[axis], high[axis], SIZE, dtype=np.float32) for axis in range(2))
    points = np.stack(np.meshgrid(across, up[::-1]), axis=-1)
    palette = torch.tensor([[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in COLORS], dtype=torch.uint8)
    pictures = []
    for name, on in (("without quantizers", False), ("quantized", True)):
        with quantizing(model, on, on):
            found = decision_regions(model, points)
        chosen = palette[torch.from_numpy(found).long().clamp(max=len(COLORS) - 1)]
        title = f"{name}, noise index {100 * noise_index(found):.2f} %"
        pictures.append({"title": title, "image": address(chosen.permute(2, 0, 1))})
    return pictures
