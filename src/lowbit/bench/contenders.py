"""Other runtimes as calls to be timed, all with the same number of threads."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput, MissingExtra, unknown

Array = NDArray[Any]
OTHERS = ("onnxruntime", "openvino", "torch")
INSTALL = {name: f"pip install {name}" for name in OTHERS} | {"onnxruntime": "pip install 'lowbit[bench]'"}


def require(name: str) -> None:
    """Check that a runtime is known and installed.

    Raises:
        UnknownName: nobody knows it.
        MissingExtra: it is not installed.
    """
    if name not in OTHERS:
        raise unknown("runtime", name, OTHERS)
    needed = ("onnxruntime", "onnx") if name == "onnxruntime" else (name,)
    for module in needed:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"--against {name} needs {module}, which is not installed; run: {INSTALL[name]}")


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
    """One inference of an ONNX model by OpenVINO on the CPU, in float32."""
    import openvino  # type: ignore[import-not-found]

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    feed = np.ascontiguousarray(x)
    return lambda: compiled(feed)[0]


def torch_call(model: Any, x: Array, threads: int) -> Callable[[], Array]:
    """One inference of a torch network in eager mode.

    Raises:
        InvalidInput: there is no network.
    """
    import torch

    if model is None:
        raise InvalidInput("--against torch needs the trained network; give --run with the folder of its run")
    torch.set_num_threads(threads)
    tensor, model = torch.from_numpy(x), model.eval()

    def call() -> Array:
        with torch.inference_mode():
            return model(tensor).numpy()

    return call
