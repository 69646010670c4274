"""`lowbit.calibrate`: scales from data, explicitly, before the first forward pass."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput, LowbitError
from lowbit.layers import WeightLayer
from lowbit.quantizers.base import Quantizer
from lowbit.undo import undone_on_error


def quantizer_paths(model: nn.Module) -> dict[Quantizer, str]:
    """Every quantizer with the path of the first module that owns it."""
    found: dict[Quantizer, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, Quantizer):
            continue  # the parts of a mixture belong to it
        for child in module.children():
            if isinstance(child, Quantizer):
                found.setdefault(child, name)
    return found


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Any], *, only: Container[Quantizer] | None = None) -> nn.Module:
    """Measure weights and activations and set the scales: all of them, or, after an error, none.

    Weights first, then all batches run through the model with quantized weights and float activations; estimates are
    averaged over batches (and processes). BatchNorm layers that never saw data use batch statistics meanwhile;
    all running statistics, modes and Parameters are left as they were.

    Args:
        model: a prepared model.
        batches: yields inputs, or tuples whose first item is the input; on the model's device.
        only: the quantizers to measure, None for all; activations that are not measured are quantized as they are.

    Returns:
        The model itself.

    Raises:
        InvalidInput: for a model that is not prepared, no batches, batches that the model cannot take, or NaN, infinity
            or an empty tensor in a layer's input, naming the layer.

    Example:
        >>> import lowbit, torch
        >>> net = lowbit.prepare(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)))
        >>> lowbit.calibrate(net, [torch.randn(16, 4)])(torch.randn(3, 4)).shape
        torch.Size([3, 2])
    """
    paths = quantizer_paths(model)
    _check(model, batches, bool(paths))
    with undone_on_error((part for q in paths for part in q.modules()), numbers=True):
        _calibrate(model, batches, only, paths)
    return model


def _check(model: nn.Module, batches: Any, prepared: bool) -> None:
    if not prepared and not any(isinstance(m, WeightLayer) for m in model.modules()):
        raise InvalidInput("calibrate got a model without quantizers; call lowbit.prepare(model) first")
    if isinstance(batches, Tensor) or not isinstance(batches, Iterable):
        kind = "one tensor" if isinstance(batches, Tensor) else repr(batches)
        raise InvalidInput(f"calibrate got {kind}, allowed is a list or another source of batches, such as [x]")


def _calibrate(
    model: nn.Module, batches: Iterable[Any], only: Container[Quantizer] | None, paths: Mapping[Quantizer, str]
) -> None:
    for q, name in paths.items():
        if q.role == "weight" and (only is None or q in only):
            owner = model.get_submodule(name)
            _measure(q, owner.weight, name, "weight")  # type: ignore[arg-type]
    measured = [q for q in paths if q.role != "weight" and (only is None or q in only)]
    modes = {m: m.training for m in model.modules()}
    fresh = [m for m in model.modules() if _untrained(m)]
    kept = {m: {k: v.clone() for k, v in m.named_buffers(recurse=False)} for m in fresh}
    handles: list[Any] = []
    model.eval()
    for norm in fresh:
        norm.train()
    for q in measured:
        q.enabled, q._batches = False, 0
        handles.append(q.register_forward_pre_hook(_watch(paths[q]), with_kwargs=False))
    for module in model.modules():
        if isinstance(module, WeightLayer):
            handles.append(module.register_forward_hook(_note_shape))
    try:
        count = 0
        for batch in batches:
            _forward(model, batch[0] if isinstance(batch, (tuple, list)) and batch else batch)
            count += 1
        if count == 0:
            raise InvalidInput("calibrate got no batches; give it at least one batch of inputs")
    finally:
        for handle in handles:
            handle.remove()
        for q in measured:
            q.enabled = True
        for norm in fresh:
            for key, value in kept[norm].items():
                getattr(norm, key).copy_(value)
        for module, mode in modes.items():
            module.training = mode


def _forward(model: nn.Module, x: Any) -> None:
    if not isinstance(x, Tensor):
        empty = "empty " if isinstance(x, (tuple, list)) and not x else ""
        raise InvalidInput(
            f"calibrate got a batch of {empty}{type(x).__name__}; batches are input tensors, or (input, target)"
        )
    try:
        model(x)
    except (LowbitError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InvalidInput(
            f"the model cannot take a batch of {x.dtype} {list(x.shape)} on {x.device}: {reason}"
        ) from error


def _untrained(module: nn.Module) -> bool:
    seen = getattr(module, "num_batches_tracked", None)
    return (
        isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d))
        and isinstance(seen, Tensor)
        and int(seen) == 0
    )


def _measure(q: Quantizer, x: Tensor, name: str, what: str) -> None:
    try:
        q.calibrate(x.detach())
    except ValueError as error:
        raise InvalidInput(f"{name}: the {what} {error}") from error


def _watch(name: str) -> Any:
    def hook(q: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(q, Quantizer)
        _measure(q, args[0], name, "input" if q.role == "activation" else q.role)

    return hook


def _note_shape(layer: nn.Module, args: tuple[Any, ...], y: Tensor) -> None:
    layer.lowbit_output_shape = tuple(y.shape[1:])  # type: ignore[assignment]
