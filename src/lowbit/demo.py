"""`lowbit demo`: the whole way on real digits, from a float training to one packed file, in about a minute.

Trains a float network and, from it, the same network with 2-bit weights and activations (first and last layer 8
bits), converts it, loads the file with the runtime, compares all logits bit for bit, and times the file beside
onnxruntime. Leaves in its folder

    float/ lowbit/      the two runs
    net.lowbit          the packed network
    summary.json        the numbers
    report.html .json   the page
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import lowbit
from lowbit import runtime
from lowbit.analysis.sqnr import layer_errors
from lowbit.atomic import interrupts_wait, make_folder, write_text
from lowbit.bench.contenders import onnxruntime_call, require, torch_call
from lowbit.bench.onnx_models import export_torch, quantize_int8
from lowbit.bench.rounds import interleave
from lowbit.errors import LowbitError
from lowbit.provenance import provenance
from lowbit.report.content import contender, layer_kernels, layer_rows, points, size, times
from lowbit.report.page import write_page
from lowbit.training.evaluate import agreement, logits, run_batches
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import MODEL, Trained, train

Array = NDArray[Any]

FLOAT = """\
title: digits, float
data: digits
model: digits_net
optimizer: {name: adam, lr: 4.0e-3}
schedule: {name: cosine, warmup: 1}
epochs: 24
batch: 64
augmentation: ["shift:1"]
"""
LOWBIT = (
    FLOAT.replace("title: digits, float", "title: digits, 2-bit")
    + """\
weight: lsq:2
activation: lsq:2
first: affine:8
last: affine:8
procedure: retrain
"""
)
BATCH = 64
FILE, REPORT, SUMMARY = "net.lowbit", "report.html", "summary.json"
IN_FLOAT, IN_TORCH, IN_FILE = "float in PyTorch", "2-bit in PyTorch", "2-bit from the file"
ORT_FLOAT, ORT_INT8 = "float in onnxruntime", "8-bit in onnxruntime"


def run_demo(
    out: str | Path, *, as_json: bool = False, epochs: int | None = None, seconds: float = 1.0
) -> dict[str, Any]:
    """Run the demo and print its table.

    Args:
        out: folder; a finished demo in it is done again, an interrupted one goes on.
        as_json: print the summary as JSON in place of the table.
        epochs: of each training; None: the demo's own.
        seconds: to time each contender.

    Returns:
        The summary.

    Raises:
        InvalidInput: the folder cannot be written.
        LowbitError: the file's logits differ from the network's.
    """
    began = time.perf_counter()
    require("onnxruntime")
    folder = make_folder(out)
    console = Console(stderr=True, highlight=False)
    if (folder / SUMMARY).exists():
        for name in ("float", "lowbit"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / SUMMARY).unlink()
    before, after = _trained(folder, console, epochs)
    console.print("converting, and comparing every logit of the file with the network's")
    file, program = _converted(after, folder / FILE)
    net = runtime.load(str(file), threads=1)
    x, y = after.data.test_x.numpy(), after.data.test_y.numpy()
    expected = logits(after.model, after.data.test_x).numpy()
    singly, together = run_batches(net.run, x, 1), run_batches(net.run, x, BATCH)
    agreed = min(agreement(singly, expected), agreement(together, expected))
    if agreed < 1:
        raise LowbitError(
            f"{file}: only {agreed:.2%} of the images have the network's logits; this is a fault in lowbit"
        )
    console.print("timing, one thread, in turns with onnxruntime")
    with tempfile.TemporaryDirectory() as temporary:
        rows, noisy = _compared(before, after, net, file, Path(temporary), seconds)
    by_name = {row["name"]: row for row in rows}
    accuracy = _percent(together, y)
    by_name[IN_FILE]["accuracy"] = accuracy
    by_name[IN_TORCH]["accuracy"] = _percent(expected, y)
    summary = {
        "float_accuracy": before.result["accuracy"],
        "lowbit_accuracy": by_name[IN_TORCH]["accuracy"],
        "integer_accuracy": accuracy,
        "agreement": agreed,
        "images": len(x),
        "bytes_float": by_name[IN_FLOAT]["bytes"],
        "bytes_lowbit": by_name[IN_FILE]["bytes"],
        "us_lowbit": by_name[IN_FILE]["us_1"],
        "us_onnxruntime_fp32": by_name[ORT_FLOAT]["us_1"],
        "us_onnxruntime_int8": by_name[ORT_INT8]["us_1"],
        "noisy": noisy,
        "seconds": round(time.perf_counter() - began, 1),
        "contenders": rows,
        **provenance(seed=after.recipe.seed, threads=1),
    }
    layers = layer_rows(
        program.summary().to_dict(), layer_kernels(net), layer_errors(after.model, after.data.test_x[:256])
    )
    with interrupts_wait():
        write_page(_content(summary, rows, layers, before, after), folder / REPORT)
        write_text(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        _print(summary, rows, folder)
    return summary


def _trained(folder: Path, console: Console, epochs: int | None) -> tuple[Trained, Trained]:
    """The float run and the low-bit run that starts from it."""
    changes = [] if epochs is None else [f"epochs={epochs}"]
    # Few small steps of a small network: a second thread would only be waited for.
    torch.set_num_threads(1)
    console.print("1,437 images of digits: a float network")
    before = train(parse_recipe(FLOAT, "demo", changes), folder / "float")
    console.print("the same network with 2-bit weights and activations")
    start = f"start: {json.dumps(str(folder / 'float'))}\n"
    return before, train(parse_recipe(LOWBIT + start, "demo", changes), folder / "lowbit")


def _converted(trained: Trained, file: Path) -> tuple[Path, Any]:
    program = lowbit.convert(trained.model, trained.data.test_x[:8])
    source = {key: str(trained.result[key]) for key in ("title", "seed", "commit", "command", "date")}
    program = replace(program, source={**program.source, **source})
    with interrupts_wait():
        program.save(file)
    return file, program


def _compared(
    before: Trained, after: Trained, net: Any, file: Path, temporary: Path, seconds: float
) -> tuple[list[dict[str, Any]], bool]:
    """Accuracy, bytes and times of every contender; whether the machine was too busy to trust the times."""
    x, y = after.data.test_x.numpy(), after.data.test_y.numpy()
    float_file, int8_file = temporary / "float32.onnx", temporary / "int8.onnx"
    export_torch(before.model, before.data.test_x[:1], float_file)
    quantize_int8(float_file, int8_file, before.data.train_x[:512].numpy())

    def calls(batch: int) -> dict[str, Callable[[], Array]]:
        part = np.ascontiguousarray(x[:batch])
        return {
            IN_FILE: lambda: net.run(part),
            ORT_FLOAT: onnxruntime_call(float_file, part, 1),
            ORT_INT8: onnxruntime_call(int8_file, part, 1),
            IN_FLOAT: torch_call(before.model, part, 1),
            IN_TORCH: torch_call(after.model, part, 1),
        }

    single, many = interleave(calls(1), seconds), interleave(calls(BATCH), seconds)

    def row(name: str, size_: int, outputs: Array, *, ours: bool = False) -> dict[str, Any]:
        return contender(
            name, ours=ours, accuracy=_percent(outputs, y), bytes=size_, us_1=1e6 * single[name].seconds,
            us_64=1e6 * many[name].seconds / BATCH, spread=single[name].spread,
        )  # fmt: skip

    whole = {path: onnxruntime_call(path, x, 1)() for path in (float_file, int8_file)}
    rows = [
        row(IN_FLOAT, (before.folder / MODEL).stat().st_size, logits(before.model, before.data.test_x).numpy()),
        row(IN_TORCH, (after.folder / MODEL).stat().st_size, logits(after.model, after.data.test_x).numpy()),
        row(IN_FILE, file.stat().st_size, run_batches(net.run, x), ours=True),
        row(ORT_FLOAT, float_file.stat().st_size, whole[float_file]),
        row(ORT_INT8, int8_file.stat().st_size, whole[int8_file]),
    ]
    noisy = any(single[name].noisy for name in (IN_FILE, ORT_FLOAT, ORT_INT8))
    return rows, noisy


def _percent(outputs: Array, y: Array) -> float:
    return float(100 * (outputs.argmax(axis=1) == y).mean())


def _content(
    summary: dict[str, Any], rows: list[dict[str, Any]], layers: list[dict[str, Any]], before: Trained, after: Trained
) -> dict[str, Any]:
    """What the page shows."""
    smaller = summary["bytes_float"] / summary["bytes_lowbit"]
    change = summary["integer_accuracy"] - summary["float_accuracy"]
    ratio = {key: summary[f"us_onnxruntime_{key}"] / summary["us_lowbit"] for key in ("fp32", "int8")}
    notes = [
        f"Accuracy is over all {summary['images']} test images of scikit-learn's digits.",
        f"Agreement is the share of these images whose logits from the file equal those of the network in PyTorch, "
        f"bit for bit, at batch 1 and {BATCH}.",
        "Times are medians of interleaved rounds on one thread; onnxruntime runs the float network of this demo, "
        "exported with torch.onnx, and its static 8-bit version (QDQ, uint8 activations, int8 weights a channel).",
        "Bytes in PyTorch are those of the saved float weights; a quantized network trains on float weights too.",
    ]
    if summary["noisy"]:
        notes.append("The machine was busy: times spread by more than 15 %, so repeat before quoting any of them.")
    return {
        "title": "Digits with 2-bit weights and activations",
        "lead": f"The 2-bit network is {times(smaller, 'smaller', 'larger')} than the float one and {points(change)}. "
        f"From one packed file it takes {summary['us_lowbit']:.1f} µs an image on one thread: "
        f"{times(ratio['fp32'], 'faster', 'slower')} than onnxruntime in float, "
        f"{times(ratio['int8'], 'faster', 'slower')} than in 8 bits.",
        "cards": [
            {"label": "Accuracy", "value": f"{summary['integer_accuracy']:.2f} %",
             "note": f"float {summary['float_accuracy']:.2f} %"},
            {"label": "File", "value": size(summary["bytes_lowbit"]), "note": f"float {size(summary['bytes_float'])}"},
            {"label": "Time an image", "value": f"{summary['us_lowbit']:.1f} µs",
             "note": f"onnxruntime {summary['us_onnxruntime_fp32']:.1f} µs float, "
                     f"{summary['us_onnxruntime_int8']:.1f} µs 8-bit"},
            {"label": "Agreement", "value": f"{100 * summary['agreement']:.0f} %", "note": "logits equal bit for bit"},
        ],
        "contenders": rows,
        "layers": layers,
        "curves": [{"name": "float", "rows": before.rows}, {"name": "2-bit", "rows": after.rows}],
        "notes": notes,
        "provenance": provenance(seed=after.recipe.seed, threads=1),
    }  # fmt: skip


def _print(summary: dict[str, Any], rows: list[dict[str, Any]], folder: Path) -> None:
    table = Table(title=f"digits, {summary['images']} test images, one thread")
    for head in ("network", "accuracy", "bytes on disk", "µs, batch 1", f"µs, batch {BATCH}"):
        table.add_column(head, justify="left" if head == "network" else "right")
    for row in rows:
        table.add_row(
            row["name"], f"{row['accuracy']:.2f} %", f"{row['bytes']:,}", f"{row['us_1']:.1f}", f"{row['us_64']:.1f}",
            style="bold" if row["ours"] else None,
        )  # fmt: skip
    console = Console(file=sys.stdout, highlight=False)
    console.print(table)
    console.print(
        f"logits of the file equal the network's bit for bit on {100 * summary['agreement']:.0f} % of the images; "
        f"{summary['seconds']:.0f} s in all",
        soft_wrap=True,
    )
    if summary["noisy"]:
        console.print(
            "the machine was busy: times spread by more than 15 %, so repeat before quoting them", soft_wrap=True
        )
    console.print(f"{folder / FILE}  {folder / REPORT}  {folder / SUMMARY}", soft_wrap=True)
