"""Charts of the logs of trainings: accuracy and loss, and whatever a procedure wrote beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go

from lowbit.report.plotting import COLOURS, DASHES, SYMBOLS, chart

Curve = dict[str, Any]
Chart = dict[str, Any]
EVERYWHERE = {
    "epoch", "step", "lr", "seconds", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "soft_accuracy",
}  # fmt: skip
"""Columns that have charts of their own, or none, because they say nothing about the network."""
WORDS = {
    "penalty": ("Penalty on wide parts", False),
    "penalty_share": ("Penalty over the loss of the answers", False),
    "sign_flips": ("Share of weights that changed their sign", False),
    "omega": ("Weight of the quantized part, omega", True),
    "clr": ("Factor of the cyclical learning rate", False),
    "lipschitz": ("Product of the layers' Lipschitz constants", True),
    "frozen": ("Share of weights that are frozen", False),
    "teacher_kl": ("Divergence from the teacher", True),
    "distance": ("Distance of the weights from their levels", True),
}
"""Title, and whether the axis is logarithmic, of columns that procedures log; others are shown by their own name."""


def log_charts(curves: list[Curve]) -> list[dict[str, Any]]:
    """Charts of every figure that a log holds, each with one line a run.

    Args:
        curves: `{name, rows, parts}`, rows as in log.csv; `parts` names, for a mixture, what attention/LAYER/k is of.
    """
    charts = [*_results(curves), _soft_and_hard(curves), *_attentions(curves), _temperature(curves), _softness(curves)]
    columns = dict.fromkeys(key for curve in curves for row in curve["rows"] for key in row)
    for column in columns:
        if column not in EVERYWHERE and "/" not in column and not column.startswith(("temperature", "soft")):
            title, logarithmic = WORDS.get(column, (column.replace("_", " ").capitalize(), False))
            charts.append(_of_columns(curves, [column], column.replace("_", "-"), title, logarithmic=logarithmic))
    return [one for one in charts if one is not None]


def _results(curves: list[Curve]) -> list[Chart | None]:
    made: list[Chart | None] = []
    for name, unit in (("accuracy", ", %"), ("loss", "")):
        figure = go.Figure()
        for index, curve in enumerate(curves):
            for what, width in (("test", 2.5), ("train", 1)):
                drawn = _line(figure, curve["rows"], f"{what}_{name}", f"{curve['name']}, {what}", index, width)
                if drawn and what == "train" and len(curves) > 1:
                    figure.data[-1].showlegend = False
        title = f"{name.capitalize()} while training{unit}" + (" (thin: training data)" if len(curves) > 1 else "")
        made.append(_finished(figure, name, title, axis=name, logarithmic=name == "loss"))
    return made


def _soft_and_hard(curves: list[Curve]) -> Chart | None:
    """Accuracy with the levels that training uses beside that with the levels that are kept."""
    figure = go.Figure()
    for index, curve in enumerate(curves):
        if any("soft_accuracy" in row for row in curve["rows"]):
            _line(figure, curve["rows"], "soft_accuracy", f"{curve['name']}, soft", index, 1)
            _line(figure, curve["rows"], "test_accuracy", f"{curve['name']}, hard", index, 2.5)
    return _finished(figure, "soft-hard", "Accuracy with soft and with hard levels, %", axis="accuracy")


def _attentions(curves: list[Curve]) -> list[Chart | None]:
    """For each run with learned mixtures, every layer's attention; one color and dash for each part."""
    made = []
    for number, curve in enumerate(curves):
        figure = go.Figure()
        columns = _columns(curve, lambda key: key.startswith("attention/"))
        labels: list[str] = []
        for column in columns:
            place, _, part = column.removeprefix("attention/").rpartition("/")
            names = curve.get("parts", {}).get(place, [])
            label = names[int(part)] if int(part) < len(names) else f"part {int(part) + 1}"
            fresh = label not in labels
            if fresh:
                labels.append(label)
            kind = labels.index(label)
            _line(figure, curve["rows"], column, label, kind, 1.5)
            figure.data[-1].update(
                legendgroup=label, showlegend=fresh, meta=place, hovertemplate="%{meta}: %{y:.3f}",
                mode="lines+markers", marker={"symbol": SYMBOLS[kind % 6], "size": 5},
            )  # fmt: skip
        title = "Attention of every layer" + (f": {curve['name']}" if len(curves) > 1 else "")
        made.append(_finished(figure, f"attention-{number + 1}", title, axis="attention"))
    return made


def _temperature(curves: list[Curve]) -> Chart | None:
    columns = _columns_of_all(curves, lambda key: key.startswith("temperature"))
    return _of_columns(curves, columns, "temperature", "Temperature", logarithmic=True)


def _softness(curves: list[Curve]) -> Chart | None:
    columns = _columns_of_all(curves, lambda key: key == "soft" or key.startswith("soft/"))
    return _of_columns(curves, columns, "soft", "Share of the mixture beside its largest part")


def _of_columns(
    curves: list[Curve], columns: list[str], name: str, title: str, *, logarithmic: bool = False
) -> Chart | None:
    """One chart of some columns, a line for each run and column."""
    figure = go.Figure()
    for index, curve in enumerate(curves):
        for column in columns:
            words = curve["name"] if len(columns) == 1 else f"{curve['name']}, {column}"
            place = index if len(columns) == 1 else columns.index(column) + index
            _line(figure, curve["rows"], column, words, place, 2)
    return _finished(figure, name, title, axis="", logarithmic=logarithmic)


def _columns(curve: Curve, wanted: Callable[[str], bool]) -> list[str]:
    return [key for key in dict.fromkeys(key for row in curve["rows"] for key in row) if wanted(key)]


def _columns_of_all(curves: list[Curve], wanted: Callable[[str], bool]) -> list[str]:
    return list(dict.fromkeys(key for curve in curves for key in _columns(curve, wanted)))


def _line(figure: go.Figure, rows: list[dict[str, Any]], column: str, name: str, index: int, width: float) -> bool:
    """A line of the epochs that have the column, if any has; runs differ in color and dash."""
    known = [row for row in rows if isinstance(row.get(column), (int, float))]
    if known:
        figure.add_scatter(
            x=[row["epoch"] for row in known],
            y=[row[column] for row in known],
            mode="lines" if len(known) > 1 else "markers",
            name=name,
            line={"color": COLOURS[index % 6], "width": width, "dash": DASHES[(index + index // 6) % 6]},
            opacity=1 if width > 1 else 0.7,
        )
    return bool(known)


def _finished(figure: go.Figure, name: str, title: str, *, axis: str, logarithmic: bool = False) -> Chart | None:
    """The chart, or None where no log had anything for it."""
    if not figure.data:
        return None
    figure.update_xaxes(title="epoch")
    values = [y for trace in figure.data for y in trace.y]
    settings: dict[str, Any] = {}
    if logarithmic and min(values) > 0:
        settings = {"type": "log", "exponentformat": "power", "dtick": 1 if max(values) > 100 * min(values) else "D2"}
    figure.update_yaxes(title=axis, **settings)
    ends = [f"{trace.meta or trace.name} ends at {trace.y[-1]:.3g}" for trace in figure.data]
    return chart(f"curves-{name}", title, "; ".join(ends), figure)
