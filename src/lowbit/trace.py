"""One look at a model through torch.fx, and the questions that `prepare` and `convert` ask about it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from lowbit.layers import AdaptiveAvgPool2d, Add, AvgPool2d, Concat, Mean
from lowbit.quantizers.base import Quantizer

ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add, "add", "add_")
CONCATENATIONS: tuple[Any, ...] = (torch.cat, torch.concat, torch.concatenate)
FLATTENINGS: tuple[Any, ...] = (torch.flatten, "flatten", "view", "reshape", torch.reshape)
MEANS: tuple[Any, ...] = (torch.mean, "mean")
RELUS: tuple[Any, ...] = (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_", nn.ReLU)
_NONNEGATIVE: tuple[Any, ...] = (
    *RELUS, F.relu6, nn.ReLU6, torch.sigmoid, F.sigmoid, "sigmoid", nn.Sigmoid, F.hardsigmoid, nn.Hardsigmoid,
    nn.Softmax, F.softmax,
)  # fmt: skip
_TRANSPARENT: tuple[Any, ...] = (nn.Identity, nn.Dropout, nn.Dropout2d, F.dropout, F.dropout2d, "contiguous")
_KEEPS_SIGN: tuple[Any, ...] = (
    *_TRANSPARENT, *FLATTENINGS, *MEANS, nn.Flatten, nn.MaxPool2d, F.max_pool2d, nn.AvgPool2d, F.avg_pool2d,
    nn.AdaptiveAvgPool2d, F.adaptive_avg_pool2d, Mean, AvgPool2d, AdaptiveAvgPool2d,
)  # fmt: skip


class Tracer(fx.Tracer):
    """fx tracer whose leaves are torch's and lowbit's layers; it also notes how every container was called."""

    def __init__(self, children_are_leaves: bool = False) -> None:
        super().__init__()
        self.children_are_leaves = children_are_leaves
        self.calls: dict[nn.Module, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Leaves of the graph."""
        ours = isinstance(m, Quantizer) or type(m).__module__.startswith("lowbit.layers")
        return self.children_are_leaves or ours or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Record the call, then trace it."""
        self.calls.setdefault(m, []).append((args, kwargs))
        return super().call_module(m, forward, args, kwargs)

    def path_of_module(self, mod: nn.Module) -> str:
        """Path from the user's model on."""
        path = super().path_of_module(mod)
        return path.removeprefix("model.") if path != "model" else ""


class _Shell(nn.Module):
    """Calls the model with one input, so that forwards set on instances and default arguments are honoured."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x)


def trace(model: nn.Module) -> tuple[fx.Graph | None, Tracer, str]:
    """Trace a model of one input.

    Returns:
        The graph with module paths relative to `model`, the tracer, and "" - or None and the reason why not.
    """
    tracer = Tracer()
    try:
        graph = tracer.trace(_Shell(model))
        for node in graph.nodes:
            _tensor_first(node)
        return graph, tracer, ""
    except Exception as error:  # noqa: BLE001  whatever user code raises when it meets a proxy
        first = str(error).strip().splitlines()
        return None, tracer, f"{type(error).__name__}: {first[0] if first else 'no message'}"


def _tensor_first(node: fx.Node) -> None:
    """Let F.relu(input=x) look like F.relu(x)."""
    name = next((k for k in ("input", "tensors") if k in node.kwargs), None)
    if name is not None and not node.args and node.op in ("call_function", "call_module"):
        node.args = (node.kwargs[name],)
        node.kwargs = {k: v for k, v in node.kwargs.items() if k != name}


def kind_of(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    """What a node does: the module's class, the function, or the method's name."""
    return type(modules[str(node.target)]) if node.op == "call_module" else node.target


def is_any(node: fx.Node, modules: dict[str, nn.Module], kinds: Iterable[Any]) -> bool:
    """Whether a node is one of these classes (or a subclass), functions or methods."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return False
    kind = kind_of(node, modules)
    if isinstance(kind, type):
        return any(isinstance(k, type) and issubclass(kind, k) for k in kinds)
    return any(kind is k or (isinstance(k, str) and kind == k) for k in kinds)


_IN_PLACE: tuple[Any, ...] = (operator.iadd, F.relu_, torch.relu_, "add_", "relu_")
_MAYBE_IN_PLACE: tuple[Any, ...] = (F.relu, F.relu6, F.hardtanh, F.hardswish, F.leaky_relu)
_RESHAPES: tuple[Any, ...] = (*FLATTENINGS, nn.Flatten)


def writes_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node changes the tensor that it reads, as ReLU(inplace=True) and `+=` do."""
    if node.op == "call_module":
        module = modules[str(node.target)]
        return getattr(module, "inplace", False) is True and not is_any(node, modules, _TRANSPARENT)
    asked = any(a is True for a in (*node.args, node.kwargs.get("inplace")))
    return is_any(node, modules, _IN_PLACE) or (asked and is_any(node, modules, _MAYBE_IN_PLACE))


def settle(graph: fx.Graph, modules: dict[str, nn.Module]) -> dict[fx.Node, str]:
    """Let every reader of a tensor that was changed in place read the changed one, as the eager model does.

    Returns:
        Nodes for which that is not possible, since they read a reshaped view of it, with the reason.
    """
    memory: dict[fx.Node, fx.Node] = {}  # node -> the node whose memory it shares
    layout: dict[fx.Node, fx.Node] = {}  # node -> the first node of the same memory and shape
    changed: dict[fx.Node, fx.Node] = {}  # memory -> the node that changed it last
    order: dict[fx.Node, int] = {}
    stale: dict[fx.Node, str] = {}
    for node in graph.nodes:
        for read in node.all_input_nodes:
            last = changed.get(memory[read])
            if last is None or order[read] >= order[last]:
                continue
            if layout[read] is layout[last]:
                node.replace_input_with(read, last)
            else:
                stale[node] = f"reads a view of what {last.name} changes in place; use inplace=False there"
        order[node] = len(order)
        first = node.all_input_nodes[0] if node.all_input_nodes else None
        changes = first is not None and writes_in_place(node, modules)
        if first is not None and (changes or is_any(node, modules, (*_TRANSPARENT, *_RESHAPES))):
            memory[node] = memory[first]
            layout[node] = node if is_any(node, modules, _RESHAPES) else layout[first]
        else:
            memory[node] = layout[node] = node
        if changes:
            changed[memory[node]] = node
    return stale


def source(node: Any, modules: dict[str, nn.Module]) -> Any:
    """The node whose values arrive here, looking through dropout and identity."""
    while isinstance(node, fx.Node) and is_any(node, modules, _TRANSPARENT):
        node = node.args[0]
    return node


def nonnegative(node: Any, modules: dict[str, nn.Module]) -> bool:
    """Whether a tensor provably has no negative value."""
    if not isinstance(node, fx.Node):
        return isinstance(node, (int, float)) and node >= 0
    if is_any(node, modules, _NONNEGATIVE):
        return True
    if is_any(node, modules, (nn.Hardtanh,)):
        return bool(modules[str(node.target)].min_val >= 0)  # type: ignore[operator]
    if is_any(node, modules, (*ADDITIONS, *CONCATENATIONS, Add, Concat)):
        joined = node.args[0] if is_any(node, modules, CONCATENATIONS) else node.args
        return isinstance(joined, (list, tuple)) and all(nonnegative(a, modules) for a in joined)
    return is_any(node, modules, _KEEPS_SIGN) and nonnegative(node.args[0], modules)
