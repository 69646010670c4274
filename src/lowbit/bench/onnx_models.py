"""Float and 8-bit ONNX models to compare with: of a torch network, or with the layer shapes of a program."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import LowbitError
from lowbit.program import Op, Program

OPSET = 17
Array = NDArray[Any]


def export_torch(model: Any, example: Any, path: Path) -> None:
    """Write a torch network as a float32 ONNX model with a free batch size.

    Args:
        model: float; exported in eval mode.
        example: input of the network, [batch, ...].
        path: of the file.
    """
    import torch

    batch = {"input": {0: "batch"}, "output": {0: "batch"}}
    with warnings.catch_warnings():
        # The newer exporter needs one more package and writes the same graph for these networks.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (example,), str(path), input_names=["input"], output_names=["output"],
            dynamic_axes=batch, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def quantize_int8(source: Path, target: Path, calibration: Array) -> None:
    """Quantize a float ONNX model as onnxruntime recommends for x86: QDQ, uint8 activations, int8 weights a channel.

    Args:
        source: the float model.
        target: file to write.
        calibration: inputs [N, ...] that the ranges are taken from.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = iter(np.array_split(calibration, max(1, len(calibration) // 64)))

        def get_next(self) -> dict[str, Array] | None:
            part = next(self.parts, None)
            return None if part is None else {"input": part}

    prepared = target.with_suffix(".prepared.onnx")
    with _quiet():
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    prepared.unlink()


def export_shapes(program: Program, path: Path) -> None:
    """Write a float32 ONNX model with a program's layers in their order: same shapes, random weights, ReLU between.

    It does the arithmetic that a float version of the program would do, and stands in where the trained float
    network is not at hand.

    Raises:
        LowbitError: an operation has no ONNX counterpart here.
    """
    import onnx
    from onnx import TensorProto, helper

    from lowbit.infer import infer

    types = infer(program)
    nodes: list[Any] = []
    weights: list[Any] = []
    names = {"input": "input"}
    random = np.random.default_rng(0)
    for op in program.ops:
        made = _node(op, [names[name] for name in op.inputs], random)
        if made is None:
            names[op.output] = names[op.inputs[0]]
            continue
        kind, extra, attributes = made
        for index, value in enumerate(extra):
            weights.append(helper.make_tensor(f"{op.output}_{index}", TensorProto.FLOAT, value.shape, value.ravel()))
        inputs = [names[name] for name in op.inputs] + [f"{op.output}_{i}" for i in range(len(extra))]
        nodes.append(helper.make_node(kind, inputs, [op.output], **attributes))
        names[op.output] = op.output
    nodes.append(helper.make_node("Identity", [names[program.output]], ["output"]))
    shape_in: list[Any] = ["batch", *program.input_shape]
    shape_out: list[Any] = ["batch", *types[program.output].shape]
    graph = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape_out)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _node(op: Op, inputs: list[str], random: np.random.Generator) -> tuple[str, list[Array], dict[str, Any]] | None:
    """ONNX operator, constants and attributes that stand for an operation; None where it vanishes in floats."""
    attrs = op.attrs
    if op.kind in ("conv", "linear", "float_conv", "float_linear"):
        shape = op.weight.shape if op.weight else op.arrays["weight"].shape
        weight = (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
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
        settings = {"kernel_shape": attrs["kernel"], "strides": attrs["stride"], "pads": (ph, pw, ph, pw)}
        return ("MaxPool" if op.kind == "max_pool" else "AveragePool"), [], settings
    if op.kind == "mean":
        return "ReduceMean", [], {"axes": [2, 3], "keepdims": int(attrs.get("keep", 0))}
    if op.kind == "concat":
        return "Concat", [], {"axis": 1}
    simple = {"add": "Add", "flatten": "Flatten"}
    if op.kind not in simple:
        raise LowbitError(f"{op.name}: no ONNX operator stands for {op.kind}; give --run with the trained run")
    return simple[op.kind], [], {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's quantizer from advertising its pre-processing, which has been done."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
