"""The comparison: every value of a program against the eval model's tensor of the same name, tolerance zero."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from lowbit import convert
from lowbit.infer import infer
from lowbit.layers import WeightLayer
from lowbit.program import Program
from lowbit.quantizers.base import Quantizer
from lowbit.rewrite import _sort, hoist
from lowbit.runtime import reference
from lowbit.trace import settle, trace

Array = np.ndarray[Any, Any]
conversion = importlib.import_module("lowbit.convert")


class Mismatch(AssertionError):
    """Two sides that must be equal bit for bit are not."""


def equal(got: Array, expected: Array, what: str) -> None:
    """Raise `Mismatch` unless shape, type and every number agree (0.0 equals -0.0)."""
    if got.shape != expected.shape:
        raise Mismatch(f"{what}: shape {got.shape}, expected {expected.shape}")
    if not np.array_equal(got, expected):
        wrong = np.argwhere(got != expected)
        where = tuple(wrong[0])
        raise Mismatch(f"{what}: {len(wrong)} of {got.size} differ, first at {where}: {got[where]} {expected[where]}")


@dataclass
class Converted:
    """A model's program in three stages: as emitted, with quantizers hoisted, and finished."""

    emitted: Program
    hoisted: Program
    program: Program


def stages(model: nn.Module, x: Tensor, allow_inexact: bool = False) -> Converted:
    """Convert, and also keep the program before its rewrites."""
    program = convert(model, x, allow_inexact)
    finish = conversion.simplify
    conversion.simplify = lambda p: p
    try:
        emitted = convert(model, x, allow_inexact)
    finally:
        conversion.simplify = finish
    return Converted(emitted, replace(emitted, ops=tuple(_sort(hoist(emitted.ops)))), program)


class _Recorder(fx.Interpreter):
    """Keeps a copy of every node's tensor: a copy, since an in-place ReLU may follow."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.values[n.name] = result.clone()
        return result


@torch.no_grad()
def model_values(model: nn.Module, x: Tensor, emitted: Program, hoisted: Program) -> dict[str, Array]:
    """What each value of the emitted and hoisted programs must be, from the eval model alone."""
    graph, _, reason = trace(model)
    assert graph is not None, reason
    before_output: dict[str, Tensor] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    nodes = {n.name: n for n in graph.nodes}
    recorder = _Recorder(fx.GraphModule(model, graph))
    handles = []
    for name, module in modules.items():
        if isinstance(module, WeightLayer) and module.output_quantizer is not None:
            keep = _keeper(before_output, name)
            handles.append(module.output_quantizer.register_forward_pre_hook(keep))
    recorder.run(x.clone())
    settle(graph, modules)
    for handle in handles:
        handle.remove()
    tensors = dict(recorder.values)
    for name, node in nodes.items():
        path = str(node.target)
        if node.op == "call_module" and path in before_output:
            tensors[f"{name}.output"], tensors[name] = tensors[name], before_output[path]
    tensors["input"] = x
    expected: dict[str, Tensor] = {"input": x}
    quantizers: dict[str, Quantizer] = {}
    for op in (*emitted.ops, *hoisted.ops):
        if op.output in expected:
            continue
        module = modules.get(op.name)
        if op.kind in ("quantize", "threshold"):  # thresholds of methods without an arithmetic encoding
            quantizers[op.output] = _quantizer(module, op.inputs[0], op.name, nodes)
            expected[op.output] = quantizers[op.output].encode(tensors[op.inputs[0]])
        elif op.kind in ("conv", "linear"):
            node = nodes[op.output.removesuffix(".acc")]
            assert isinstance(module, WeightLayer)
            expected[op.output] = _accumulators(module, recorder.values[str(node.args[0])])
        elif op.output in tensors:
            expected[op.output] = tensors[op.output]
        elif op.kind == "magnitude":
            node = nodes[op.output.removesuffix(".k")]
            expected[op.output] = module.input_quantizer.gain(recorder.values[str(node.args[0])], module)  # type: ignore[union-attr]
        elif op.output.endswith(".scaled") or ".gain." in op.output:
            continue  # inside the layer; what it writes in the end is compared
        elif moved := [o for o in emitted.ops if o.attrs is op.attrs and o not in hoisted.ops]:
            expected[op.output] = _base(op.output, quantizers).encode(tensors[moved[0].output])
        elif op.kind == "concat":  # codes joined by a quantized Concat
            expected[op.output] = torch.cat([expected[name] for name in op.inputs], 1)
        elif op.kind == "dequantize" and op.output.endswith(".input"):
            node = nodes[op.output.removesuffix(".input")]
            assert isinstance(module, WeightLayer) and module.input_quantizer is not None
            expected[op.output] = module.input_quantizer(recorder.values[str(node.args[0])])
        else:
            raise Mismatch(f"{op.kind} {op.output}: the model has no such tensor")
    return {name: t.detach().numpy() for name, t in expected.items()}


def _keeper(store: dict[str, Tensor], name: str) -> Any:
    def keep(_: nn.Module, args: tuple[Any, ...]) -> None:
        store[name] = args[0].clone()

    return keep


def _quantizer(module: nn.Module | None, value: str, name: str, nodes: dict[str, fx.Node]) -> Quantizer:
    """The quantizer of a module that encodes this value: of its output where the value is what it writes."""
    if isinstance(module, Quantizer):
        return module
    node = nodes.get(value)
    writes = node is not None and node.op == "call_module" and str(node.target) == name
    quantizer = module.output_quantizer if writes else module.input_quantizer  # type: ignore[union-attr]
    assert isinstance(quantizer, Quantizer)
    return quantizer


def _base(name: str, quantizers: dict[str, Quantizer]) -> Quantizer:
    """The quantizer of codes that were hoisted: their name is its output's with a number for each move."""
    while name not in quantizers:
        name = name.rpartition(".")[0]
    return quantizers[name]


def _accumulators(layer: WeightLayer, x: Tensor) -> Tensor:
    """Integer accumulators in float64: [terms, batch, ...]."""
    wq, xq = layer.weight_quantizer, layer.input_quantizer
    assert wq is not None and xq is not None
    ux, uw = xq.units(x).double(), wq.units(layer.weight).double()
    if wq.offset(layer.weight) is not None:
        uw = torch.cat([uw, torch.ones_like(uw[:1])])
    return torch.stack([layer.multiply(xi, wi, None) for wi in uw for xi in ux]).long()


def engines(program: Program) -> list[Any]:
    """The native engine on every instruction set of this processor, one and two threads."""
    from lowbit.runtime.engine import Engine, available

    return [Engine(program, threads=1 + i % 2, isa=isa) for i, isa in enumerate(available())]


@torch.no_grad()
def compare(model: nn.Module, made: Converted, x: Tensor, native: list[Any] | None = None) -> None:
    """Model == reference == engines on x, value by value.

    Raises:
        Mismatch: naming the first value that differs.
    """
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        expected = model_values(model, x, made.emitted, made.hoisted)
        whole = model(x.clone()).numpy()
    finally:
        for module, mode in modes.items():
            module.training = mode
    plain = x.contiguous().numpy()
    for program in (made.emitted, made.program):
        output, values = reference.run(program, plain, trace=True)
        for op in (op for op in program.ops if op.output in expected):
            equal(values[op.output], expected[op.output], f"{op.kind} {op.output} ({op.name})")
        equal(output, whole, "output")
    for engine in engines(made.program) if native is None else native:
        _, traced = engine.trace(plain)
        assert traced.keys() == values.keys()
        for name, value in values.items():
            equal(traced[name], value, f"{engine.isa}: {name}")
        equal(engine.run(plain), output, f"{engine.isa}: fused run")
    assert infer(made.program)[made.program.output].kind == "float"


@torch.no_grad()
def on_ties(model: nn.Module, made: Converted, x: Tensor) -> Tensor:
    """An input that sits on the ties of the first quantizer, and one float beside them."""
    first = next((op for op in made.hoisted.ops if op.kind == "quantize" and op.inputs == ("input",)), None)
    scale = None if first is None else getattr(first.grid, "scale", None)
    if scale is None:
        return torch.zeros_like(x)
    halves = torch.arange(x.numel()).reshape(x.shape) % 261 - 130.5
    ties = halves * torch.from_numpy(scale)
    beside = [torch.nextafter(ties, torch.tensor(float(side))) for side in ("inf", "-inf")]
    return torch.where(torch.arange(x.shape[-1]) % 3 == 0, ties, beside[0] if x.shape[-1] % 2 else beside[1])
