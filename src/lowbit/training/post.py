"""Post-training quantization of a run: prepare, the procedure ptq, evaluate; no gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lowbit
from lowbit.atomic import make_folder, write_text
from lowbit.data import Batches
from lowbit.errors import InvalidInput
from lowbit.procedures.base import Run
from lowbit.table import Table
from lowbit.training.network import CALIBRATION_BATCH, calibrated, quantized
from lowbit.training.optimizers import make_optimizer
from lowbit.training.recipe_procedures import made
from lowbit.training.recipes import Recipe
from lowbit.training.runs import RECIPE, finish, load_run

IMAGES = 512
"""Training inputs to calibrate on, where there are as many."""


def quantize_run(run: str | Path, methods: dict[str, Any], out: str | Path | None) -> tuple[dict[str, Any], Table]:
    """Quantize a finished float run.

    Args:
        run: its folder.
        methods: weight, activation, add, first and last, as `lowbit.prepare` takes them.
        out: folder to keep the result in as a run, or None.

    Returns:
        The result, with `float_accuracy` beside `accuracy` (percent), and the summary of the layers.

    Raises:
        InvalidInput: the run is quantized already, no method was given, or `out` holds something.
    """
    if not methods.get("weight") and not methods.get("activation"):
        raise InvalidInput("nothing to quantize; give --weight or --activation, e.g. --weight affine:8")
    trained = load_run(run)
    if trained.recipe.low_bit:
        raise InvalidInput(f"{run}: is quantized already; give the folder of a float run")
    settings = {**trained.recipe.model_dump(), **methods}
    settings |= {"title": f"{trained.recipe.title} (post-training)".strip(), "start": str(run), "epochs": 0}
    images = min(IMAGES, len(trained.data.train_x))
    settings |= {"procedure": {"name": "ptq", "images": images}, "modifiers": [], "pretrain": None, "expect": None}
    recipe = Recipe.model_validate(settings)
    folder = None
    if out is not None:
        folder = make_folder(out)
        if any(folder.iterdir()):
            raise InvalidInput(f"{out}: is not empty; choose another --out")
    model = calibrated(recipe, quantized(recipe, trained.model, trained.data), trained.data)
    batches = Batches(trained.data.train_x, trained.data.train_y, size=CALIBRATION_BATCH, seed=recipe.seed)
    procedure = made(recipe)
    optimizer = make_optimizer(model, **recipe.optimizer.model_dump())
    procedure.start(Run(model=model, optimizer=optimizer, batches=batches))
    if folder is not None:
        write_text(folder / RECIPE, recipe.to_yaml())
    done = finish(
        folder or trained.folder,
        recipe,
        model.eval(),
        trained.data,
        [],
        {"float_accuracy": trained.result["accuracy"]},
        write=folder is not None,
    )
    return done.result, lowbit.summary(model)
