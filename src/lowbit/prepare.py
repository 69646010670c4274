"""`lowbit.prepare`: quantizers into a float model, in place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from lowbit.errors import InvalidInput
from lowbit.layers import (
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Concat,
    Mean,
    QuantConv2d,
    QuantLinear,
    WeightLayer,
    batchnorm,
)
from lowbit.quantizers.base import Quantizer
from lowbit.quantizers.catalog import METHODS, Spec
from lowbit.route import route
from lowbit.rules import Choice, Method, choose, spec
from lowbit.trace import is_any, nonnegative, source, trace
from lowbit.undo import undone_on_error


def prepare(
    model: nn.Module,
    weight: Method = "lsq:2",
    activation: Method = "lsq:2",
    output: Method = None,
    gradient: Method = None,
    add: Method = None,
    first: Method = "affine:8",
    last: Method = "affine:8",
    rules: Sequence[Mapping[str, Any]] | None = None,
    example: Tensor | None = None,
) -> nn.Module:
    """Swap the model's layers for quantized ones that share its Parameters, in place.

    Conv2d, Linear, BatchNorm and average pooling become thin layers of `lowbit.layers` at the same paths, so a float
    checkpoint loads with only quantizer keys missing. Readers of one tensor share one activation quantizer. Weights are
    calibrated at once; activations by `lowbit.calibrate`. A model that torch.fx cannot trace is prepared module by
    module; `lowbit.summary` then says so.

    Args:
        model: any nn.Module; a container, since its layers are replaced.
        weight, activation, output, gradient: methods such as ``"lsq:2"``, ``"lsq:2@channel"`` or a mapping with
            options; None leaves floats. `output` quantizes W x + b before the activation function, `gradient` the
            gradient that arrives there (``"dorefa:4"``, ``"uniform:8"``), in all layers, the first and last too.
        add: method for the inputs of residual additions and concatenations; None keeps them in float32.
        first, last: method for weight and activation of the first and last weight layer, None, or "same".
        rules: ordered mappings ``{"match": "layer1.*", "weight": "lsq:4", ...}``; the first match wins.
        example: one input batch; with it, activations are calibrated on it as well.

    Returns:
        The model itself.

    Raises:
        UnknownName: for an unknown method, option or key, or a rule that matches nothing.
        ValueError: for bits that a method cannot have, a model that is itself one layer, a weight that is not finite,
            or an example that the model cannot take. After any error the model is as it was.

    Example:
        >>> import lowbit
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
        >>> type(lowbit.prepare(net, weight="lsq:2", activation="lsq:2")[0]).__name__
        'QuantConv2d'
    """
    default = {"weight": weight, "activation": activation, "output": output, "gradient": gradient}
    layers = _layers(model)
    graph, tracer, reason = trace(model)
    order = _execution_order(graph, layers)
    choices = choose(order, default, first, last, rules)
    for choice in (*choices.values(), Choice(**{role: spec(method) for role, method in default.items()})):
        _try(choice)
    shared = _additions(spec(add))
    with undone_on_error(model.modules()):
        if graph is not None:
            for module, calls in tracer.calls.items():
                route(module, calls)
        _swap(model)
        if graph is not None:
            graph, _, reason = trace(model)
        _attach(model, graph, choices)
        _share_additions(model, shared)
        if graph is not None:
            _drop_relus(model, graph)
        model.lowbit_trace_error = reason  # type: ignore[assignment]
        if example is not None:
            from lowbit.calibrate import calibrate

            calibrate(model, [example])
    return model


def _layers(model: nn.Module) -> list[str]:
    """Paths of the layers to quantize, or an error where the model cannot be prepared."""
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"prepare got {model!r}, allowed is a model, an nn.Module with Conv2d or Linear in it")
    if any(isinstance(m, (WeightLayer, Quantizer)) for m in model.modules()):
        raise ValueError("this model is prepared already; prepare a fresh copy of the float model")
    modules = {name: m for name, m in model.named_modules() if type(m) in (nn.Conv2d, nn.Linear)}
    if "" in modules or not modules:
        raise ValueError(
            "the model is itself one layer; wrap it in nn.Sequential, then prepare it" if modules
            else "the model has no Conv2d or Linear, so there is nothing to quantize"
        )  # fmt: skip
    for name, module in modules.items():
        if "weight" not in dict(module.named_parameters(recurse=False)):
            raise ValueError(
                f"{name}: its weight is no Parameter but computed, as weight_norm does; make it one again, e.g. by "
                "torch.nn.utils.remove_weight_norm, then prepare the model"
            )
    return list(modules)


def _additions(method: Spec | None) -> Spec | None:
    """The method of additions if it can be one: eval adds units of one term."""
    if method is not None:
        method.build("activation")
        if METHODS[method.method].card.grid == "Planes" and method.bits > 1:
            raise ValueError(
                f"add is {method.method}:{method.bits}, whose values are sums of {method.bits} scales; "
                "additions take methods of one scale, such as 'lsq:8' or 'affine:8'"
            )
    return method


def _execution_order(graph: fx.Graph | None, layers: list[str]) -> list[str]:
    """Layer paths in the order of their first call; of definition where there is no graph. Unused ones come last."""
    called = [] if graph is None else [str(n.target) for n in graph.nodes if n.op == "call_module"]
    used = list(dict.fromkeys(name for name in called if name in layers))
    return used + [name for name in layers if name not in used] if graph is None or used else layers


def _try(choice: Choice) -> None:
    """Build each quantizer once, also those that no layer will have, so that every mistake is reported."""
    for role in ("weight", "activation", "output", "gradient"):
        chosen: Spec | None = getattr(choice, role)
        if chosen is not None:
            chosen.build(role)


def _swap(model: nn.Module) -> None:
    """Replace BatchNorm and average pooling modules by their exact counterparts."""
    made: dict[nn.Module, nn.Module] = {}
    for parent in list(model.modules()):
        for child in parent.children():
            if child not in made:
                if type(child) in (nn.BatchNorm2d, nn.BatchNorm1d):
                    made[child] = batchnorm.replace(child)  # type: ignore[arg-type]
                elif type(child) is nn.AdaptiveAvgPool2d and child.output_size in (1, (1, 1)):
                    made[child] = Mean(keep=True).train(child.training)
                elif type(child) is nn.AdaptiveAvgPool2d:
                    made[child] = AdaptiveAvgPool2d(child.output_size).train(child.training)
                elif type(child) is nn.AvgPool2d:
                    made[child] = AvgPool2d(
                        child.kernel_size, child.stride, child.padding, child.ceil_mode, child.count_include_pad,
                        child.divisor_override,
                    ).train(child.training)  # fmt: skip
    _put(model, made)


def _put(model: nn.Module, made: Mapping[nn.Module, nn.Module]) -> None:
    """Set new modules in the places of old ones: all places, where one module has several names."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for name, module in modules.items():
        if module in made:
            parent, _, leaf = name.rpartition(".")
            setattr(modules[parent], leaf, made[module])


def _attach(model: nn.Module, graph: fx.Graph | None, choices: Mapping[str, Choice]) -> None:
    """Replace the weight layers; one activation quantizer for all readers of one tensor with one method."""
    modules = dict(model.named_modules(remove_duplicate=False))
    feeds: dict[str, list[Any]] = {}  # a layer that is called twice has two
    for node in graph.nodes if graph is not None else ():
        if node.op == "call_module" and str(node.target) in choices and node.args:
            feeds.setdefault(str(node.target), []).append(source(node.args[0], modules))
    shared: dict[tuple[Any, str], Quantizer] = {}
    made: dict[nn.Module, nn.Module] = {}
    for name, choice in choices.items():
        old = modules[name]
        if old not in made:
            feed = feeds.get(name, [])
            weight = None if choice.weight is None else choice.weight.build("weight")
            inputs = None
            if choice.activation is not None:
                key = (tuple(feed) or name, str(choice.activation))
                if key not in shared:
                    signed = False if feed and all(nonnegative(f, modules) for f in feed) else None
                    try:
                        shared[key] = choice.activation.build("activation", signed)
                    except ValueError as error:  # not for these signs
                        raise ValueError(f"{name}: {error}") from error
                inputs = shared[key]
            output = None if choice.output is None else choice.output.build("output")
            replace = QuantConv2d.replace if isinstance(old, nn.Conv2d) else QuantLinear.replace
            gradient = None if choice.gradient is None else choice.gradient.build("gradient")
            made[old] = replace(old, weight, inputs, output, gradient)
            if weight is not None:
                weight.to(old.weight.device)
                _calibrate_weight(name, weight, old.weight)
            for q in (weight, inputs, output, gradient):
                if q is not None and not q.where:
                    q.where = name
            for q in (inputs, output):
                if q is not None:
                    q.to(old.weight.device)
                    if not q.state_dict().keys() - {"_extra_state"}:
                        q.calibrated = True  # nothing to measure
    _put(model, made)


def _calibrate_weight(name: str, quantizer: Quantizer, weight: Tensor) -> None:
    try:
        quantizer.calibrate(weight)
    except ValueError as error:
        raise ValueError(f"{name}: the weight {error}") from error


def _share_additions(model: nn.Module, method: Spec | None) -> None:
    """Give every addition and concatenation a quantizer of its own, shared by its inputs."""
    if method is None:
        return
    device = next((p.device for p in model.parameters()), None)
    for name, module in model.named_modules():
        if isinstance(module, (Add, Concat)) and module.input_quantizer is None:
            module.input_quantizer = method.build("activation").to(device)
            module.input_quantizer.where = name


def _drop_relus(model: nn.Module, graph: fx.Graph) -> None:
    """Remove every ReLU whose only readers (through pools, flattening, dropout) are quantizers that do its work.

    That are unsigned quantizers whose grid and gradient end at 0, where nothing changes, and signs, which would be
    constant behind a ReLU. Warn about signs that stay constant.
    """
    modules = dict(model.named_modules(remove_duplicate=False))

    def readers(node: fx.Node) -> list[fx.Node]:
        found = []
        for user in node.users:
            found += readers(user) if is_any(user, modules, _MONOTONE) else [user]
        return found

    def quantizer(node: fx.Node) -> Quantizer | None:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        return layer.input_quantizer if isinstance(layer, WeightLayer) else None

    def absorbs(node: fx.Node) -> bool:
        q = quantizer(node)
        return q is not None and ((q.folds_relu and q.ste is None) or q.constant_behind_relu)

    calls: dict[str, list[fx.Node]] = {}
    for node in graph.nodes:
        if node.op == "call_module" and is_any(node, modules, (nn.ReLU,)):
            calls.setdefault(str(node.target), []).append(node)
    folded: dict[str, str] = {}
    for name, nodes in calls.items():
        used = [r for n in nodes for r in readers(n)]
        if all(readers(n) for n in nodes) and all(absorbs(r) for r in used):
            _put(model, {modules[name]: nn.Identity()})
            folded[name] = ", ".join(dict.fromkeys(str(r.target) for r in used))
            for reader in used:
                q = quantizer(reader)
                assert q is not None
                q.replaces_relu = q.folds_relu  # signs had none in front of them that mattered
    model.lowbit_folded = folded  # type: ignore[assignment]
    modules = dict(model.named_modules(remove_duplicate=False))
    signs = [n for n in graph.nodes if (q := quantizer(n)) is not None and q.constant_behind_relu]
    constant = [str(n.target) for n in signs if nonnegative(n.args[0], modules)]
    if constant:
        warnings.warn(
            f"{', '.join(constant)}: the input is never negative, so its sign is always +1; take the ReLU away "
            "in front of it, or use another activation method",
            stacklevel=3,
        )


_MONOTONE = (nn.Identity, nn.Dropout, nn.Flatten, nn.MaxPool2d, torch.flatten, "flatten")
