"""The same float network in every other runtime that is installed, and ratios to them."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowbit.bench.contenders import OTHERS, onnxruntime_call, openvino_call, torch_call
from lowbit.bench.onnx_models import export_torch, quantize_int8
from lowbit.bench.rounds import NOISY, Timing

Call = Callable[[], object]
FLOAT32, INT8 = "onnxruntime float32", "onnxruntime int8"
Limits = Mapping[str, float]


def peer_calls(model: torch.nn.Module, inputs: np.ndarray, batch: int, threads: int, folder: Path) -> dict[str, Call]:
    """Calls by runtime and form; int8 is QDQ with unsigned activations and signed weights a channel, of one file.

    Args:
        model: float.
        inputs: [N, ...]; int8 ranges are taken from all of them, and the first `batch` are what is timed.
        batch: images at a time.
        threads: of every runtime.
        folder: for the ONNX files.
    """
    x = np.ascontiguousarray(inputs[:batch])
    files = {"float32": folder / "float32.onnx", "int8": folder / "int8.onnx"}
    export_torch(model, torch.from_numpy(inputs[:1]), files["float32"])
    quantize_int8(files["float32"], files["int8"], inputs)
    calls: dict[str, Call] = {}
    for form, path in files.items():
        calls[f"onnxruntime {form}"] = onnxruntime_call(path, x, threads)
    if importlib.util.find_spec("openvino") is not None:
        for form, path in files.items():
            calls[f"openvino {form}"] = openvino_call(path, x, threads)
    calls["torch float32"] = torch_call(model, x, threads)
    return calls


def compare(timings: Mapping[str, Timing], ours: str, must: Limits | None, aim: Limits | None) -> dict[str, Any]:
    """A row of results: our time, each peer's time over ours within the round, and the targets.

    Returns:
        us (median) and us_best (minimum) of our call; ratio and peer_us by peer; must and aim by peer; met, whether
        every ratio that was measured reaches its must (None without targets); noisy, where quartiles of a time are far
        apart; rounds.
    """
    own = timings[ours]
    peers = {name: timing for name, timing in timings.items() if name.split()[0] in OTHERS}
    ratio = {
        name: statistics.median(a / b for a, b in zip(timing.samples, own.samples, strict=True))
        for name, timing in peers.items()
    }
    return {
        "us": 1e6 * own.seconds,
        "us_best": 1e6 * min(own.samples),
        "ratio": ratio,
        "peer_us": {name: 1e6 * timing.seconds for name, timing in peers.items()},
        "must": must,
        "aim": aim,
        "met": None if must is None else all(ratio[name] >= limit for name, limit in must.items() if name in ratio),
        "noisy": any(timing.spread > NOISY for timing in (own, *peers.values())),
        "rounds": own.rounds,
    }


def text(found: Mapping[str, Any], title: str) -> str:
    """A row for people, ratios first."""
    ratio = found["ratio"]
    named = (FLOAT32, INT8, "openvino int8", "torch float32")
    ratios = " ".join(f"{ratio[name]:7.2f}" if name in ratio else "      -" for name in named)
    limits = found["must"] or {}
    must = " / ".join(f"{limits[name]:g}" if name in limits else "-" for name in named[:3])
    met = {None: "", True: "met", False: "missed"}[found["met"]]
    noise = " noisy" if found["noisy"] else ""
    return f"{title:<42}{ratios}   {must if limits else '':<15} {met:<7}{found['us']:>10.1f} us{noise}"


HEADER = f"{'times as fast as':<42}{'ort f32':>7} {'int8':>7} {'ov int8':>7} {'torch':>7}   must"
