"""A float32 torch network with the layer shapes of a program, where the trained one is not at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lowbit.bench.float_nodes import float_node
from lowbit.program import Program

Call = Callable[..., Tensor]


def shapes_network(program: Program) -> Callable[[Tensor], Tensor]:
    """The network that `onnx_models.export_shapes` writes, as a torch function with the same random weights.

    Args:
        program: whose layers give the shapes.

    Returns:
        A function from float32 [batch, *program.input_shape] to the output.

    Raises:
        LowbitError: for an operation without a float counterpart.
    """
    random = np.random.default_rng(0)
    steps: list[tuple[Call, tuple[str, ...], str]] = []
    names = {"input": "input"}
    for op in program.ops:
        node = float_node(op, random)
        if node is None:
            names[op.output] = names[op.inputs[0]]
            continue
        kind, constants, attributes = node
        call = _call(kind, [torch.from_numpy(c) for c in constants], attributes)
        steps.append((call, tuple(names[name] for name in op.inputs), op.output))
        names[op.output] = op.output
    output = names[program.output]

    def run(x: Tensor) -> Tensor:
        values = {"input": x}
        for call, inputs, name in steps:
            values[name] = call(*(values[key] for key in inputs))
        return values[output]

    return run


def _call(kind: str, constants: list[Tensor], a: dict[str, Any]) -> Call:
    """A torch function that does what an ONNX operator of `float_node` does."""
    if kind == "Conv":
        (weight, bias), window = constants, (a["strides"], a["pads"][:2], a["dilations"], a["group"])
        return lambda x: F.conv2d(x, weight, bias, *window)
    if kind == "Gemm":
        return lambda x: F.linear(x, *constants)
    if kind == "MaxPool":
        settings = (a["kernel_shape"], a["strides"], a["pads"][:2], a["dilations"], bool(a["ceil_mode"]))
        return lambda x: F.max_pool2d(x, *settings)
    if kind == "AveragePool":
        average = (a["kernel_shape"], a["strides"], a["pads"][:2], bool(a["ceil_mode"]), False)
        return lambda x: F.avg_pool2d(x, *average)
    if kind == "ReduceMean":
        return lambda x: x.mean((2, 3), keepdim=bool(a["keepdims"]))
    calls: dict[str, Call] = {
        "Relu": F.relu,
        "HardSwish": F.hardswish,
        "LeakyRelu": F.leaky_relu,
        "Identity": lambda x: x,
        "Concat": lambda *xs: torch.cat(xs, 1),
        "Add": torch.add,
        "Flatten": lambda x: torch.flatten(x, 1),
    }
    return calls[kind]
