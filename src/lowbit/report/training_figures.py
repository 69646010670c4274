"""Charts of what a diagnosis says about training: mixtures and sigmoids against temperature, quantized gradients."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import plotly.graph_objects as go

from lowbit.report.plotting import COLOURS, DASHES, SYMBOLS, chart

Rows = list[dict[str, Any]]


def training_charts(tables: dict[str, Rows]) -> list[dict[str, Any]]:
    """Those that the network has anything to say for.

    Args:
        tables: rows by the name of the table.
    """
    made = [
        temperature_chart(tables["temperature"]),
        softness_chart(tables["softness"]),
        gradient_chart(tables["gradients"]),
    ]
    return [one for one in made if one is not None]


def temperature_chart(rows: Rows) -> dict[str, Any] | None:
    """Error of mixtures against the temperature of their softmax, mean over the layers that have the same parts."""
    if not rows:
        return None
    figure = go.Figure()
    for index, parts in enumerate(dict.fromkeys(row["parts"] for row in rows)):
        mine = [row["errors"] for row in rows if row["parts"] == parts]
        _line(figure, index, parts, rows[0]["temperatures"], [fmean(errors) for errors in zip(*mine, strict=True)],
              "T %{x}: %{y:.3g}")  # fmt: skip
    figure.update_xaxes(title="temperature", type="log", tickvals=rows[0]["temperatures"])
    figure.update_yaxes(title="mean |w - q| of the weights", rangemode="tozero")
    coldest = fmean(row["coldest"] for row in rows)
    text = f"at the lowest temperature {coldest:.3g}, at the highest {fmean(row['hottest'] for row in rows):.3g}"
    return chart("temperature", "Error of mixtures against temperature", text, figure)


def softness_chart(rows: Rows) -> dict[str, Any] | None:
    """Accuracy, or agreement without labels, of sigmoid quantizers at rising temperatures."""
    if not rows:
        return None
    figure = go.Figure()
    labelled = rows[0]["soft accuracy"] is not None
    columns = ("soft accuracy", "hard accuracy") if labelled else ("agreement",)
    for index, column in enumerate(columns):
        _line(figure, index, column, [row["temperature"] for row in rows], [row[column] for row in rows],
              "T %{x}: %{y:.2f} %")  # fmt: skip
    figure.update_xaxes(title="temperature", type="log", tickvals=[row["temperature"] for row in rows])
    figure.update_yaxes(title="accuracy, %" if labelled else "agreement, %")
    text = f"soft and hard agree on {rows[0]['agreement']:.1f} % at T {rows[0]['temperature']:g}, on " \
           f"{rows[-1]['agreement']:.1f} % at T {rows[-1]['temperature']:g}"  # fmt: skip
    return chart("softness", "Soft levels against hard ones", text, figure)


def gradient_chart(rows: Rows) -> dict[str, Any] | None:
    """What is left of every weight's update under quantized gradients."""
    if not rows:
        return None
    figure = go.Figure()
    for index, method in enumerate(dict.fromkeys(row["gradient"] for row in rows)):
        mine = [row for row in rows if row["gradient"] == method]
        _line(figure, index, "its own gradients" if method == "own" else method, [row["layer"] for row in mine],
              [row["sqnr"] for row in mine], "%{x}: %{y:.1f} dB")  # fmt: skip
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="SQNR of the update, dB")
    known = [row for row in rows if row["sqnr"] is not None]
    worst = min(known, key=lambda row: row["sqnr"], default=None)
    text = "no update changes" if worst is None else (
        f"the most is lost with {worst['gradient']} in {worst['layer']}: {worst['sqnr']:.1f} dB"
    )  # fmt: skip
    return chart("gradients", "Updates under quantized gradients", text, figure)


def _line(figure: go.Figure, index: int, name: str, x: list[Any], y: list[Any], hover: str) -> None:
    figure.add_scatter(
        x=x, y=y, name=name, mode="lines+markers", line={"color": COLOURS[index % 6], "dash": DASHES[index % 6]},
        marker={"symbol": SYMBOLS[index % 6], "size": 8}, hovertemplate=hover + "<extra></extra>",
    )  # fmt: skip
