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

from lowbit.bench.float_nodes import float_node
from lowbit.program import Program

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
        made = float_node(op, random)
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
