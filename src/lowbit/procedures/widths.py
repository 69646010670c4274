"""Other widths for the quantizers of a network that is being trained.

A quantizer has its bits for life, so a new one takes its place. Parameters and buffers stay the objects that they are:
the optimizer, and DistributedDataParallel, know them by identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from lowbit.errors import InvalidInput
from lowbit.procedures.base import Run
from lowbit.quantizers.base import Quantizer, without_identity


def set_widths(model: nn.Module, widths: Mapping[Quantizer, int]) -> dict[Quantizer, Quantizer]:
    """Put quantizers of other widths in the places of the given ones, with the same state.

    Args:
        model: prepared.
        widths: bits for quantizers that were built from a `Spec`, as `lowbit.prepare` does.

    Returns:
        New quantizers by old ones, where the width changes.

    Example:
        >>> import lowbit
        >>> net = lowbit.prepare(nn.Sequential(nn.Linear(4, 4)), weight="lsq:2", first="same", last="same")
        >>> _ = set_widths(net, {net[0].weight_quantizer: 4})
        >>> net[0].weight_quantizer.bits
        4
    """
    made = {q: _rebuilt(q, bits) for q, bits in widths.items() if q.bits != bits}
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, module in modules.items():
        if module in made:
            parent, _, leaf = path.rpartition(".")
            setattr(modules[parent], leaf, made[module])
    return made


def _rebuilt(old: Quantizer, bits: int) -> Quantizer:
    if old.spec is None:
        raise InvalidInput(
            f"{old.where}: {old.card.name} was not built from a specification, so its bits cannot change"
        )
    new: Quantizer = replace(old.spec, bits=bits).build(old.role, old.signed)
    like = next(iter([*old.parameters(), *old.buffers()]), torch.empty(0))
    new.to(like.device)
    new.load_state_dict(without_identity(old.state_dict()))
    for name, module in new.named_modules():
        before = old.get_submodule(name)
        for own, kept in ((module._parameters, before._parameters), (module._buffers, before._buffers)):
            own.update({key: tensor for key, tensor in kept.items() if key in own})
    new.where, new.enabled, new.relaxed = old.where, old.enabled, old.relaxed
    new.replaces_relu = old.replaces_relu
    return new.train(old.training)


def inputs(run: Run, count: int, name: str) -> Iterator[Tensor]:
    """Inputs of the first training batches that hold `count` together, or of all, on the model's device.

    Raises:
        InvalidInput: the run has no batches; `name` is who asks.
    """
    if run.batches is None:
        raise InvalidInput(f"{name}: measures on training inputs; make the run with Run(batches=...)")
    device = next(run.model.parameters()).device
    seen = 0
    for x, _ in run.batches:
        yield x.to(device)
        seen += len(x)
        if seen >= count:
            return
