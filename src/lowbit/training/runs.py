"""The folder of a run, and the training that fills it.

RUN/recipe.yaml         the recipe with all changes and defaults
    log.csv             one row an epoch
    tensorboard/        the same for TensorBoard
    checkpoint.pt       everything to go on from the last finished epoch
    model.safetensors   weights and quantizers at the end
    result.json         accuracy, seed, commit, machine, threads, versions, command; written last
    float/              the run before this one, where the recipe says `pretrain`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lowbit.atomic import interrupts_wait, make_folder, replacing, write_text
from lowbit.data import Batches, DataSet
from lowbit.errors import InvalidInput
from lowbit.procedures import Run
from lowbit.provenance import provenance
from lowbit.training.evaluate import Score, evaluate
from lowbit.training.log import Row, read_log, write_log
from lowbit.training.network import calibrated, float_network, load_data, quantized
from lowbit.training.optimizers import make_optimizer
from lowbit.training.randomness import seed_everything
from lowbit.training.recipe_procedures import made
from lowbit.training.recipes import Named, Recipe, read_recipe
from lowbit.training.schedules import make_schedule
from lowbit.training.starts import CHECKPOINT, FLOAT, RECIPE, RESULT, same_start, start_folder

LOG, MODEL = "log.csv", "model.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A finished run.

    Attributes:
        folder: where it lies.
        recipe: it was made by.
        model: in eval mode, on the CPU.
        data: of the recipe.
        rows: the log.
        result: content of result.json; `accuracy` is in percent.
    """

    folder: Path
    recipe: Recipe
    model: nn.Module
    data: DataSet
    rows: list[Row]
    result: dict[str, Any]


def train(recipe: Recipe, out: str | Path, *, progress: bool = True, accelerator: str = "auto") -> Trained:
    """Train by a recipe, or go on where an interrupted training of the same recipe stopped.

    Args:
        recipe: from `read_recipe`.
        out: the run's folder; made where it does not exist. A finished run in it is returned as it is.
        progress: whether to show bars and epochs on standard error.
        accelerator: ``"auto"``, ``"cpu"`` or ``"gpu"``.

    Raises:
        InvalidInput: the folder cannot be written or holds a run of another recipe.
        DataSetMissing: the data is not on this machine.
        KeyboardInterrupt: Ctrl-C; calling again goes on.
    """
    from lowbit.training.fit import Plan, fit
    from lowbit.training.lightning import world

    rank, processes = world()
    folder = _claim(Path(out), recipe, write=rank == 0)
    if (folder / RESULT).exists():
        return load_run(folder)
    if recipe.batch % processes:
        raise InvalidInput(f"batch is {recipe.batch}, which {processes} processes cannot share equally")
    data = load_data(recipe)
    model = float_network(recipe, data)
    batches = Batches(
        data.train_x, data.train_y, size=recipe.batch // processes, seed=recipe.seed,
        augment=recipe.augmentation if recipe.epochs else (), rank=rank, world_size=processes,
    )  # fmt: skip
    before: dict[str, Any] = {}
    if recipe.pretrain:
        if recipe.epochs and not (folder / FLOAT / RESULT).exists():
            _rehearse(recipe, data, batches)
        try:
            started = train(recipe.float_part(), folder / FLOAT, progress=progress, accelerator=accelerator)
        except InvalidInput as error:
            raise InvalidInput(f"pretrain: {error}") from error
        model.load_state_dict(started.model.state_dict())
        before = {"float_accuracy": started.result["accuracy"]}
        seed_everything(recipe.seed)  # whether the float training ran now or before, which draws other numbers
    elif recipe.start:
        before = _start(recipe, start_folder(recipe, folder) or Path(), model, data)
    procedure = made(recipe)
    if "start_accuracy" not in before:  # else it has its quantizers already
        procedure.before_prepare(model)
        calibrated(recipe, quantized(recipe, model, data), data)
    rows: list[Row] = []
    if recipe.epochs == 0 and procedure.works_untrained:
        optimizer = make_optimizer(model, **recipe.optimizer.model_dump())
        procedure.start(Run(model=model, optimizer=optimizer, batches=batches))
    scores: list[Score] = []

    def found() -> Score:
        scores[:] = [evaluate(model, data.test_x, data.test_y, soft=procedure.compares_soft)]
        return scores[0]

    if recipe.epochs:
        rows = fit(
            model,
            batches,
            Plan(
                epochs=recipe.epochs,
                optimizer=recipe.optimizer,
                schedule=recipe.schedule,
                evaluate_every=recipe.evaluate_every,
            ),
            procedure=procedure,
            evaluate=found,
            folder=folder,
            title=folder.name if progress else None,
            accelerator=accelerator,
        )
    model.eval()
    # Evaluating after the last epoch has given the score already, unless that was before an interruption.
    return finish(folder, recipe, model, data, rows, before, score=scores[0] if scores else None, write=rank == 0)


def _rehearse(recipe: Recipe, data: DataSet, batches: Batches) -> None:
    """Refuse before the float training what could not work after it, on a network that is thrown away."""
    procedure, model = made(recipe), float_network(recipe, data)
    procedure.before_prepare(model)
    calibrated(recipe, quantized(recipe, model, data), data)
    optimizer = make_optimizer(model, **recipe.optimizer.model_dump())
    make_schedule(optimizer, **recipe.schedule.model_dump(), epochs=recipe.epochs, epoch_steps=len(batches))
    procedure.check(Run(model=model, optimizer=optimizer, steps_total=recipe.epochs * len(batches), batches=batches))


def _start(recipe: Recipe, place: Path, model: nn.Module, data: DataSet) -> dict[str, Any]:
    """Take the weights of the run in `place`, and of a low-bit run the quantizers as they were trained too.

    Returns:
        For the result: `float_accuracy`, and where the start was low-bit `start_accuracy`.
    """
    result, there = read_result(place), read_recipe(place / RECIPE)
    if not there.low_bit:
        load_weights(model, place)
        return {"float_accuracy": result["accuracy"]}
    methods = ("weight", "activation", "output", "gradient", "add", "first", "last", "rules")
    differ = [key for key in methods if getattr(there, key) != getattr(recipe, key)]
    if differ:
        raise InvalidInput(
            f"{place}: is a low-bit run with other methods (it differs in {', '.join(differ)}); start from a float "
            "run, or use the same methods"
        )
    load_weights(quantized(recipe, model, data), place)
    kept = {"float_accuracy": result["float_accuracy"]} if "float_accuracy" in result else {}
    return {**kept, "start_accuracy": result["accuracy"]}


def finish(
    folder: Path,
    recipe: Recipe,
    model: nn.Module,
    data: DataSet,
    rows: list[Row],
    extra: dict[str, Any],
    *,
    score: Score | None = None,
    write: bool = True,
) -> Trained:
    """Evaluate a network, where its score is not known yet, and leave it as a finished run in `folder`."""
    found = score or evaluate(model, data.test_x, data.test_y)
    result = {
        "title": recipe.title,
        "accuracy": found.accuracy,
        "loss": found.loss,
        "images": found.count,
        "evaluated_on": "validation" if recipe.data.validation else "test",
        **extra,
        "procedure": _short(recipe.procedure),
        "modifiers": [_short(modifier) for modifier in recipe.modifiers],
        **made(recipe).report(model),
        "epochs": recipe.epochs,
        "seconds": round(sum(row["seconds"] for row in rows), 3),
        **provenance(seed=recipe.seed, threads=torch.get_num_threads()),
    }
    if write:
        with interrupts_wait():
            save_weights(model, folder)
            if rows:
                write_log(folder / LOG, rows)
            write_text(folder / RESULT, json.dumps(result, indent=2) + "\n")
    return Trained(folder=folder, recipe=recipe, model=model, data=data, rows=rows, result=result)


def _short(part: Named) -> str | dict[str, Any]:
    """As one writes it in a recipe: the name alone where there are no options."""
    return part.model_dump() if part.options else part.name


def load_run(folder: str | Path) -> Trained:
    """A finished run, its network in eval mode.

    Raises:
        InvalidInput: there is no finished run in the folder, or its files are damaged or do not fit each other.
        DataSetMissing: the data of its recipe is not on this machine.
    """
    folder = Path(folder)
    result = read_result(folder)
    recipe = read_recipe(folder / RECIPE)
    data = load_data(recipe)
    model = quantized(recipe, float_network(recipe, data), data)
    load_weights(model, folder)
    rows = read_log(folder / LOG) if (folder / LOG).exists() else []
    return Trained(folder=folder, recipe=recipe, model=model.eval(), data=data, rows=rows, result=result)


def read_result(folder: Path) -> dict[str, Any]:
    """Content of a finished run's result.json.

    Raises:
        InvalidInput: it is not there or damaged.
    """
    path = folder / RESULT
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        _check_result(found)
        return found
    except NotADirectoryError:
        raise InvalidInput(f"{folder}: is a file; give the folder of a finished run") from None
    except FileNotFoundError:
        if (folder / RECIPE).exists():
            reason = f"the training has not finished; go on with: lowbit train {folder / RECIPE} --out {folder}"
        else:
            reason = "there is no run; make one with: lowbit train RECIPE.yaml --out " + str(folder)
        raise InvalidInput(f"{folder}: {reason}") from None
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: cannot be read ({error}); delete {folder} to train the run again") from error


def _check_result(found: Any) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__} and not the result of a run")
    kinds: dict[str, Any] = {"title": str, "accuracy": (int, float), "images": int, "evaluated_on": str}
    wrong = [key for key, kind in kinds.items() if not isinstance(found.get(key), kind)]
    if wrong or not 0 <= found["accuracy"] <= 100:
        raise ValueError(f"{', '.join(wrong) or 'accuracy'} is missing or wrong")


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write the network's state; tensors that several layers share are written for each."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    with replacing(folder / MODEL) as place:
        save_file(tensors, place)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read the state of `save_weights` into a network of the same kind.

    Raises:
        InvalidInput: the file is missing, damaged, or of another network.
    """
    path = folder / MODEL
    if not path.is_file():
        raise InvalidInput(f"{folder}: there is no {MODEL}; give the folder of a finished run")
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InvalidInput(f"{path}: is damaged ({error}); delete {folder} to train the run again") from error
    except RuntimeError as error:
        what = " ".join(str(error).split())[:300]
        raise InvalidInput(f"{path}: does not fit the network of the recipe: {what}") from None


def _claim(folder: Path, recipe: Recipe, *, write: bool) -> Path:
    """Make the folder, or check that it holds this recipe's run; one in which nothing was trained is anybody's."""
    place = folder / RECIPE
    if place.exists():
        there = read_recipe(place)
        old, new = there.model_dump(), recipe.model_dump()
        if same_start(there, recipe, folder):
            old["start"] = new["start"]
        differ = [key for key in new if new[key] != old[key]]
        if differ and any((folder / name).exists() for name in (CHECKPOINT, LOG, MODEL, RESULT)):
            raise InvalidInput(
                f"{folder}: holds a run of another recipe (it differs in {', '.join(differ)}); choose another --out"
            )
        if not differ:
            return folder
    if write:
        make_folder(folder)
        write_text(place, recipe.to_yaml())
    return folder
