"""The content of a page about one diagnosed run: everything of `content_of`, and the diagnosis.

content["diagnosis"]   cause, images, advice, tables (see `lowbit.analysis.diagnosis`), and
                       layers    [{layer, W, A, weight, activation, measured, alone, dead, clipped, entropy, kappa,
                                   lipschitz}], one row a layer from all tables
                       examples  [{title, image}], inputs that changed their class, as PNG addresses
                       pictured  whether inputs are images
                       regions   [{title, image}], classes over two inputs, where there are two
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lowbit.analysis.diagnosis import Diagnosis
from lowbit.analysis.trials import share_of
from lowbit.report.from_runs import content_of
from lowbit.report.headline import headline
from lowbit.report.images import address
from lowbit.report.region_pictures import region_pictures
from lowbit.training.runs import Trained
from lowbit.training.starts import float_run

Show = Callable[[str, int, int], None]
PIXELS = 64
"""Larger images are shown at every second (third, ...) pixel."""


def content_of_diagnosis(trained: Trained, found: Diagnosis, x: Tensor, *, show: Show | None = None) -> dict[str, Any]:
    """What the page shows.

    Args:
        trained: the run.
        found: its diagnosis.
        x: the inputs that it was measured on.
        show: called while sizes and times are taken.
    """
    start = float_run(trained.recipe, trained.folder)
    folders = [trained.folder] if start is None else [start, trained.folder]
    content = content_of(folders, floats=True, **({} if show is None else {"show": show}))
    record = found.to_dict()
    own = content["contenders"][len(folders) - 1]
    floats = next((row for row in content["contenders"] if row["kind"] == "float"), None)
    record["layers"] = layer_rows(found)
    record["examples"] = examples(found, x, trained.data.classes)
    record["pictured"] = pictured(x)
    record["regions"] = region_pictures(trained.model, x)
    cards = headline(
        own, floats, images=trained.result["images"], on=trained.result["evaluated_on"],
        agreement=found.tables["split"].rows[3]["agreement"], inputs=found.images,
    )  # fmt: skip
    return content | {
        "title": f"Diagnosis: {own['name']}",
        "lead": found.cause,
        "cards": cards,
        "diagnosis": record,
        "notes": [
            *content["notes"],
            f"Diagnosed on {found.images} test inputs; the float network has the same weights and no quantizers.",
        ],
    }


def layer_rows(found: Diagnosis) -> list[dict[str, Any]]:
    """One row a layer, joined from the tables; None where something was not measured."""

    def by_layer(name: str) -> dict[str, Mapping[str, Any]]:
        return {row["layer"]: row for row in found.tables[name].rows}

    uses = {(row["layer"], row["role"]): row for row in found.tables["usage"].rows}
    kappas, constants, shares = by_layer("kappa"), by_layer("lipschitz"), share_of(found.tables["parts"])
    rows = []
    for row in found.tables["sqnr"].rows:
        layer = row["layer"]
        w, a = uses.get((layer, "weight"), {}), uses.get((layer, "activation"), {})
        rows.append({
            "layer": layer, "W": w.get("bits", 32), "A": a.get("bits", 32), "weight_sqnr": row["weight"],
            "activation_sqnr": row["activation"], "measured": row["measured"],
            "weight_share": _percent(shares.get((layer, "weights"))),
            "activation_share": _percent(shares.get((layer, "activations"))),
            "clipped": _percent(a.get("clipped")), "dead": w.get("dead"), "weight_entropy": w.get("entropy"),
            "activation_entropy": a.get("entropy"), "kappa": kappas.get(layer, {}).get("weight"),
            "lipschitz": constants.get(layer, {}).get("float"),
        })  # fmt: skip
    return rows


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def examples(found: Diagnosis, x: Tensor, classes: tuple[str, ...]) -> list[dict[str, str]]:
    """Images that the quantized network sees as another class; none where inputs are no images."""
    if not pictured(x):
        return []
    return [
        {
            "title": f"{classes[row['float']]} → {classes[row['quantized']]}"
            + ("" if row["label"] is None else f" (is {classes[row['label']]})"),
            "image": png(x[row["input"]]),
        }
        for row in found.tables["flipped"].rows
    ]


def pictured(x: Tensor) -> bool:
    """Whether inputs are images, gray or in color.

    Example:
        >>> pictured(torch.zeros(5, 3, 32, 32)), pictured(torch.zeros(5, 2))
        (True, False)
    """
    return x.ndim == 4 and x.shape[1] in (1, 3)


def png(image: Tensor) -> str:
    """An image [1 or 3, h, w] of any range as the address of a PNG that holds it.

    Example:
        >>> png(torch.zeros(1, 2, 2))[:22]
        'data:image/png;base64,'
    """
    step = max(1, -(-max(image.shape[1:]) // PIXELS))
    image = image[:, ::step, ::step].detach().cpu().float()
    low, high = image.min(), image.max()
    scaled = ((image - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8)
    return address(scaled)
