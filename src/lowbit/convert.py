"""`lowbit.convert`: a trained model becomes a torch-free integer program, without changing one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from lowbit.emit import Emitter, Unsupported
from lowbit.errors import ConversionError, InvalidInput, LowbitError
from lowbit.pixels import Pixels, checked_pixels, from_bytes
from lowbit.program import Program
from lowbit.rewrite import simplify
from lowbit.runtime import reference
from lowbit.trace import settle, trace

_QUERIES = ("size", "dim", "numel")


@torch.no_grad()
def convert(model: nn.Module, example: Tensor, allow_inexact: bool = False, *, pixels: Pixels | None = None) -> Program:
    """Convert a prepared, calibrated (and normally trained) model.

    The program is checked before it is returned: the reference interpreter must reproduce the eval model's output on
    `example` bit for bit.

    Args:
        model: from `lowbit.prepare`; left as it is, also its mode.
        example: float32 [batch, features] or [batch, channels, height, width]; fixes the input shape. With `pixels`,
            uint8 of the same shapes.
        allow_inexact: accept layers with a float operand; the program's summary then says that they are not exact.
        pixels: the program takes uint8 images; these are the floats that the model was trained on. Its answers equal
            `model.eval()(pixels(image))` bit for bit.

    Returns:
        A `Program`; `program.save("net.lowbit")` writes it.

    Raises:
        ConversionError: listing every module without an integer form, why, and what would work.
        InvalidInput: for an example of a wrong shape or dtype, or with NaN.

    Example:
        >>> import lowbit, torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> x = torch.randn(16, 4)
        >>> program = lowbit.convert(lowbit.prepare(net, example=x), x)
        >>> bool((torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy())) == net.eval()(x)).all())
        True
    """
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"convert got {model!r}, allowed is a model from lowbit.prepare")
    bytes_, to_floats = example, checked_pixels(pixels, example)
    example = to_floats(example)
    if (
        not isinstance(example, Tensor)
        or example.is_meta
        or example.dtype != torch.float32
        or example.ndim not in (2, 4)
        or not len(example)
    ):
        given = type(example).__name__
        if isinstance(example, Tensor):
            given = f"{example.dtype} {list(example.shape)}" + (" without numbers (meta)" if example.is_meta else "")
        raise InvalidInput(
            f"the example is {given}, allowed is a float32 tensor [batch, features] or [batch, channels, height, width]"
        )
    if not torch.isfinite(example).all():
        raise InvalidInput("the example holds NaN or infinity; give a batch of real data")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        try:
            program = _program(model, tuple(example.shape[1:]), allow_inexact)
        except ConversionError as error:
            fault = _example_fault(model, example)
            if fault:
                raise ConversionError(f"{error}{fault}") from error
            raise
        program = program if pixels is None else from_bytes(program, pixels)
        _check(program, model, bytes_, to_floats)
    finally:
        for module, mode in modes.items():
            module.training = mode
    return program


def _example_fault(model: nn.Module, example: Tensor) -> str:
    """Why the model itself cannot take the example, or "": a wrong example looks like layers without integer form."""
    like = next(model.parameters(), example)
    try:
        model(example[:1].to(like))
    except (LowbitError, torch.OutOfMemoryError):
        return ""
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"\nThe model itself cannot take the example, float32 {list(example.shape)}: {reason}"
    return ""


def _program(model: nn.Module, shape: tuple[int, ...], allow_inexact: bool) -> Program:
    graph, _, reason = trace(model)
    if graph is None:
        raise ConversionError(
            f"convert cannot follow the model's forward ({reason}); torch.fx needs a forward of one input "
            "without branches on data"
        )
    modules = dict(model.named_modules(remove_duplicate=False))
    stale = settle(graph, modules)
    emitter = Emitter(modules, shape, allow_inexact)
    problems, output = [], None
    for node in graph.nodes:
        if node.op == "placeholder":
            emitter.names[node] = "input"
        elif node.op == "output":
            output = node.args[0]
        elif not _only_queried(node):
            try:
                if node in stale:
                    raise Unsupported(stale[node])
                emitter.add(node)
            except Unsupported as fault:
                emitter.failed.add(node)
                if str(fault):
                    name = str(node.target) if node.op in ("call_module", "get_attr") else node.name
                    problems.append(f"{name}: {fault}")
    if problems:
        listed = "\n".join(f"  - {p}" for p in problems)
        raise ConversionError(f"convert cannot express {len(problems)} part(s) of the model as integers:\n{listed}")
    if not isinstance(output, fx.Node):
        raise ConversionError(f"the model returns {type(output).__name__}; programs have one tensor as output")
    source = {"model": type(model).__name__, "torch": torch.__version__}
    program = Program(ops=tuple(emitter.ops), input_shape=shape, output=emitter.names[output], source=source)
    return simplify(_without_unread(program))


def _only_queried(node: fx.Node) -> bool:
    """Whether a node merely asks for a shape, as in x.view(x.size(0), -1) or x.shape[0]; a slice x[:, 0] does not."""
    if node.op not in ("call_method", "call_function"):
        return False
    if node.target in _QUERIES or (node.target is getattr and node.args[1] in ("shape", "ndim")):
        return True
    return bool(node.all_input_nodes) and all(_only_queried(n) for n in node.all_input_nodes)


def _without_unread(program: Program) -> Program:
    """Drop operations whose output nobody reads."""
    needed, kept = {program.output}, []
    for op in reversed(program.ops):
        if op.output in needed:
            kept.append(op)
            needed.update(op.inputs)
    return replace(program, ops=tuple(reversed(kept)))


def _check(program: Program, model: nn.Module, example: Tensor, to_floats: Callable[[Tensor], Tensor]) -> None:
    """Compare the program with the model it came from, bit for bit, on the first rows of the example."""
    device = next((p.device for p in model.parameters()), example.device)
    x = example[:4]
    expected = model(to_floats(x).to(device)).cpu().numpy()
    got = reference.run(program, x.cpu().numpy())
    if program.exact and not np.array_equal(expected, got):
        share = float((expected != got).mean())
        raise ConversionError(
            f"the converted program disagrees with the model on {share:.1%} of the outputs for the example; this is a "
            "bug in lowbit or a module whose eval is not reproducible; please report the model"
        )
