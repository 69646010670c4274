"""What the runs of a report weigh and how long an image takes, all in the same interleaved rounds on one thread.

A low-bit run is packed and runs through `lowbit.runtime`; a float run through onnxruntime where that is installed, else
through PyTorch; so does a low-bit run that has no integer form, on its float weights. Each says which it was.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import lowbit
from lowbit import runtime
from lowbit.bench.contenders import onnxruntime_call, torch_call
from lowbit.bench.onnx_models import export_torch
from lowbit.bench.rounds import Timing, interleave
from lowbit.errors import ConversionError
from lowbit.program import Program
from lowbit.training.runs import MODEL, Trained

BATCH = 64
SECONDS = 0.3
"""To spend on each network at each batch size."""
LOWBIT, ORT, TORCH = "lowbit", "onnxruntime, float32", "PyTorch, float32"
INEXACT = "multiplies floats, so that its answers differ from machine to machine"
NO_ORT = "onnxruntime, which runs float networks faster, is not installed: pip install 'lowbit[bench]'"
Call = Callable[[], Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Entrant:
    """A network that can be run, by its fastest exact way.

    Attributes:
        kind: "low-bit", "float", or "not packed" for a low-bit network without an integer form.
        by: what runs it, one of `LOWBIT`, `ORT`, `TORCH`.
        bytes: on disk.
        call: makes the call that is timed, from inputs [batch, ...].
        images: inputs float32 [up to `BATCH`, ...].
        reason: why it is not packed, not exact, or not run by onnxruntime; None where there is nothing to say.
        program, net: of a packed network, and what `runtime.load` made of it.
    """

    kind: str
    by: str
    bytes: int | None
    call: Callable[[NDArray[Any]], Call]
    images: NDArray[Any]
    reason: str | None = None
    program: Program | None = None
    net: Any = None


def low_bit_entrant(trained: Trained, folder: Path) -> Entrant:
    """A low-bit run from its packed file; from its float weights in PyTorch where it has no integer form.

    Args:
        trained: a low-bit run.
        folder: where the file may lie as long as the entrant is used.
    """
    images = trained.data.test_x[:BATCH].numpy()
    reason = None
    try:
        program = lowbit.convert(trained.model, trained.data.test_x[:4])
    except ConversionError as refused:
        try:
            program, reason = lowbit.convert(trained.model, trained.data.test_x[:4], allow_inexact=True), INEXACT
        except ConversionError:
            reason = " ".join(str(refused).split()).replace(": - ", ": ")
            return Entrant(
                kind="not packed", by=TORCH, bytes=(trained.folder / MODEL).stat().st_size, images=images,
                call=lambda x: torch_call(trained.model, x, 1), reason=reason,
            )  # fmt: skip
    file = folder / "net.lowbit"
    program.save(file)
    net = runtime.load(str(file))
    return Entrant(
        kind="low-bit", by=LOWBIT, bytes=file.stat().st_size, call=lambda x: lambda: net.run(x), images=images,
        reason=reason, program=program, net=net,
    )  # fmt: skip


def onnxruntime_installed() -> bool:
    """Whether onnxruntime can be given networks."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnxruntime", "onnx"))


def float_entrant(model: nn.Module, images: NDArray[Any], folder: Path, size: int | None) -> Entrant:
    """A float network in onnxruntime, or in PyTorch where that is not installed or cannot be given the network.

    Args:
        model: in eval mode.
        images: inputs float32 [N, ...].
        folder: where the ONNX file may lie.
        size: bytes of its weights on disk.
    """
    reason = None
    if not onnxruntime_installed():
        reason = NO_ORT
    else:
        file = folder / "float.onnx"
        try:
            export_torch(model, torch.from_numpy(images[:1]), file)
        except torch.onnx.OnnxExporterError as error:
            reason = f"has no ONNX form for onnxruntime ({str(error).strip().splitlines()[0]})"
        else:
            return Entrant(kind="float", by=ORT, bytes=size, call=lambda x: onnxruntime_call(file, x, 1), images=images)
    return Entrant(
        kind="float", by=TORCH, bytes=size, call=lambda x: torch_call(model, x, 1), images=images, reason=reason
    )


def entrant(trained: Trained, folder: Path) -> Entrant:
    """The entrant of a finished run; `folder` is emptied by the caller when it is done with it."""
    if trained.recipe.low_bit:
        return low_bit_entrant(trained, folder)
    size = (trained.folder / MODEL).stat().st_size
    return float_entrant(trained.model, trained.data.test_x[:BATCH].numpy(), folder, size)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for the files of one report."""
    return tempfile.TemporaryDirectory(prefix="lowbit-report-")


def timed(entrants: Sequence[Entrant], seconds: float = SECONDS) -> list[dict[str, float | None]]:
    """Times of all entrants, which take turns in short rounds.

    Args:
        entrants: at least one.
        seconds: to spend on each at each batch size.

    Returns:
        For each `us_1` and `us_64`, the median microseconds an image at batch 1 and 64; `us_1_low` and `us_1_high`, the
        quartiles over the rounds; `spread`, their distance over the median; `over_float`, the time over that of the
        first float entrant, the median of the ratios within rounds, where there is one. A data set with fewer inputs
        than 64 is measured with what it has.
    """
    threads = torch.get_num_threads()
    try:
        one = _rounds(entrants, 1, seconds)
        many = _rounds(entrants, BATCH, seconds)
    finally:
        torch.set_num_threads(threads)
    reference = next((timing for entered, timing in zip(entrants, one, strict=True) if entered.kind == "float"), None)
    found: list[dict[str, float | None]] = []
    for entered, single, batch in zip(entrants, one, many, strict=True):
        low, high = np.quantile(single.samples, [0.25, 0.75])
        found.append({
            "us_1": 1e6 * single.seconds, "us_1_low": 1e6 * float(low), "us_1_high": 1e6 * float(high),
            "us_64": 1e6 * batch.seconds / len(entered.images[:BATCH]), "spread": single.spread,
            "over_float": None if reference is None else single.against(reference).ratio,
        })  # fmt: skip
    return found


def _rounds(entrants: Sequence[Entrant], batch: int, seconds: float) -> list[Timing]:
    calls = {
        str(index): entered.call(np.ascontiguousarray(entered.images[:batch])) for index, entered in enumerate(entrants)
    }
    return list(interleave(calls, seconds).values())
