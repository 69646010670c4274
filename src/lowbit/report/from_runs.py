"""The content of a report about finished runs: each one's accuracy, bytes, time, layers and curve, and who is best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lowbit.analysis.sqnr import layer_errors
from lowbit.errors import DataSetMissing, InvalidInput
from lowbit.procedures.places import places
from lowbit.provenance import provenance
from lowbit.quantizers.mixture import Mixture
from lowbit.report.content import contender, layer_kernels, layer_rows, size
from lowbit.report.pareto import COSTS, comparable, front
from lowbit.report.timing import Entrant, entrant, float_entrant, scratch, timed
from lowbit.training.log import Row, read_log
from lowbit.training.network import float_network
from lowbit.training.recipes import Recipe, read_recipe
from lowbit.training.runs import LOG, MODEL, RECIPE, Trained, load_run, read_result

ERROR_IMAGES = 256
PROVENANCE = ("seed", "commit", "command", "machine", "threads", "python", "versions", "date")
FLOATS = "the same layers in floats"
WORDS: dict[str, Callable[[float], str]] = {"accuracy": "{:.2f} %".format, "bytes": size, "us_1": "{:.1f} µs".format}
Show = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A finished run; without `trained` where its data is not on this machine, for the reason given."""

    folder: Path
    recipe: Recipe
    result: dict[str, Any]
    rows: list[Row]
    name: str
    trained: Trained | None
    reason: str | None


def content_of(
    folders: list[Path], *, floats: bool = False, show: Show = lambda name, done, total: None
) -> dict[str, Any]:
    """What a page about these runs shows.

    Args:
        folders: of finished runs.
        floats: time the last run's layers in floats too, where no other run is float.
        show: called before each run, before the timing, and at the end.

    Raises:
        InvalidInput: no folder was given or one twice, or one holds no finished run.
    """
    if not folders:
        raise InvalidInput("a report needs at least one run; give the folders of finished runs")
    runs = _opened(folders)
    many = len(runs) > 1
    contenders: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    entrants: dict[int, Entrant] = {}
    with scratch() as place:
        for index, run in enumerate(runs):
            show(f"packing {run.folder}", index, len(runs) + 1)
            own = Path(place) / str(index)
            own.mkdir()
            if run.trained is not None:
                entrants[index] = entrant(run.trained, own)
                layers += _layers(run.trained, entrants[index], run.name if many else "")
            contenders.append(_row(run, entrants.get(index)))
        if floats and runs[-1].trained is not None and not any(e.kind == "float" for e in entrants.values()):
            last = runs[-1].trained
            model = float_network(last.recipe, last.data).eval()
            size_ = 4 * sum(p.numel() for p in (*model.parameters(), *model.buffers()))
            entrants[len(runs)] = float_entrant(model, entrants[len(runs) - 1].images, Path(place), size_)
            contenders.append(_row_of_floats(entrants[len(runs)]))
        show("timing, in turns", len(runs), len(runs) + 1)
        for index, numbers in zip(entrants, timed(list(entrants.values())) if entrants else [], strict=True):
            contenders[index] |= numbers
        show("done", len(runs) + 1, len(runs) + 1)
    fronts = {cost: [contenders[i]["name"] for i in front(contenders, cost)] for cost in COSTS}
    return {
        "title": f"{len(runs)} runs" if many else runs[0].name,
        "lead": _lead(contenders[: len(runs)]),
        "cards": _cards(contenders[: len(runs)]),
        "contenders": contenders,
        "fronts": fronts,
        "layers": layers,
        "curves": [_curve(run) for run in runs if run.rows],
        "notes": _notes(contenders),
        "provenance": provenance(threads=1),
        "sources": [
            {"name": run.name, "folder": str(run.folder)} | {key: run.result.get(key) for key in PROVENANCE}
            for run in runs
        ],
    }


def _opened(folders: list[Path]) -> list[_Run]:
    """All runs, each under a name of its own."""
    places_ = [folder.resolve() for folder in folders]
    for index, place in enumerate(places_):
        if place in places_[:index]:
            raise InvalidInput(f"{folders[index]}: is given twice; give every run once")
    found = []
    for folder in folders:
        result = read_result(folder)
        recipe = read_recipe(folder / RECIPE)
        try:
            trained, reason = load_run(folder), None
        except DataSetMissing as error:
            trained, reason = None, f"not measured here: {error}"
        rows = read_log(folder / LOG) if (folder / LOG).exists() else []
        found.append((folder, recipe, result, rows, trained, reason))
    titles = [recipe.title or folder.name for folder, recipe, *_ in found]
    return [
        _Run(
            folder=folder, recipe=recipe, result=result, rows=rows, trained=trained, reason=reason,
            name=title if titles.count(title) == 1 else f"{title} ({folder})",
        )
        for title, (folder, recipe, result, rows, trained, reason) in zip(titles, found, strict=True)
    ]  # fmt: skip


def _row(run: _Run, entered: Entrant | None) -> dict[str, Any]:
    low_bit = run.recipe.low_bit
    weights = run.folder / MODEL
    kind = "not packed" if low_bit else "float"
    row = contender(
        run.name, ours=low_bit, kind=kind, data=run.recipe.data.name, accuracy=run.result["accuracy"],
        bytes=weights.stat().st_size if weights.is_file() else None, reason=run.reason,
    )  # fmt: skip
    if entered is None:
        return row
    return row | {"kind": entered.kind, "bytes": entered.bytes, "timed_by": entered.by, "reason": entered.reason}


def _row_of_floats(entered: Entrant) -> dict[str, Any]:
    reason = "random weights, to compare time and size with; there is no float run beside this one"
    reason = "; ".join(part for part in (reason, entered.reason) if part)
    return contender(FLOATS, kind="float", bytes=entered.bytes, timed_by=entered.by, reason=reason)


def _layers(trained: Trained, entered: Entrant, name: str) -> list[dict[str, Any]]:
    """Rows of a packed run's layers; none of others."""
    if entered.program is None:
        return []
    errors = layer_errors(trained.model, trained.data.test_x[:ERROR_IMAGES])
    return layer_rows(entered.program.summary().to_dict(), layer_kernels(entered.net), errors, name)


def _curve(run: _Run) -> dict[str, Any]:
    model: nn.Module | None = run.trained.model if run.trained else None
    parts = {
        place: ["float" if part is None else f"{part.card.name}:{part.bits}" for part in mixture.parts]
        for place, mixture in (places(model, Mixture) if model is not None else {}).items()
    }
    return {"name": run.name, "rows": run.rows, "parts": parts}


def in_words(row: dict[str, Any]) -> str:
    """Accuracy, bytes and time of a contender."""
    return ", ".join(words(row[key]) for key, words in WORDS.items() if row[key] is not None)


def _best(rows: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """Label, column and row of the most accurate, the smallest and the fastest; the more accurate of equals."""
    by_accuracy = sorted(rows, key=lambda row: -row["accuracy"])
    found = [("Most accurate", "accuracy", by_accuracy[0])] if comparable(rows) else []
    for label, key in (("Smallest", "bytes"), ("Fastest", "us_1")):
        known = [row for row in by_accuracy if row[key]]
        if known:
            found.append((label, key, min(known, key=lambda row: row[key])))
    return found


def _cards(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The best of several runs; accuracy, size and time of one."""
    if len(rows) > 1:
        return [
            {"label": label, "value": WORDS[key](row[key]), "note": f"{row['name']}: {in_words(row)}"}
            for label, key, row in _best(rows)
        ]
    row = rows[0]
    cards = [{"label": "Accuracy", "value": f"{row['accuracy']:.2f} %", "note": ""}]
    if row["bytes"]:
        cards.append({"label": "Size", "value": size(row["bytes"]), "note": row["reason"] or "bytes on disk"})
    if row["us_1"]:
        cards.append({"label": "Time an image", "value": f"{row['us_1']:.1f} µs", "note": f"by {row['timed_by']}"})
    return cards


def _lead(rows: list[dict[str, Any]]) -> str:
    if len(rows) == 1:
        return f"{in_words(rows[0])} an image." if rows[0]["us_1"] else f"{in_words(rows[0])}."
    best = "; ".join(f"{label.lower()}: {row['name']} ({in_words(row)})" for label, _, row in _best(rows))
    return best[:1].upper() + best[1:] + "."


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    notes = [
        "Times are medians of interleaved rounds on one thread, bars in the chart their quartiles: packed runs by "
        "lowbit, float ones by what the table names.",
        "Bytes are those of the packed file, or of the float weights.",
    ]
    notes += [f"{row['name']}: {row['reason']}." for row in rows if row["reason"]]
    if not comparable(rows):
        notes.append("The runs are on different data, so their accuracies do not compare and no Pareto front is drawn.")
    if any((row["spread"] or 0) > 0.15 for row in rows):
        notes.append("The machine was busy: times spread by more than 15 %, so repeat before quoting any of them.")
    return notes
