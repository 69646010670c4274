"""`lowbit bench FILE`: a whole network beside its float and 8-bit versions in other runtimes."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowbit.bench.contenders import (
    OTHERS,
    check_settings,
    chosen,
    installed,
    onnxruntime_call,
    openvino_call,
    torch_call,
)
from lowbit.bench.onnx_models import export_shapes, export_torch, quantize_int8
from lowbit.bench.rounds import interleave
from lowbit.errors import InvalidInput
from lowbit.provenance import provenance

Array = NDArray[Any]
Call = Callable[[], Any]
CALIBRATION = 256


def bench_file(
    file: str | Path,
    against: Sequence[str] | None = None,
    *,
    run: str | Path | None = None,
    batch: int = 1,
    threads: int = 1,
    isa: str | None = None,
    seconds: float = 1.0,
) -> dict[str, Any]:
    """Time a `.lowbit` file beside other runtimes.

    Args:
        file: the network.
        against: of onnxruntime, openvino (float32 and int8) and torch (float32); None: those that are installed.
        run: run whose float network they execute; None: a network of the same layer shapes with random weights.
        batch: images at a time.
        threads: of every runtime.
        isa: instruction set of lowbit; None: the best.
        seconds: to spend on each contender.

    Returns:
        `rows`, one a contender, with name, ratio (its time over lowbit's), its quartiles ratio_low and ratio_high,
        decided (whether they agree which is faster), us_per_image, spread, bytes; `not_installed`; provenance.

    Raises:
        InvalidProgram: the file is damaged.
        InvalidInput: threads, batch or seconds cannot be measured.
        MissingExtra: a runtime is not installed.
        UnknownName: there is no such runtime or instruction set.
    """
    from lowbit import runtime

    check_settings(threads, seconds, batch)
    others = chosen(against)
    net = runtime.load(str(file), threads=threads, isa=isa)
    model, inputs = _material(net.program, run, max(batch, CALIBRATION))
    x = np.ascontiguousarray(inputs[:batch])
    with tempfile.TemporaryDirectory() as folder:
        ours = x if net.program.input_dtype == "float32" else np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
        calls: dict[str, Call] = {"lowbit": lambda: net.run(ours)}
        sizes: dict[str, int] = {"lowbit": Path(file).stat().st_size}
        add_others(calls, sizes, others, Path(folder), net.program, model, inputs, batch, threads)
        timings = interleave(calls, seconds)
    rows = [
        {
            "name": name,
            "ratio": timing.ratio,
            "ratio_low": timing.ratio_low,
            "ratio_high": timing.ratio_high,
            "decided": name == "lowbit" or timing.decided,
            "us_per_image": 1e6 * timing.seconds / batch,
            "spread": timing.spread,
            "rounds": timing.rounds,
            "bytes": sizes.get(name),
        }
        for name, timing in timings.items()
    ]
    return {
        "kind": "file",
        "file": str(file),
        "same_network": model is not None,
        "batch": batch,
        "isa": net.isa,
        "not_installed": [name for name in OTHERS if name not in installed()],
        "noisy": any(timing.noisy for timing in timings.values()),
        "rows": rows,
        **provenance(threads=threads),
    }


def add_others(
    calls: dict[str, Call],
    sizes: dict[str, int],
    against: Sequence[str],
    folder: Path,
    program: Any,
    model: Any,
    inputs: Array,
    batch: int,
    threads: int,
) -> None:
    """Add the other runtimes' calls and file sizes, writing their models into `folder`."""
    x = np.ascontiguousarray(inputs[:batch])
    float_file, int8_file = folder / "float32.onnx", folder / "int8.onnx"
    if {"onnxruntime", "openvino"} & set(against):
        if model is not None:
            import torch

            export_torch(model, torch.from_numpy(inputs[:1]), float_file)
        else:
            export_shapes(program, float_file)
        quantize_int8(float_file, int8_file, inputs[:CALIBRATION])
    for name, call in (("onnxruntime", onnxruntime_call), ("openvino", openvino_call)):
        if name in against:
            for kind, path in (("float32", float_file), ("int8", int8_file)):
                calls[f"{name} {kind}"] = call(path, x, threads)
                sizes[f"{name} {kind}"] = path.stat().st_size
    if "torch" in against:
        from lowbit.bench.torch_models import shapes_network

        calls["torch float32"] = torch_call(shapes_network(program) if model is None else model.eval(), x, threads)


def _material(program: Any, run: str | Path | None, count: int) -> tuple[Any, Array]:
    """The float network of a run, or None, and inputs [count, ...]."""
    if run is None:
        random = np.random.default_rng(0)
        return None, random.random((count, *program.input_shape), dtype=np.float32)
    from lowbit.training.network import float_network
    from lowbit.training.runs import load_run
    from lowbit.training.starts import float_run

    trained = load_run(run)
    _require_same_layers(program, trained, run)
    before = float_run(trained.recipe, trained.folder)
    if before is not None:
        model = load_run(before).model
    else:
        model = float_network(trained.recipe, trained.data)  # trained from scratch: only its speed can be compared
    if trained.data.shape != tuple(program.input_shape):
        raise InvalidInput(f"{run}: its inputs are {list(trained.data.shape)}, the file's {list(program.input_shape)}")
    x = trained.data.test_x.numpy()
    return model, np.concatenate([x] * (1 + count // len(x)))[:count]


def _require_same_layers(program: Any, trained: Any, run: str | Path) -> None:
    """Refuse a run that lacks layers of the file: the others would run another network."""
    here = Counter(math.prod(op.weight.shape) for op in program.ops if op.weight is not None)
    there = Counter(p.numel() for p in trained.model.parameters())
    lacking = here - there
    if lacking:
        raise InvalidInput(
            f"{run}: is not the file's network: no layer of it has {', '.join(map(str, sorted(lacking)))} weights; "
            "give the run that the file was converted from"
        )
