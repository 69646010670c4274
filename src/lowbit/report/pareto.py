"""Accuracy against what it costs: which networks are better than every cheaper one, and the chart of it."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from lowbit.report.plotting import BLUE, GREEN, ORANGE, PINK, SKY, chart

Row = dict[str, Any]
COSTS = {"bytes": "bytes on disk", "us_1": "µs an image, batch 1"}
"""Columns of contenders that cost something, in words."""
KINDS = {
    "low-bit": ("packed by lowbit", BLUE, "circle"),
    "float": ("float", ORANGE, "square"),
    "not packed": ("low-bit, but not packed", PINK, "x"),
    "other": ("others", SKY, "diamond"),
}


def comparable(rows: list[Row]) -> bool:
    """Whether all accuracies are of the same test data."""
    return len({row["data"] for row in rows if row["accuracy"] is not None}) < 2


def front(rows: list[Row], cost: str) -> list[int]:
    """Numbers of the rows that no other beats: none is at least as accurate and as cheap, and better in one of both.

    Args:
        rows: contenders (see `lowbit.report.content`).
        cost: a key of `COSTS`.

    Returns:
        From the cheapest to the most accurate; empty where the accuracies are of different data. Rows without either
        number take no part.

    Example:
        >>> rows = [{"data": None, "accuracy": a, "bytes": b} for a, b in ((90, 10), (95, 20), (94, 30), (90, 40))]
        >>> front(rows, "bytes")
        [0, 1]
    """
    if not comparable(rows):
        return []
    known = [i for i, row in enumerate(rows) if row["accuracy"] is not None and row[cost]]

    def beats(a: Row, b: Row) -> bool:
        no_worse = a["accuracy"] >= b["accuracy"] and a[cost] <= b[cost]
        return no_worse and (a["accuracy"] > b["accuracy"] or a[cost] < b[cost])

    found = [i for i in known if not any(beats(rows[j], rows[i]) for j in known)]
    return sorted(found, key=lambda i: (rows[i][cost], rows[i]["accuracy"], i))


def pareto_charts(rows: list[Row]) -> list[dict[str, Any]]:
    """Accuracy against bytes and against time, each with its front; points bear the numbers of the table's rows."""
    charts = (
        _chart(rows, "bytes", "size", "Accuracy and size"),
        _chart(rows, "us_1", "speed", "Accuracy and time, batch 1, one thread"),
    )
    return [one for one in charts if one is not None]


def _chart(rows: list[Row], cost: str, name: str, title: str) -> dict[str, Any] | None:
    known = [i for i, row in enumerate(rows) if row["accuracy"] is not None and row[cost]]
    if not known:
        return None
    figure = go.Figure()
    for kind, (words, colour, symbol) in KINDS.items():
        mine = [i for i in known if rows[i]["kind"] == kind]
        if not mine:
            continue
        figure.add_scatter(
            x=[rows[i][cost] for i in mine],
            y=[rows[i]["accuracy"] for i in mine],
            text=[str(i + 1) for i in mine],
            customdata=[rows[i]["name"] for i in mine],
            textposition="bottom center",
            mode="markers+text" if len(rows) > 1 else "markers",
            name=words,
            showlegend=True,
            marker={"size": 13, "symbol": symbol, "color": colour},
            hovertemplate="%{customdata}: %{y:.2f} %, %{x:,.4~r} " + COSTS[cost] + "<extra></extra>",
            error_x=_quartiles([rows[i] for i in mine]) if cost == "us_1" else None,
        )
    best = front(rows, cost)
    if len(best) > 1:
        figure.add_scatter(
            x=[rows[i][cost] for i in best],
            y=[rows[i]["accuracy"] for i in best],
            mode="lines",
            line={"color": GREEN, "dash": "dot", "shape": "hv"},
            name="Pareto front",
            hoverinfo="skip",
        )
    costs = [rows[i][cost] for i in known]
    ticks = 1 if max(costs) > 100 * min(costs) else "D2"
    figure.update_xaxes(type="log", title=f"{COSTS[cost]} (logarithmic)", tickformat="~s", dtick=ticks)
    accuracies = [rows[i]["accuracy"] for i in known]
    room = max(0.5, 0.25 * (max(accuracies) - min(accuracies)))
    figure.update_yaxes(
        title="accuracy, %", range=[max(-2, min(accuracies) - room), min(100.3, max(accuracies) + room)]
    )
    text = "; ".join(
        f"{i + 1}, {rows[i]['name']}: {rows[i]['accuracy']:.2f} %, {rows[i][cost]:,.4g} {COSTS[cost]}" for i in known
    )
    if len(best) > 1:
        text += "; on the Pareto front: " + ", ".join(str(i + 1) for i in best)
    return chart(name, title, text, figure)


def _quartiles(rows: list[Row]) -> dict[str, Any] | None:
    """Bars from the lower to the upper quartile of the times, where these are known."""
    if any(row["us_1_low"] is None or row["us_1_high"] is None for row in rows):
        return None
    above = [row["us_1_high"] - row["us_1"] for row in rows]
    return {"array": above, "arrayminus": [row["us_1"] - row["us_1_low"] for row in rows], "thickness": 1}
