"""`lowbit eval`: accuracy of a run (torch, on integers) or of a file (the runtime)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lowbit.cli.image_bytes import bytes_of
from lowbit.data import DataSet, load
from lowbit.errors import InvalidInput
from lowbit.training.evaluate import evaluate, run_batches, score


def evaluate_target(
    target: Path, data: str | None, folder: str | None, normalize: bool, threads: int
) -> dict[str, Any]:
    """Score a run's folder or a `.lowbit` file on a test set.

    Args:
        target: what to score.
        data: name of the data set; a run may leave it out and then uses its own.
        folder: where the data lies, or None for its usual place.
        normalize: whether a file's inputs are normalized.
        threads: of the runtime.

    Returns:
        target, data, images, correct, accuracy (percent), loss.

    Raises:
        InvalidInput: there is nothing to score, or the data does not fit it.
    """
    if target.is_dir():
        from lowbit.training.runs import load_run

        trained = load_run(target)
        part = trained.recipe.data
        given = {**part.options, **({"folder": folder} if folder else {})}
        same = data in (None, part.name) and not folder
        chosen = trained.data if same else _load(data or part.name, given, part.normalize)
        if chosen.shape != trained.data.shape:
            raise InvalidInput(
                f"{target}: the network takes {list(trained.data.shape)}, data set {chosen.name!r} has "
                f"{list(chosen.shape)}"
            )
        found = evaluate(trained.model, chosen.test_x, chosen.test_y)
    elif target.exists():
        from lowbit import runtime

        if data is None:
            raise InvalidInput(f"{target}: a file does not know its data; add --data NAME, e.g. --data digits")
        net = runtime.load(str(target), threads=threads)
        chosen = _load(data, {"folder": folder} if folder else {}, normalize)
        if chosen.shape != tuple(net.program.input_shape):
            raise InvalidInput(
                f"{target}: takes inputs of {list(net.program.input_shape)}, data set {data!r} has {list(chosen.shape)}"
            )
        bytewise = net.program.input_dtype == "uint8"
        outputs = run_batches(net.run, (bytes_of(chosen, chosen.test_x) if bytewise else chosen.test_x).numpy())
        found = score(torch.from_numpy(outputs), chosen.test_y)
    else:
        raise InvalidInput(f"{target}: there is no such run or file")
    return {
        "target": str(target),
        "data": chosen.name,
        "images": found.count,
        "correct": found.correct,
        "accuracy": found.accuracy,
        "loss": found.loss,
    }


def _load(name: str, options: dict[str, Any], normalize: bool) -> DataSet:
    data = load(name, **options)
    return data.normalized() if normalize else data
