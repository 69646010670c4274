"""Panels of decision regions beside a table's record: a column for each network, a line for each way to quantize it.

The window, the axes and the colors are the same everywhere; black lines are the right borders. Drawn by matplotlib,
which nothing else here needs.
"""

from __future__ import annotations

import io
import statistics
from pathlib import Path
from typing import Any

from lowbit.atomic import replacing
from lowbit.data.rings import WINDOWS, borders
from lowbit.errors import MissingExtra
from lowbit.reproduce.measures import MEASURES, regions_of
from lowbit.reproduce.plan import Done, Plan

COLORS = ("#c6dff0", "#e08a1e")
"""Pale blue and orange: told apart by every kind of color blindness, and in grey."""
PANEL, DOTS = 1.5, 110
"""Inches a panel, and dots an inch."""


def draw(plan: Plan, path: Path) -> Path | None:
    """Draw what has finished; panels without a run stay empty, columns without any are left out.

    Each panel shows the first seed that has finished; below it the means over all seeds: accuracy, then measures.

    Args:
        plan: its table has a picture.
        path: of the PNG, in a folder that exists.

    Returns:
        The path, or None where nothing has finished.

    Raises:
        MissingExtra: matplotlib is not installed.
        InvalidInput: a run is damaged, or the file cannot be written.
    """
    try:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{path.name}: matplotlib is not installed; run: pip install 'lowbit[pictures]'") from error
    picture = plan.table.picture
    assert picture is not None
    here = {row.key for row in plan.rows}
    found = {
        heading: [_finished(plan, key) if key in here else [] for key in keys]
        for heading, keys in picture.columns.items()
    }
    found = {heading: runs for heading, runs in found.items() if any(runs)}
    if not found:
        return None
    size = (PANEL * len(found) + 0.5, (PANEL + 0.32) * len(picture.lines) + 0.35)
    figure = Figure(figsize=size, dpi=DOTS, layout="constrained")
    panels: Any = figure.subplots(len(picture.lines), len(found), squeeze=False)
    colors = ListedColormap(COLORS)
    (left, right), (top, bottom) = WINDOWS["literal"]
    for column, (heading, runs) in enumerate(found.items()):
        panels[0, column].set_title(heading, fontsize=9)
        for line, done in enumerate(runs):
            axes = panels[line, column]
            axes.set(xticks=[], yticks=[], aspect="equal")
            if column == 0:
                axes.set_ylabel(picture.lines[line], fontsize=9)
            if not done:
                axes.set_xlabel("not run", fontsize=7)
                continue
            regions = regions_of(done[0].folder)
            axes.imshow(
                regions, extent=(left, right, bottom, top), cmap=colors, vmin=0, vmax=1, interpolation="nearest"
            )
            for border in borders():
                axes.plot(border[:, 0], border[:, 1], color="black", linewidth=0.6)
            axes.set(xlim=(left, right), ylim=(bottom, top))
            axes.set_xlabel(_below(plan, done), fontsize=7)
    with replacing(path) as place:
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
        # Two colors of regions and smooth letters: a palette takes a third of the bytes.
        Image.open(drawn).convert("RGB").quantize(64).save(place, "PNG", optimize=True)
    return path


def _finished(plan: Plan, key: str) -> list[Done]:
    return [done for seed in plan.seeds if (done := plan.done(plan.row(key), seed)) is not None]


def _below(plan: Plan, runs: list[Done]) -> str:
    """Means over seeds: `86.3 %, noise index 1.20 %`."""
    words = [f"{statistics.fmean(float(done.result['accuracy']) for done in runs):.1f} %"]
    for name in plan.table.measures:
        words.append(f"{name.replace('_', ' ')} {statistics.fmean(MEASURES[name](d.folder) for d in runs):.2f}")
    return ", ".join(words)
