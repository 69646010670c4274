"""From one node of the traced model to operations of the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from lowbit.errors import InvalidProgram
from lowbit.grid import Grid
from lowbit.infer import Value, apply
from lowbit.layers import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Concat,
    Mean,
    QuantBatchNorm1d,
    QuantBatchNorm2d,
    QuantConv2d,
    WeightLayer,
)
from lowbit.layers.pool import pair
from lowbit.program import Op, Weight
from lowbit.quantizers.base import Quantizer
from lowbit.thresholds import of_encoder
from lowbit.trace import ADDITIONS, CONCATENATIONS, FLATTENINGS, RELUS, is_any

SOFT = 1e-3
"""Share of a mixture's training value off the grid from which `convert` refuses it."""


class Unsupported(Exception):
    """A node without an integer form; the text says why and what would work."""


class Emitter:
    """Collects the operations of a program while the nodes of a traced model go by.

    Values are named after nodes; what has no node of its own gets a name with a dot, which no node has.

    Args:
        modules: by path.
        input_shape: of one image.
        allow_inexact: accept layers with a float operand.
    """

    def __init__(self, modules: dict[str, nn.Module], input_shape: tuple[int, ...], allow_inexact: bool) -> None:
        self.modules, self.allow_inexact = modules, allow_inexact
        self.ops: list[Op] = []
        self.types: dict[str, Value] = {"input": Value("float", input_shape)}
        self.names: dict[fx.Node, str] = {}  # node -> float value
        self.failed: set[fx.Node] = set()
        self._codes: dict[tuple[str, int], str] = {}  # (float value, quantizer) -> codes

    def op(self, kind: str, name: str, inputs: tuple[str, ...], output: str, **rest: Any) -> str:
        """Append one operation, checked by its rule; returns the name of its output."""
        op = Op(kind=kind, name=name, inputs=inputs, output=output, **rest)
        try:
            self.types[output] = apply(op, self.types)
        except InvalidProgram as error:
            raise Unsupported(str(error)) from None
        self.ops.append(op)
        return output

    def codes(self, value: str, quantizer: Quantizer, name: str) -> str:
        """Codes of a float value on a quantizer's grid; made once for all readers."""
        key = (value, id(quantizer))
        if key not in self._codes:
            if not quantizer.calibrated:
                raise Unsupported("its activation quantizer is not calibrated; run lowbit.calibrate(model, batches)")
            self.check(quantizer)
            count = sum(1 for v, _ in self._codes if v == value)
            output = f"{value}.codes" + (f".{count}" if count else "")
            try:
                grid = quantizer.grid()
            except ValueError as error:
                raise Unsupported(f"its activation quantizer has no usable scale: {error}") from None
            narrow(quantizer, grid)
            if quantizer.arithmetic:
                self._codes[key] = self.op("quantize", name, (value,), output, grid=grid)
            else:
                arrays = of_encoder(quantizer, grid)
                self._codes[key] = self.op("threshold", name, (value,), output, grid=grid, arrays=arrays)
        return self._codes[key]

    def check(self, quantizer: Quantizer) -> None:
        """Refuse widths that programs do not hold, and mixtures that have not ended."""
        soft = 1.0 if quantizer.relaxed else quantizer.unfinished()
        if soft > SOFT:
            raise Unsupported(
                f"{quantizer.card.name} still mixes: {soft:.1%} of its training value is not on its grid in eval; "
                "let its procedure end, or harden it, and train on"
            )
        if quantizer.bits > 8:
            raise Unsupported(f"{quantizer.card.name}:{quantizer.bits} has more than the 8 bits that programs hold")

    def add(self, node: fx.Node) -> None:
        """Emit one node.

        Raises:
            Unsupported: if it has no integer form.
        """
        name = str(node.target) if node.op == "call_module" else node.name
        for kinds, emit in HANDLERS:
            if is_any(node, self.modules, kinds):
                self.names[node] = emit(self, node, name)
                return
        what = node.target if node.op != "call_module" else type(self.modules[name])
        what = what if isinstance(what, str) else getattr(what, "__name__", str(what))
        if node.op == "call_module" and isinstance(self.modules[name], _PREPARED):
            raise Unsupported(
                f"is a plain {what}; call lowbit.prepare(model) first" if what in _PLAIN
                else f"{what} is a subclass that prepare leaves alone; use torch's own class"
            )  # fmt: skip
        raise Unsupported(f"{what} has no integer form; {_ADVICE.get(what, 'use one of ' + SUPPORTED)}")

    def value(self, argument: Any) -> str:
        """The float value of a node's argument."""
        if not isinstance(argument, fx.Node):
            raise Unsupported(f"reads the constant {argument!r}; only tensors of the network are supported")
        if argument in self.failed:
            raise Unsupported("")  # reported there
        if argument not in self.names:
            raise Unsupported(f"reads {argument.name}, which is no tensor of the network")
        return self.names[argument]


SUPPORTED = (
    "Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh, Hardswish, LeakyReLU, max, average and global pooling, "
    "addition, concatenation of channels, flatten"
)
_PREPARED = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_PLAIN = {kind.__name__ for kind in _PREPARED}
_ADVICE = {
    "Hardsigmoid": "squeeze-and-excitation has no integer form; use a network without it",
    "mul": "squeeze-and-excitation has no integer form; use a network without it",
    "SiLU": "use Hardswish", "GELU": "use ReLU or Hardswish", "Sigmoid": "use Hardtanh", "PReLU": "use LeakyReLU",
    "GroupNorm": "use BatchNorm2d", "LayerNorm": "use BatchNorm",
    "Conv1d": "use Conv2d with a height of 1", "ConvTranspose2d": "use an upsampling-free design or Conv2d",
}  # fmt: skip


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy().copy()


def narrow(quantizer: Quantizer, grid: Grid) -> None:
    """Refuse a trained width that has left what programs hold."""
    if grid.bits > 8:
        raise Unsupported(
            f"{quantizer.card.name} has grown to {grid.bits} bits, more than the 8 bits that programs hold; train on "
            "with a penalty on the width, or from a smaller one"
        )


def _geometry(layer: QuantConv2d) -> dict[str, Any]:
    left, right, top, bottom = layer.pads()
    if left != right or top != bottom:
        raise Unsupported(f"padding 'same' of a {layer.kernel_size} kernel is uneven; use an odd kernel")
    return {
        "stride": pair(layer.stride), "padding": (top, left), "dilation": pair(layer.dilation),
        "groups": layer.groups, "pad_mode": layer.padding_mode,
    }  # fmt: skip


def _layer(e: Emitter, node: fx.Node, name: str) -> str:
    layer = e.modules[name]
    assert isinstance(layer, WeightLayer)
    value, conv = e.value(node.args[0]), isinstance(layer, QuantConv2d)
    attrs = _geometry(layer) if isinstance(layer, QuantConv2d) else {}
    wq, xq = layer.weight_quantizer, layer.input_quantizer
    bias = {} if layer.bias is None else {"bias": _array(layer.bias)}
    if layer.weight.dtype != torch.float32:
        raise Unsupported(f"its weight is {layer.weight.dtype}; programs are float32, call model.float() first")
    weight = None
    if wq is not None:
        if not wq.calibrated:
            raise Unsupported("its weight quantizer is not calibrated; run lowbit.calibrate(model, batches)")
        e.check(wq)
        if not torch.isfinite(layer.weight).all():
            raise Unsupported("its weight holds NaN or infinity")
        grid = wq.grid(layer.weight)
        narrow(wq, grid)
        weight = Weight.from_codes(wq.encode(layer.weight).cpu().numpy(), grid)
    if wq is not None and xq is not None:
        codes = e.codes(value, xq, name)
        acc = e.op("conv" if conv else "linear", name, (codes,), f"{node.name}.acc", attrs=attrs, weight=weight)
        y = _gained(e, node, name, value, acc, bias)
    elif not e.allow_inexact:
        missing = " and ".join(w for w, q in (("weight", wq), ("activation", xq)) if q is None)
        raise Unsupported(
            f"its {missing} is float, so no two machines agree on it; quantize it, or pass allow_inexact=True"
        )
    else:
        if xq is not None:
            value = e.op("dequantize", name, (e.codes(value, xq, name),), f"{node.name}.input")
        arrays = bias if weight is not None else {**bias, "weight": _array(layer.weight)}
        kind = "float_conv" if conv else "float_linear"
        y = e.op(kind, name, (value,), node.name, attrs=attrs, weight=weight, arrays=arrays)
    if layer.output_quantizer is not None:
        y = e.op("dequantize", name, (e.codes(y, layer.output_quantizer, name),), f"{node.name}.output")
    return y


def _gained(e: Emitter, node: fx.Node, name: str, value: str, acc: str, bias: dict[str, np.ndarray]) -> str:
    """Rescale, then the factors that methods put on a layer's output, then the bias."""
    layer: Any = e.modules[name]
    kinds = [q for q in (layer.input_quantizer, layer.weight_quantizer) if q.gain_kind is not None]
    if not kinds:
        return e.op("rescale", name, (acc,), node.name, arrays=bias)
    y = e.op("rescale", name, (acc,), f"{node.name}.scaled")
    for i, q in enumerate(kinds):
        last = i == len(kinds) - 1 and not bias
        output = node.name if last else f"{node.name}.gain.{i}"
        if q.gain_kind == "magnitude":
            attrs = {}
            if isinstance(layer, QuantConv2d):
                attrs = {**_geometry(layer), "kernel": pair(layer.kernel_size)}
                if attrs.pop("pad_mode") != "zeros":
                    raise Unsupported("XNOR's K is defined for zero padding; use padding_mode='zeros'")
                attrs.pop("groups")
            k = e.op("magnitude", name, (value,), f"{node.name}.k", attrs=attrs)
            y = e.op("gain", name, (y, k), output)
        else:
            factor = q.gain(torch.zeros(1, *e.types[value].shape, device=layer.weight.device), layer)
            array = np.ascontiguousarray(np.broadcast_to(_array(factor)[0], e.types[y].shape))
            y = e.op("gain", name, (y,), output, arrays={"map": array})
    if bias:
        arrays = {"scale": np.ones(e.types[y].shape[0], np.float32), "shift": bias["bias"]}
        y = e.op("affine", name, (y,), node.name, arrays=arrays)
    return y


def _norm(e: Emitter, node: fx.Node, name: str) -> str:
    norm: Any = e.modules[name]
    if norm.running_mean is None:
        raise Unsupported("BatchNorm without running statistics depends on the batch; set track_running_stats=True")
    a, b = norm.coefficients()
    arrays = {"scale": _array(a), "shift": _array(b)}
    return e.op("affine", name, (e.value(node.args[0]),), node.name, arrays=arrays)


def _activation(function: str, *keys: tuple[str, str, int, float]) -> Callable[[Emitter, fx.Node, str], str]:
    """Emitter of an activation; keys: (our name, torch's name, position, default)."""

    def emit(e: Emitter, node: fx.Node, name: str) -> str:
        attrs: dict[str, Any] = {"function": function}
        for ours, theirs, position, default in keys:
            if node.op == "call_module":
                attrs[ours] = float(getattr(e.modules[name], theirs))
            else:
                given = node.args[position] if len(node.args) > position else node.kwargs.get(theirs, default)
                attrs[ours] = float(given)  # type: ignore[arg-type]
        return e.op("activation", name, (e.value(node.args[0]),), node.name, attrs=attrs)

    return emit


def _add(e: Emitter, node: fx.Node, name: str) -> str:
    if len(node.args) != 2 or node.kwargs:
        raise Unsupported("adds with a factor; write a plain a + b")
    values = tuple(e.value(a) for a in node.args)
    layer = e.modules.get(name) if node.op == "call_module" else None
    if isinstance(layer, Add) and layer.input_quantizer is not None:
        q = layer.input_quantizer
        values = tuple(e.codes(v, q, name) for v in values)
    return e.op("add", name, values, node.name)


def _concat(e: Emitter, node: fx.Node, name: str) -> str:
    layer = e.modules.get(name) if node.op == "call_module" else None
    if layer is None:
        tensors = node.args[0]
        axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
        if axis != 1 or not isinstance(tensors, (list, tuple)):
            raise Unsupported(f"concatenates along axis {axis}; only channels (1) are supported")
    else:
        tensors = node.args
    values = tuple(e.value(t) for t in tensors)
    if isinstance(layer, Concat) and layer.input_quantizer is not None:
        codes = tuple(e.codes(v, layer.input_quantizer, name) for v in values)
        joined = e.op("concat", name, codes, f"{node.name}.joined")
        return e.op("dequantize", name, (joined,), node.name)
    return e.op("concat", name, values, node.name)


def _max_pool(e: Emitter, node: fx.Node, name: str) -> str:
    if node.op == "call_module":
        m: Any = e.modules[name]
        kernel, stride, padding, dilation = m.kernel_size, m.stride, m.padding, m.dilation
        ceil, indices = m.ceil_mode, m.return_indices
    else:
        keys = ["kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"]
        given = dict(zip(keys, node.args[1:], strict=False)) | dict(node.kwargs)
        kernel, stride = given["kernel_size"], given.get("stride")
        padding, dilation = given.get("padding", 0), given.get("dilation", 1)
        ceil, indices = given.get("ceil_mode", False), given.get("return_indices", False)
    if indices:
        raise Unsupported("returns indices; programs have values only")
    stride = kernel if stride in (None, (), []) else stride
    attrs = {"kernel": pair(kernel), "stride": pair(stride), "padding": pair(padding), "dilation": pair(dilation),
             "ceil": int(bool(ceil))}  # fmt: skip
    return e.op("max_pool", name, (e.value(node.args[0]),), node.name, attrs=attrs)


def _pooled(e: Emitter, node: fx.Node, name: str) -> str:
    """Input of a pool layer: floats, or codes where it has a quantizer."""
    value, q = e.value(node.args[0]), e.modules[name].input_quantizer
    return value if q is None else e.codes(value, q, name)  # type: ignore[arg-type]


def _avg_pool(e: Emitter, node: fx.Node, name: str) -> str:
    m: Any = e.modules[name]
    attrs = {"kernel": m.kernel, "stride": m.stride, "padding": m.padding, "ceil": int(m.ceil),
             "count_pad": int(m.count_pad), "divisor": int(m.divisor or 0)}  # fmt: skip
    return e.op("avg_pool", name, (_pooled(e, node, name),), node.name, attrs=attrs)


def _adaptive(e: Emitter, node: fx.Node, name: str) -> str:
    m: Any = e.modules[name]
    value = _pooled(e, node, name)
    kernel = m.kernel(*e.types[value].shape[-2:])
    if kernel is None:
        raise Unsupported(
            f"pools {e.types[value].shape[-2:]} to {m.output_size} with windows of different sizes; "
            "use an output size that divides the input, or AvgPool2d"
        )
    if kernel == (1, 1) and m.input_quantizer is None:
        return value
    attrs = {"kernel": kernel, "stride": kernel, "padding": (0, 0), "ceil": 0, "count_pad": 1, "divisor": 0}
    return e.op("avg_pool", name, (value,), node.name, attrs=attrs)


def _mean(e: Emitter, node: fx.Node, name: str) -> str:
    attrs = {"keep": int(e.modules[name].keep)}  # type: ignore[arg-type]
    return e.op("mean", name, (_pooled(e, node, name),), node.name, attrs=attrs)


def _flatten(e: Emitter, node: fx.Node, name: str) -> str:
    value = e.value(node.args[0])
    size = e.types[value].size
    if node.op == "call_module":
        m: Any = e.modules[name]
        whole = (m.start_dim, m.end_dim) == (1, -1)
    elif node.target in ("view", "reshape", torch.reshape):
        shape = node.args[1:] if not isinstance(node.args[1], (tuple, list)) else node.args[1]
        whole = bool(len(shape) == 2 and shape[1] in (-1, size))
    else:
        axes: dict[str, Any] = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | dict(node.kwargs)
        whole = axes.get("start_dim", 0) == 1 and axes.get("end_dim", -1) == -1
    if not whole:
        raise Unsupported("reshapes other than [batch, ...] to [batch, features]; use torch.flatten(x, 1)")
    return value if len(e.types[value].shape) == 1 else e.op("flatten", name, (value,), node.name)


def _quantizer(e: Emitter, node: fx.Node, name: str) -> str:
    q: Any = e.modules[name]
    return e.op("dequantize", name, (e.codes(e.value(node.args[0]), q, name),), node.name)


def _pass(e: Emitter, node: fx.Node, name: str) -> str:
    return e.value(node.args[0])


HANDLERS: tuple[tuple[tuple[Any, ...], Callable[[Emitter, fx.Node, str], str]], ...] = (
    ((WeightLayer,), _layer),
    ((QuantBatchNorm1d, QuantBatchNorm2d), _norm),
    (RELUS, _activation("relu")),
    ((nn.ReLU6, F.relu6), _activation("relu6")),
    ((nn.Hardtanh, F.hardtanh), _activation(
        "hardtanh", ("low", "min_val", 1, -1.0), ("high", "max_val", 2, 1.0))),
    ((nn.Hardswish, F.hardswish), _activation("hardswish")),
    ((nn.LeakyReLU, F.leaky_relu), _activation("leaky_relu", ("slope", "negative_slope", 1, 0.01))),
    ((Add, *ADDITIONS), _add),
    ((Concat, *CONCATENATIONS), _concat),
    ((nn.MaxPool2d, F.max_pool2d), _max_pool),
    ((AvgPool2d,), _avg_pool),
    ((AdaptiveAvgPool2d,), _adaptive),
    ((Mean,), _mean),
    ((nn.Flatten, *FLATTENINGS), _flatten),
    ((Quantizer,), _quantizer),
    ((nn.Identity, nn.Dropout, nn.Dropout2d, F.dropout, F.dropout2d, "contiguous"), _pass),
)  # fmt: skip
