"""All or nothing: modules are put back as they were where what changes them fails."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def undone_on_error(modules: Iterable[nn.Module], numbers: bool = False) -> Iterator[None]:
    """Put back the attributes, submodules, hooks and tensors of modules if the block raises, then raise on.

    Args:
        modules: each stands for itself, not for its submodules.
        numbers: also put back what is in their parameters and buffers, of which a copy is kept meanwhile.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> try:
        ...     with undone_on_error([layer]):
        ...         layer.bias = None
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt:
        ...     print(layer.bias is None)
        False
    """
    held = list(modules)
    # registries (parameters, buffers, submodules, hooks) are dictionaries that change in place
    attributes = [{k: copy.copy(v) if isinstance(v, dict) else v for k, v in vars(m).items()} for m in held]
    tensors = [
        (tensor, tensor.detach().clone())
        for module in (held if numbers else ())
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    ]
    try:
        yield
    except BaseException:
        for module, before in zip(held, attributes, strict=True):
            vars(module).clear()
            vars(module).update(before)
        for tensor, number in tensors:
            tensor.data = number
        raise
