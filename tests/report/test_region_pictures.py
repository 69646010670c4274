"""Decision regions on the diagnosis page: the pixels are the network's classes, drawn upward."""

import base64
import zlib

import numpy as np
import torch
from torch import nn

import lowbit
from lowbit.report.region_pictures import COLORS, SIZE, region_pictures


def pixels(address: str) -> np.ndarray:
    """Rows of a PNG of ours, [h, w, 3]."""
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    rows = np.frombuffer(zlib.decompress(data[start : start + length]), dtype=np.uint8)
    return rows.reshape(SIZE, 1 + 3 * SIZE)[:, 1:].reshape(SIZE, SIZE, 3)


def test_pixels_are_the_classes() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():  # class 1 where y > x, for x and y from 0
        for layer in (net[0], net[2]):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.3, 0.6]])
    # two levels of activations: 0 and 1, so that the network tells apart only what rounds apart
    lowbit.calibrate(lowbit.prepare(net, weight=None, activation="uniform:1", first=None, last="same"), [x])
    whole, quantized = region_pictures(net, x)
    assert whole["title"].startswith("without quantizers, noise index 0.00 %")
    assert quantized["title"].startswith("quantized, noise index")
    zero, one = ([int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in COLORS[:2])
    drawn = pixels(whole["image"])
    assert (drawn[0, 0] == one).all()  # above left: y is 1, x is 0
    assert (drawn[-1, -1] == zero).all()
    classes = (drawn == one).all(-1)
    assert np.array_equal(classes, np.arange(SIZE)[::-1, None] > np.arange(SIZE))
    assert not np.array_equal(drawn, pixels(quantized["image"]))


def test_only_inputs_of_two_numbers_have_regions() -> None:
    assert region_pictures(nn.Linear(3, 2), torch.zeros(4, 3)) == []
    assert region_pictures(nn.Flatten(), torch.zeros(4, 1, 8, 8)) == []
    constant = region_pictures(nn.Sequential(nn.Linear(2, 2)), torch.zeros(4, 2))
    assert len(constant) == 2
