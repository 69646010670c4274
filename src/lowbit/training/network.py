"""From a recipe to its data, its float network, and its low-bit network."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import lowbit
from lowbit.data import DataSet, load
from lowbit.errors import InvalidInput
from lowbit.models import MODELS, build
from lowbit.training.randomness import seed_everything
from lowbit.training.recipes import Recipe

CALIBRATION_BATCH = 64


def load_data(recipe: Recipe) -> DataSet:
    """The recipe's data; with `validation`, held-out training inputs take the place of the test set.

    Raises:
        DataSetMissing: the files are not on this machine.
        InvalidInput: more inputs are asked for than there are.
    """
    part = recipe.data
    data = load(part.name, **part.options)
    if part.normalize:
        data = data.normalized()
    if part.validation:
        count = len(data.train_x)
        if part.validation >= count:
            raise InvalidInput(f"data.validation is {part.validation}; there are {count} training inputs")
        # Seeded apart from `choice`, so that every recipe of a comparison holds out the same inputs.
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        held, kept = order[: part.validation], order[part.validation :]
        data = replace(
            data,
            train_x=data.train_x[kept],
            train_y=data.train_y[kept],
            test_x=data.train_x[held],
            test_y=data.train_y[held],
        )
    return data.subset(train=part.train, seed=part.choice) if part.train else data


def float_network(recipe: Recipe, data: DataSet) -> nn.Module:
    """The recipe's network with fresh weights that depend on the seed alone.

    `in_channels` and `classes` are taken from the data where the recipe leaves them open.
    """
    options: dict[str, Any] = dict(recipe.model.options)
    takes = inspect.signature(MODELS[recipe.model.name]).parameters
    known = {"classes": len(data.classes), "in_channels": data.shape[0], "in_features": data.shape[0]}
    for name, value in known.items():
        if name in takes:
            options.setdefault(name, value)
    seed_everything(recipe.seed)
    return build(recipe.model.name, **options)


def quantized(recipe: Recipe, model: nn.Module, data: DataSet) -> nn.Module:
    """Put the recipe's quantizers into the network, in place; a float recipe leaves it alone.

    Raises:
        UnknownName: a method, option or rule does not exist.
        InvalidInput: it cannot be used here.
    """
    if not recipe.low_bit:
        return model
    return lowbit.prepare(
        model,
        weight=recipe.weight,
        activation=recipe.activation,
        output=recipe.output,
        gradient=recipe.gradient,
        add=recipe.add,
        first=recipe.first,
        last=recipe.last,
        rules=recipe.rules or None,
        example=data.train_x[:1],
    )


def calibrated(recipe: Recipe, model: nn.Module, data: DataSet) -> nn.Module:
    """Calibrate a prepared network on the first `calibration` training inputs, in place."""
    if recipe.low_bit:
        inputs = data.train_x[: recipe.calibration]
        lowbit.calibrate(model, inputs.split(CALIBRATION_BATCH))
    return model
