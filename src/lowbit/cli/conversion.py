"""`lowbit convert`: a run becomes a file, and the file's answers are compared with the network's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lowbit
from lowbit.atomic import interrupts_wait, require_writable
from lowbit.cli.image_bytes import bytes_of, pixels_of
from lowbit.errors import InvalidInput
from lowbit.program import Program
from lowbit.table import Table
from lowbit.training.evaluate import agreement, logits, run_batches
from lowbit.training.runs import Trained, load_run

EXAMPLES = 8


def convert_run(
    run: Path, output: Path, *, allow_inexact: bool = False, check: int = 256, pixels: bool = False
) -> tuple[dict[str, Any], Table]:
    """Convert a finished run and write the file.

    Args:
        run: its folder.
        output: the `.lowbit` file.
        allow_inexact: accept layers with a float operand.
        check: test images to compare, 0 or more.
        pixels: the file takes uint8 pixels instead of the floats that the data set made of them.

    Returns:
        file, bytes, exact, checked, agreement (share of images with equal logits); and the program's table.

    Raises:
        ConversionError: listing every module that has no integer form.
        InvalidInput: there is no finished low-bit run, the file cannot be written, `check` is negative, or the run's
            data were no pixels.
    """
    if check < 0:
        raise InvalidInput(f"--check is {check}, allowed is a number of images from 0")
    require_writable(output)
    trained = load_run(run)
    if not trained.recipe.low_bit:
        raise InvalidInput(f"{run}: is a float run; quantize it first: lowbit quantize {run} --weight .. --out RUN2")
    program = program_of(trained, allow_inexact=allow_inexact, pixels=pixels)
    with interrupts_wait():
        program.save(output)
    found = {"file": str(output), "bytes": output.stat().st_size, "exact": program.exact}
    return found | compare(trained, output, check), program.summary()


def program_of(trained: Trained, *, allow_inexact: bool = False, pixels: bool = False) -> Program:
    """The integer program of a run's network, with its provenance; `pixels`: it takes uint8."""
    data, x = trained.data, trained.data.test_x[:EXAMPLES]
    given = {"pixels": pixels_of(data)} if pixels else {}
    program = lowbit.convert(trained.model, bytes_of(data, x) if pixels else x, allow_inexact=allow_inexact, **given)
    source = {key: str(trained.result[key]) for key in ("title", "seed", "commit", "command", "date")}
    return replace(program, source={**program.source, **source})


def compare(trained: Trained, file: Path, count: int) -> dict[str, Any]:
    """Share of the first `count` test images whose logits from the file equal the network's, bit for bit."""
    from lowbit import runtime

    x = trained.data.test_x[:count]
    if len(x) == 0:
        return {"checked": 0, "agreement": 1.0}
    net = runtime.load(str(file))
    bytewise = net.program.input_dtype == "uint8"
    ours = run_batches(net.run, (bytes_of(trained.data, x) if bytewise else x).numpy())
    return {"checked": len(x), "agreement": agreement(ours, logits(trained.model, x).numpy())}
