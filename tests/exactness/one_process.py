"""A process of its own: loads a saved model and prints what it answers and what it converts to, as hashes."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import lowbit
from lowbit import file


class Network(nn.Module):
    """Layers of every kind, wide enough that each instruction set takes its own way through torch."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.BatchNorm2d(24), nn.ReLU6())
        self.grouped = nn.Sequential(
            nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=3), nn.BatchNorm2d(24), nn.ReLU()
        )
        self.mode = nn.Conv2d(24, 16, 5, stride=2, padding=2, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(16)
        self.pool, self.average = nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.wide = nn.Conv2d(32, 40, 3)
        self.act = nn.LeakyReLU(0.1)
        self.hidden, self.head = nn.Linear(40, 50), nn.Linear(50, 10)
        self.norm1 = nn.BatchNorm1d(50)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.depthwise(x) + x
        x = self.norm(self.mode(self.grouped(x)))
        x = torch.cat([self.pool(x), self.average(x)], 1)
        x = self.act(self.wide(x)).mean((2, 3))
        return self.head(nn.functional.relu(self.norm1(self.hidden(x))))


def made(weight: str, activation: str, add: str | None, seed: int) -> tuple[nn.Module, Tensor]:
    """A prepared network that has been trained for two steps, and an input."""
    torch.manual_seed(seed)
    x = torch.randn(3, 3, 19, 17)
    model = lowbit.prepare(Network(), weight=weight, activation=activation, add=add, example=x)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return model.eval(), x


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@torch.no_grad()
def answers(model: nn.Module, x: Tensor) -> dict[str, str]:
    """Hashes of the outputs, which must not depend on batch or memory format, and of the program."""
    found = {}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        y = x.contiguous(memory_format=memory_format)
        net = model.to(memory_format=memory_format)  # type: ignore[call-overload]
        found[f"{memory_format}, batch {len(x)}"] = digest(net(y).numpy().tobytes())
        single = np.concatenate([net(y[i : i + 1]).numpy() for i in range(len(x))])
        found[f"{memory_format}, batch 1"] = digest(single.tobytes())
    assert len(set(found.values())) == 1, found
    model.to(memory_format=torch.contiguous_format)
    return {"outputs": next(iter(found.values())), "program": digest(file.to_bytes(lowbit.convert(model, x)))}


def main() -> None:
    """Arguments: folders that hold model.pt and x.npy."""
    torch.set_num_threads(int(sys.argv[1]))
    found = {}
    for folder in map(Path, sys.argv[2:]):
        model = torch.load(folder / "model.pt", weights_only=False)
        found[folder.name] = answers(model, torch.from_numpy(np.load(folder / "x.npy")))
    print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "found": found}))


if __name__ == "__main__":
    main()
