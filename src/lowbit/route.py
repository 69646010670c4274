"""Functional `+`, `torch.cat`, average pooling and `mean` become quantized layers, inside the user's own forward.

For each container whose forward holds such sites, that forward alone is traced (children are leaves), the sites
are replaced by calls of new submodules `lowbit_<site>`, and the regenerated function is set as the *instance's*
forward. The class, the other attributes, the submodules and the state_dict keys stay; deepcopy and pickle work.
"""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from lowbit.layers import AdaptiveAvgPool2d, Add, AvgPool2d, Concat, Mean
from lowbit.trace import ADDITIONS, CONCATENATIONS, MEANS, Tracer


class RoutedForward:
    """The regenerated forward of one module instance.

    Args:
        owner: the module.
        source: Python source of a function `forward(self, ...)`.
        names: its globals.
    """

    def __init__(self, owner: nn.Module, source: str, names: dict[str, Any]) -> None:
        self.owner, self.source, self.names = owner, source, names
        self._build()

    def _build(self) -> None:
        namespace = dict(self.names)
        exec(compile(self.source, f"<lowbit forward of {type(self.owner).__name__}>", "exec"), namespace)
        self.function = namespace["forward"]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it on the owner."""
        return self.function(self.owner, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        names = {k: ("module", v.__name__) if isinstance(v, types.ModuleType) else ("object", v)
                 for k, v in self.names.items() if not k.startswith("__")}  # fmt: skip
        return {"owner": self.owner, "source": self.source, "names": names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.owner, self.source = state["owner"], state["source"]
        self.names = {k: importlib.import_module(v) if kind == "module" else v
                      for k, (kind, v) in state["names"].items()}  # fmt: skip
        self._build()


def _arguments(node: fx.Node, names: str) -> dict[str, Any]:
    """Arguments of a functional call by name, positional ones first."""
    return dict(zip(names.split(), node.args, strict=False)) | dict(node.kwargs)


def _plain(values: Any) -> bool:
    """Whether an argument holds no traced value."""
    return not any(isinstance(v, fx.Node) for v in (values if isinstance(values, (list, tuple)) else [values]))


def site(node: fx.Node) -> tuple[nn.Module, tuple[fx.Node, ...]] | None:
    """The layer for a functional site and its tensor inputs, or None where the node is none (or not one we know)."""
    if node.op not in ("call_function", "call_method"):
        return None
    if node.target in ADDITIONS:
        operands = node.args
        if len(operands) == 2 and not node.kwargs and all(isinstance(o, fx.Node) for o in operands):
            return Add(), operands  # type: ignore[return-value]
    elif node.target in CONCATENATIONS:
        a = _arguments(node, "tensors dim")
        if a.get("dim", 0) == 1 and isinstance(a["tensors"], (list, tuple)):
            return Concat(), tuple(a["tensors"])
    elif node.target in MEANS:
        a = _arguments(node, "input dim keepdim")
        axes = a.get("dim")
        if isinstance(axes, (list, tuple)) and sorted(d % 4 for d in axes if isinstance(d, int)) == [2, 3]:
            return Mean(keep=bool(a.get("keepdim", False))), (a["input"],)
    elif node.target is F.adaptive_avg_pool2d:
        a = _arguments(node, "input output_size")
        if a.get("output_size") in (1, (1, 1), [1, 1]):
            return Mean(keep=True), (a["input"],)
        if _plain(a.get("output_size")):
            return AdaptiveAvgPool2d(a["output_size"]), (a["input"],)
    elif node.target is F.avg_pool2d:
        a = _arguments(node, "input kernel_size stride padding ceil_mode count_include_pad divisor_override")
        x = a.pop("input")
        if all(_plain(v) for v in a.values()):
            return AvgPool2d(**a), (x,)
    return None


def _concrete(module: nn.Module, calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> dict[str, Any] | None:
    """Arguments that are no tensors, equal in all calls; None if the calls differ or pass tensors in containers."""
    signature = inspect.signature(type(module).forward)
    found: list[dict[str, Any]] = []
    for args, kwargs in calls:
        bound = signature.bind(module, *args, **kwargs)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])
        plain = {k: v for k, v in values.items() if not isinstance(v, fx.Proxy)}
        if any(isinstance(v, (list, tuple, dict)) and v for v in plain.values()):
            return None
        found.append(plain)
    return found[0] if found and all(f == found[0] for f in found) else None


def route(module: nn.Module, calls: list[tuple[tuple[Any, ...], dict[str, Any]]]) -> dict[str, nn.Module]:
    """Give one container a routed forward if it holds functional sites.

    Args:
        module: the container; children are not entered.
        calls: how the traced model calls it.

    Returns:
        The new layers by attribute name (empty where nothing had to be routed).
    """
    if isinstance(module, (nn.Sequential, nn.ModuleList)) or "forward" in module.__dict__:
        return {}
    concrete = _concrete(module, calls)
    if concrete is None:
        return {}
    try:
        graph = Tracer(children_are_leaves=True).trace(module, concrete_args=concrete)
    except Exception:  # noqa: BLE001  the whole model was traceable, this call pattern alone is not: leave it as it is
        return {}
    layers: dict[str, nn.Module] = {}
    for node in list(graph.nodes):
        if node.op == "call_function" and getattr(node.target, "__name__", "") in ("_assert", "_assert_is_none"):
            tested = node.all_input_nodes
            graph.erase_node(node)
            for unused in tested:
                if not unused.users and unused.op == "call_function":
                    graph.erase_node(unused)
            continue
        found = site(node)
        if found is None:
            continue
        layer, inputs = found
        name = f"lowbit_{node.name}"
        with graph.inserting_before(node):
            replacement = graph.call_module(name, inputs)
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)
        layers[name] = layer
    if layers:
        for name, layer in layers.items():
            module.add_module(name, layer.train(module.training))
        code = graph.python_code("self")
        module.forward = RoutedForward(module, code.src, dict(code.globals))
    return layers
