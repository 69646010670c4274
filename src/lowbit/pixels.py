"""Programs that eat the bytes of an image: what happens before the first quantizer becomes one table a channel.

A model is trained on floats that were pixels once, x = (pixel / divisor - mean) / std, and its first layer quantizes
them. There are only 256 pixels, so all of it, further affine maps and activations included, is a table of 256 codes for
each channel, filled by executing the same rounded operations once. Nothing is approximated, and no float enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowbit.errors import ConversionError, InvalidInput
from lowbit.infer import infer
from lowbit.program import Op, Program
from lowbit.runtime import reference

ELEMENTWISE = ("affine", "activation", "quantize", "threshold")


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """How uint8 pixels become the floats that a model was trained on: (pixel / divisor - mean) / std in float32.

    This is what torchvision's ToTensor and Normalize compute. Called on a uint8 tensor it returns those floats, so that
    one object can prepare the data and convert the model.

    Args:
        divisor: 255 makes floats from 0 to 1.
        mean, std: subtracted and divided by after that; one number for all channels, or one a channel.

    Raises:
        InvalidInput: for numbers that are not finite, or a divisor or std that is not positive.

    Example:
        >>> Pixels(mean=(0.5,), std=(0.5,))(torch.tensor([[0, 255]], dtype=torch.uint8))
        tensor([[-1.,  1.]])
    """

    divisor: float = 255.0
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)

    def __post_init__(self) -> None:
        numbers = (self.divisor, *self.mean, *self.std)
        if not all(math.isfinite(n) for n in numbers) or min(self.divisor, *self.std) <= 0:
            raise InvalidInput(f"{self} has a number that is not finite, or a divisor or std that is not positive")

    def __call__(self, x: Tensor) -> Tensor:
        """Floats of pixels.

        Args:
            x: uint8 [batch, channels, ...].

        Returns:
            float32 of the same shape.

        Raises:
            InvalidInput: for another dtype, or a number of channels that mean and std do not have.
        """
        if not isinstance(x, Tensor) or x.dtype != torch.uint8 or x.ndim < 2:
            given = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInput(f"Pixels got {given}, allowed is a uint8 tensor [batch, channels, ...]")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, x.shape[1]):
                raise InvalidInput(f"Pixels has {len(values)} numbers as {name}, the images {x.shape[1]} channels")

        def constant(values: Sequence[float]) -> Tensor:
            # tensors, since division by a number is a multiplication by its reciprocal on some devices
            return torch.tensor(values, dtype=torch.float32, device=x.device).reshape(1, -1, *(1,) * (x.ndim - 2))

        return (x.float() / constant((self.divisor,)) - constant(self.mean)) / constant(self.std)

    def table(self, channels: int) -> NDArray[np.float32]:
        """The float of every pixel: [256, channels]."""
        return self(torch.arange(256, dtype=torch.uint8)[:, None].expand(256, channels)).numpy()


def from_bytes(program: Program, pixels: Pixels) -> Program:
    """The program that takes uint8 pixels, with the answers that `program` gives on `pixels(x)`, bit for bit.

    Args:
        program: that takes floats.
        pixels: what the floats were.

    Raises:
        ConversionError: naming the operations that read the image's floats and are no quantizer.
    """
    types = infer(program)
    shape = program.input_shape
    table = pixels.table(shape[0]).reshape(256, shape[0], *(1,) * (len(shape) - 1))
    floats: dict[str, NDArray[Any]] = {"input": table}  # float values that depend on one pixel each
    ops: list[Op] = []
    problems: list[str] = []
    for op in program.ops:
        read = [name for name in op.inputs if name in floats]
        if not read:
            ops.append(op)
        elif op.kind not in ELEMENTWISE:
            problems.append(f"{op.name}: {op.kind} reads the image as floats; quantize its input")
        else:
            with np.errstate(over="ignore"):
                value = reference.step(op, [floats[read[0]]], [types[read[0]]])
            if types[op.output].kind == "float":
                floats[op.output] = value
            else:
                ops.append(_lookup(op, value))
    if program.output in floats:
        problems.append("the output is the image itself, in floats")
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in dict.fromkeys(problems))
        raise ConversionError(f"a program that takes pixels must quantize them first:\n{listed}")
    source = {**program.source, "pixels": f"({pixels.divisor}, {tuple(pixels.mean)}, {tuple(pixels.std)})"}
    return replace(program, ops=tuple(ops), input_dtype="uint8", source=source)


def _lookup(op: Op, codes: NDArray[Any]) -> Op:
    assert op.grid is not None
    table = np.ascontiguousarray(codes.reshape(256, -1).T - op.grid.code_range[0]).astype(np.uint8)
    return replace(op, kind="lookup", inputs=("input",), arrays={"table": table}, attrs={})


def checked_pixels(pixels: Any, example: Tensor) -> Callable[[Tensor], Tensor]:
    """What turns an example into the model's input: `pixels`, or nothing.

    Raises:
        InvalidInput: bytes without `Pixels`, or `Pixels` without bytes.
    """
    if pixels is None:
        if isinstance(example, Tensor) and example.dtype == torch.uint8:
            raise InvalidInput(
                "the example holds bytes; say which floats the model was trained on: "
                "lowbit.convert(model, example, pixels=lowbit.Pixels(divisor=255, mean=..., std=...))"
            )
        return lambda x: x
    if not isinstance(pixels, Pixels):
        raise InvalidInput(f"pixels is {pixels!r}, allowed is lowbit.Pixels(divisor=255, mean=..., std=...)")
    if not isinstance(example, Tensor) or example.dtype != torch.uint8:
        given = f"{example.dtype} {list(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise InvalidInput(f"the example is {given}; with pixels it is the image as uint8 [batch, channels, ...]")
    return pixels
