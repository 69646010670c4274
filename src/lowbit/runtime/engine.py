"""The native engine: lowers a program to a list of native steps once, then runs it without touching Python again.

Lowering decides three things. Which kernel executes each layer (`_kernels.choose_layer`: operands, shape, memory);
in which form each code value is kept (bytes, or the bit planes that its consumers want); and which operations are
fused: a producer followed by its only consumers rescale -> affine -> activation -> quantize or threshold is one step
whose epilogue stores the end of the chain. `trace` lowers a second time without any fusion.

Inside, a value of [channels, height, width] is stored [height, width, channels]; codes are bytes `code - low`.
"""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput, InvalidProgram, unknown
from lowbit.infer import infer
from lowbit.program import Program
from lowbit.runtime import _kernels
from lowbit.runtime.lowering import Lowering

if TYPE_CHECKING:
    from lowbit.runtime.profile import Profile

Array = NDArray[Any]

ISAS = {"scalar": 0, "avx2": 1, "avx512bw": 2, "avx512": 3, "amx": 4, "neon": 5}
"""Instruction sets by native number; `avx512bw` is AVX-512 without VNNI, VBMI, BITALG and VPOPCNTDQ, `amx` adds matrix
tiles of bytes; `neon` is 64-bit Arm's."""


IMAGES, FEW = 64, 4
"""Images of one pass through a network without space, and from how many on they go together."""
LARGE = 16384
"""Numbers from which on the memory of a dropped result is kept for the next."""
ROWWISE = {"linear", "float_linear", "rescale", "affine", "activation", "quantize", "threshold", "dequantize", "add",
           "concat", "flatten"}  # fmt: skip
"""Operations that treat every pixel alike, so that images of one pixel can be pixels of one image."""


def available() -> tuple[str, ...]:
    """Instruction sets that this processor has, slowest first.

    Example:
        >>> "scalar" in available()
        True
    """
    return tuple(name for name, number in ISAS.items() if _kernels.isa_present(number))


def choose_isa(isa: str | None) -> str:
    """The instruction set to use: `isa`, else the environment's LOWBIT_ISA (for tests), else the best.

    Raises:
        UnknownName: for one that does not exist or that this processor lacks.
    """
    wanted = isa or os.environ.get("LOWBIT_ISA") or available()[-1]
    if wanted not in available():
        raise unknown("instruction set of this processor", wanted, available())
    return wanted


class Engine:
    """A program, ready to run.

    Args:
        program: validated here.
        threads: 1 to 256; images of a batch are spread over them, and parts of large layers of one image.
        isa: "scalar", "avx2", "avx512bw", "avx512", "amx", on Arm "neon", or None for the best.
        max_arena_mb: largest memory for the values of one image.

    Raises:
        InvalidProgram: if the program breaks a rule or needs more memory.
        UnknownName: for an instruction set that is not available.
        ValueError: for a number of threads outside 1..256.
    """

    def __init__(self, program: Program, threads: int = 1, isa: str | None = None, max_arena_mb: int = 1024) -> None:
        if type(threads) is not int or not 1 <= threads <= 256:
            raise ValueError(f"threads is {threads!r}, allowed is an integer 1..256")
        self.isa, self.threads, self.program = choose_isa(isa), threads, program
        self._types = infer(program)
        self._shape, self._dtype = tuple(program.input_shape), np.dtype(program.input_dtype)
        self._out_shape = self._types[program.output].shape
        self._lowered = Lowering(program, self._types, ISAS[self.isa], threads, fuse=True)
        self._plan = self._lowered.plan
        self._unfused: Lowering | None = None
        self._rowwise: Lowering | None = None
        pixels = {math.prod(value.shape[1:]) for value in self._types.values()}
        self._alike = pixels == {1} and {op.kind for op in program.ops} <= ROWWISE
        self._lock = threading.Lock()
        if self.arena_bytes > max_arena_mb * 2**20:
            raise InvalidProgram(
                f"one image takes {self.arena_bytes / 2**20:.0f} MB of memory, "
                f"allowed are {max_arena_mb} (max_arena_mb)"
            )
        self._execute = self._plan.run if self._dtype == np.float32 else self._plan.run_bytes

    @property
    def arena_bytes(self) -> int:
        """Memory for the values of one image on one thread, in bytes."""
        return self._plan.arena_bytes

    def kernels(self, batch: int = 1) -> dict[str, str]:
        """Kernel of each operation by the name of the value it writes; fused ones share one, "view" moves nothing.

        Args:
            batch: inputs that `run` is given. A network without space takes several together, with other kernels.

        Raises:
            InvalidInput: for a batch that is no whole number from 1.
        """
        if type(batch) is not int or batch < 1:
            raise InvalidInput(f"batch is {batch!r}, allowed is a whole number from 1")
        lowered = self._lowering(batch)
        steps, step_of = lowered.plan.steps(), lowered.step_of
        names = [op.output for op in self.program.ops]
        return {name: steps[step_of[name]][1] if name in step_of else "view" for name in names}

    def run(self, x: Array) -> NDArray[np.float32]:
        """Execute the program; safe to call from several threads.

        Args:
            x: float32 or uint8 [batch, *program.input_shape].

        Returns:
            float32 [batch, ...].

        Raises:
            InvalidInput: for data of the wrong shape or dtype, or with NaN or infinity.
        """
        x = self._checked(x)
        shape = (x.shape[0], *self._out_shape)
        out = np.empty(shape, np.float32) if math.prod(shape) < LARGE else self._plan.output(shape)
        row = (self._batched().plan.run if self._takes_together(len(x)) else self._execute)(x, out)
        if row >= 0:
            raise InvalidInput(f"input row {row} holds NaN or infinity; clean the data before running the network")
        return out

    def _takes_together(self, batch: int) -> bool:
        return self._alike and batch >= FEW

    def _lowering(self, batch: int) -> Lowering:
        return self._batched() if self._takes_together(batch) else self._lowered

    def _batched(self) -> Lowering:
        """The plan that takes many images of one pixel as pixels of one, made when it is first needed."""
        with self._lock:
            if self._rowwise is None:
                self._rowwise = Lowering(
                    self.program, self._types, ISAS[self.isa], self.threads, fuse=True, images=IMAGES
                )
            return self._rowwise

    def trace(self, x: Array) -> tuple[NDArray[np.float32], dict[str, Array]]:
        """Execute operation by operation, unfused.

        Returns:
            The output, and every value by name as `reference.run(trace=True)` gives it.
        """
        from lowbit.runtime.reference import check_input

        x = check_input(self.program, x)
        with self._lock:
            if self._unfused is None:
                self._unfused = Lowering(self.program, self._types, ISAS[self.isa], 1, fuse=False)
        out = np.empty((len(x), *self._out_shape), np.float32)
        values, exported, targets = {"input": x}, [], []
        for name, export, shape in self._unfused.exports():
            dtype = np.float32 if export[1] == 0 else np.int32
            terms = (export[2],) if export[1] == 2 else ()
            values[name] = np.empty((*terms, len(x), *shape), dtype)
            exported.append(export)
            targets.append(values[name])
        self._unfused.plan.export_values(x, out, exported, targets)
        return out, values

    def profile(self, x: Array, repeats: int = 100, peaks: bool = False) -> Profile:
        """Time every step of a pass, on one thread: the first input of `x`, or the first 64 of a network without space.

        Several inputs of fully connected layers go through them together, with kernels that one input would not take.

        Args:
            x: float32 or uint8 [batch, *program.input_shape].
            repeats: runs, at least 1; times are medians.
            peaks: measure what the processor can do (20 ms for each kind of arithmetic, once a process), and say which
                share of it each kernel reaches.

        Returns:
            One `StepProfile` a step: name, kinds, kernel, ns, ops, bytes, gops, share; printing it gives a table. Its
            `images` are the inputs that were timed together.

        Raises:
            InvalidInput: for data that `run` refuses, or fewer repeats than one.
        """
        from lowbit.runtime.profile import Profile, StepProfile, with_shares  # whoever only runs does not wait for it

        if type(repeats) is not int or repeats < 1:
            raise InvalidInput(f"repeats is {repeats!r}, allowed is a whole number from 1")
        x = self._checked(x)
        lowered = self._lowering(len(x))
        x = x[: IMAGES if self._takes_together(len(x)) else 1]
        out = self.run(x)  # which refuses NaN
        times = np.array(lowered.plan.profile(x, out, repeats), np.float64).reshape(repeats, -1)
        steps = tuple(
            StepProfile(name=name, kinds=kinds, kernel=kernel, ns=float(ns), ops=ops, bytes=size)
            for (name, kernel, ops, size), kinds, ns in zip(
                lowered.plan.steps(len(x)), lowered.kinds, np.median(times, axis=0), strict=True
            )
        )
        profile = Profile(steps=steps, isa=self.isa, images=len(x))
        return with_shares(profile, ISAS[self.isa]) if peaks else profile

    def _checked(self, x: Array) -> Array:
        """`x` in the memory layout that the native code reads; finite values are checked there."""
        if (
            type(x) is np.ndarray
            and x.dtype == self._dtype
            and x.shape[1:] == self._shape
            and x.shape[0]
            and x.flags.c_contiguous
            and x.flags.aligned
        ):
            return x
        from lowbit.runtime.reference import check_input

        return np.require(check_input(self.program, x), requirements=["C", "A"])
