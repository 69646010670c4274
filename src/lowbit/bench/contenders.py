"""Other runtimes as calls to be timed, all with the same number of threads."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput, MissingExtra, unknown

Array = NDArray[Any]
OTHERS = ("onnxruntime", "openvino", "torch")
NEEDED = {"onnxruntime": ("onnxruntime", "onnx"), "openvino": ("openvino", "onnxruntime", "onnx"), "torch": ("torch",)}
"""Modules; OpenVINO executes the models that onnx and onnxruntime write."""
INSTALL = {name: f"pip install {name}" for name in OTHERS} | {"onnxruntime": "pip install 'lowbit[bench]'"}


def require(name: str) -> None:
    """Check that a runtime is known and installed.

    Raises:
        UnknownName: nobody knows it.
        MissingExtra: it is not installed.
    """
    if name not in OTHERS:
        raise unknown("runtime", name, OTHERS)
    for module in NEEDED[name]:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"--against {name} needs {module}, which is not installed; run: {INSTALL[name]}")


def installed() -> tuple[str, ...]:
    """Those of `OTHERS` that can be measured here.

    Example:
        >>> set(installed()) <= set(OTHERS)
        True
    """
    return tuple(name for name in OTHERS if all(importlib.util.find_spec(module) for module in NEEDED[name]))


def chosen(against: Sequence[str] | None) -> tuple[str, ...]:
    """Runtimes to measure, each once: the given ones, or all that are installed.

    Raises:
        UnknownName: nobody knows one.
        MissingExtra: one is not installed.
    """
    if against is None:
        return installed()
    for name in against:
        require(name)
    return tuple(dict.fromkeys(against))


def check_settings(threads: int, seconds: float, batch: int = 1) -> None:
    """Refuse settings that cannot be measured.

    Raises:
        InvalidInput: for threads outside 1..256, seconds outside 0.01..600, a batch outside 1..65536.
    """
    limits = (("threads", threads, 1, 256), ("seconds", seconds, 0.01, 600), ("batch", batch, 1, 65536))
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise InvalidInput(f"--{name} is {value}, allowed is {low} to {high}")


def onnxruntime_call(path: Path, x: Array, threads: int) -> Callable[[], Array]:
    """One inference of an ONNX model by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {"input": np.ascontiguousarray(x)}
    return lambda: session.run(None, feed)[0]


def openvino_call(path: Path, x: Array, threads: int) -> Callable[[], Array]:
    """One inference of an ONNX model by OpenVINO on the CPU: float32, or int8 where the model is quantized."""
    import openvino  # type: ignore[import-not-found]

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape({"input": list(x.shape)})  # sizes known in advance, as the other runtimes have them
    compiled = core.compile_model(model, "CPU", settings)
    feed = np.ascontiguousarray(x)
    return lambda: compiled(feed)[0]


def torch_call(model: Callable[[Any], Any], x: Array, threads: int) -> Callable[[], Array]:
    """One inference of a float32 torch network, a module in eval mode or a function, in eager mode."""
    import torch

    torch.set_num_threads(threads)
    tensor = torch.from_numpy(x)

    def call() -> Array:
        with torch.inference_mode():
            return model(tensor).numpy()

    return call
