"""What a table measures of its finished runs beside accuracy; claims name it as ``key.noise_index``.

A measure reads the folder of a run, so that runs that another table trained have it too. What takes time is kept in
that folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lowbit.analysis.regions import Regions, decision_regions, noise_index
from lowbit.atomic import replacing
from lowbit.data.rings import window
from lowbit.errors import InvalidInput
from lowbit.training.runs import RECIPE, load_run

REGIONS = "regions.npy"


def regions_of(folder: Path) -> Regions:
    """Decision regions of a finished run on the window of Boo's figures, uint8 [200, 200].

    Computed once and kept in the run's folder; a damaged file is computed again.

    Raises:
        InvalidInput: the run is not finished, damaged, or has no two inputs.
    """
    place = folder / REGIONS
    points = window()
    try:
        found = np.load(place)
        if found.shape == points.shape[:2]:
            return found
    except (OSError, ValueError, EOFError):
        pass
    trained = load_run(folder)
    if trained.data.shape != (2,):
        raise InvalidInput(
            f"{folder / RECIPE}: decision regions are drawn over two inputs; data set {trained.data.name!r} has "
            f"inputs of shape {list(trained.data.shape)}, use 'rings'"
        )
    found = decision_regions(trained.model, points)
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.save(file, found)
    return found


def _noise_index(folder: Path) -> float:
    return 100 * noise_index(regions_of(folder))


MEASURES: dict[str, Callable[[Path], float]] = {"noise_index": _noise_index}
"""By name; all are percentages."""

ABOUT = {"noise_index": "noise index: percent of the window's points that differ from most of their neighbors"}
"""One line on each, for people."""
