"""Distortion and noise: what quantization changes for good, and what it changes differently from input to input.

With d(x, delta) = f_q(x + delta) - f(x + delta) over small random delta, distortion is |mean d|^2 / |f|^2 and noise is
mean |d - mean d|^2 / |f|^2. Weights mostly distort: d hardly depends on delta. Activations mostly add noise: a value
near the edge between two levels falls on one side or the other. Depth and width repair the first more than the second.

Source: Boo, Shin, Sung, section 3; the estimator with jitters is this library's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.analysis.split import MODES
from lowbit.analysis.switches import layer_outputs, quantizing
from lowbit.table import Table

JITTERS = 16
SIZE = 0.01
"""Standard deviation of a jitter over that of the inputs."""
OUTPUT = "(output)"
COLUMNS = ("layer", "quantized", "distortion", "noise", "gain")


@torch.no_grad()
def distortion_and_noise(difference: Tensor, signal: Tensor) -> tuple[float | None, float | None]:
    """Both shares of the power of the signal.

    The mean of J jitters still holds 1 / J of the noise, which is taken off the distortion again.

    Args:
        difference: f_q(x + delta) - f(x + delta): [jitters, ...], 2 or more jitters.
        signal: f(x + delta): [jitters, ...].

    Returns:
        distortion and noise, each relative to the mean power of the signal; None where there is no signal.

    Example:
        >>> d = torch.tensor([[1.0], [3.0]])
        >>> distortion_and_noise(d, torch.full((2, 1), 2.0))
        (0.75, 0.5)
    """
    difference, signal = difference.double(), signal.double()
    power = float(signal.square().mean())
    if power == 0:
        return None, None
    jitters = len(difference)
    mean = difference.mean(0)
    noise = float((difference - mean).square().sum(0).mean()) / (jitters - 1)
    distortion = max(0.0, float(mean.square().mean()) - noise / jitters)
    return distortion / power, noise / power


def noise_table(
    model: nn.Module, x: Tensor, *, seed: int = 0, jitters: int = JITTERS, tick: Callable[[], Any] = lambda: None
) -> Table:
    """Distortion and noise at every layer's output and at the network's, for weights, activations and both.

    `gain` is the distortion and noise of a layer over those of the layer executed before it: above 1 it amplifies.

    Args:
        model: prepared and calibrated.
        x: inputs [N, ...]; 64 are enough.
        seed: of the jitters, which are Gaussian with `SIZE` of the inputs' standard deviation.
        jitters: at least 2.
        tick: called after each mode.
    """
    generator = torch.Generator().manual_seed(seed)
    scale = SIZE * x.std()
    moved = [x + scale * torch.randn(x.shape, generator=generator).to(x) for _ in range(jitters)]
    real = _outputs(model, moved, False, False)
    rows: list[dict[str, Any]] = []
    for mode, (weights, activations) in MODES.items():
        if mode == "float":
            continue
        made = _outputs(model, moved, weights, activations)
        before: float | None = None
        for name in real:
            distortion, noise = distortion_and_noise(made[name] - real[name], real[name])
            total = None if distortion is None or noise is None else distortion + noise
            gain = total / before if total is not None and before else None
            rows.append({"layer": name, "quantized": mode, "distortion": distortion, "noise": noise, "gain": gain})
            before = total
        tick()
    return Table(COLUMNS, rows)


def _outputs(model: nn.Module, inputs: list[Tensor], weights: bool, activations: bool) -> dict[str, Tensor]:
    """By layer [jitters, N, ...], and the network's own output as `OUTPUT`."""
    found: dict[str, list[Tensor]] = {}
    with quantizing(model, weights, activations):
        for x in inputs:
            layers, y = layer_outputs(model, x)
            for name, calls in {**layers, OUTPUT: [y]}.items():
                found.setdefault(name, []).append(torch.cat([call.flatten(1) for call in calls], 1).float())
    return {name: torch.stack(parts) for name, parts in found.items()}
