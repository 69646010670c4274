"""The float operation that stands for an operation of a program: the same shapes, random weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import LowbitError
from lowbit.program import Op

Node = tuple[str, list[NDArray[np.float32]], dict[str, Any]]


def float_node(op: Op, random: np.random.Generator) -> Node | None:
    """ONNX operator, constants and attributes; None where the operation vanishes in floats.

    Weights are normal with variance 2 / inputs, so that values neither die out nor grow behind ReLUs: numbers close to
    nothing would slow other runtimes down.

    Raises:
        LowbitError: for an operation without a float counterpart.

    Example:
        >>> flat = Op(kind="flatten", name="flat", inputs=("x",), output="y")
        >>> float_node(flat, np.random.default_rng(0))
        ('Flatten', [], {})
    """
    attrs = op.attrs
    if op.kind in ("conv", "linear", "float_conv", "float_linear"):
        shape = op.weight.shape if op.weight else op.arrays["weight"].shape
        weight = (random.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))).astype(np.float32)
        bias = np.zeros(shape[0], np.float32)
        if op.kind.endswith("linear"):
            return "Gemm", [weight, bias], {"transB": 1}
        (ph, pw), settings = attrs["padding"], {"strides": attrs["stride"], "dilations": attrs["dilation"]}
        return "Conv", [weight, bias], {**settings, "pads": (ph, pw, ph, pw), "group": attrs["groups"]}
    if op.kind == "threshold" or (op.kind == "activation" and attrs["function"].startswith("relu")):
        return "Relu", [], {}
    if op.kind in ("rescale", "affine", "quantize", "lookup", "dequantize"):
        return None  # folded into the convolution, or no such thing in floats
    if op.kind == "activation":
        named = {"hardswish": "HardSwish", "leaky_relu": "LeakyRelu", "hardtanh": "Identity"}
        return named[attrs["function"]], [], {}
    if op.kind in ("max_pool", "avg_pool"):
        ph, pw = attrs["padding"]
        settings = {"kernel_shape": attrs["kernel"], "strides": attrs["stride"], "pads": (ph, pw, ph, pw),
                    "ceil_mode": attrs["ceil"]}  # fmt: skip
        if op.kind == "max_pool":
            return "MaxPool", [], {**settings, "dilations": attrs["dilation"]}
        return "AveragePool", [], settings
    if op.kind == "mean":
        return "ReduceMean", [], {"axes": [2, 3], "keepdims": int(attrs.get("keep", 0))}
    if op.kind == "concat":
        return "Concat", [], {"axis": 1}
    simple = {"add": "Add", "flatten": "Flatten"}
    if op.kind not in simple:
        raise LowbitError(f"{op.name}: no float operation stands for {op.kind}; give --run with the trained run")
    return simple[op.kind], [], {}
