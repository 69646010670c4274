"""The charts of a diagnosis."""

from __future__ import annotations

import math
from typing import Any

import plotly.graph_objects as go

from lowbit.report.plotting import BLUE, COLOURS, DASHES, GREEN, ORANGE, PINK, SYMBOLS, chart
from lowbit.report.training_figures import training_charts

LEVELS = 64
"""Bars of a level histogram; more levels are joined."""


def diagnosis_charts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every chart of a diagnosis, as `lowbit.report.figures.figures` gives them."""
    tables = {name: table["rows"] for name, table in record["tables"].items()}
    return [
        split_chart(tables["split"]),
        parts_chart(tables["parts"]),
        sqnr_chart(tables["sqnr"]),
        noise_chart(tables["noise"]),
        sensitivity_chart(tables["sensitivity"]),
        *(surface_chart(row) for row in tables["surface"]),
        *training_charts(tables),
    ]


def split_chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy, or agreement without labels, by what is quantized."""
    key = "agreement" if rows[0]["accuracy"] is None else "accuracy"
    figure = go.Figure()
    figure.add_bar(
        x=[row["quantized"] for row in rows],
        y=[row[key] for row in rows],
        marker={"color": [GREEN, BLUE, ORANGE, PINK], "pattern": {"shape": ["", "", "/", "x"]}},
        text=[f"{row[key]:.1f}" for row in rows],
        textposition="outside",
        hovertemplate="%{x}: %{y:.2f} %<extra></extra>",
    )
    figure.update_xaxes(title="quantized")
    figure.update_yaxes(title=f"{key}, %", range=[0, 115], tickvals=[0, 25, 50, 75, 100])
    text = "; ".join(f"{row['quantized']} quantized: {row[key]:.1f} %" for row in rows)
    return chart("split", "What weights and activations cost", text, figure)


def parts_chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Error of the answers with one tensor quantized."""
    figure = go.Figure()
    for role, colour, pattern in (("weights", BLUE, ""), ("activations", ORANGE, "/")):
        mine = [row for row in rows if row["quantized"] == role]
        figure.add_bar(
            x=[row["layer"] for row in mine],
            y=[error_of(row["sqnr"]) for row in mine],
            name=role,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{y:.3g} of the signal",
        )
    figure.update_yaxes(title="error of the answers", tickformat=".2g")
    figure.update_xaxes(type="category")
    worst = max(rows, key=lambda row: error_of(row["sqnr"]), default=None)
    text = "no tensor is quantized" if worst is None else f"the most: {worst['quantized']} of {worst['layer']}"
    return chart("parts", "Each tensor alone", text, figure)


def error_of(decibels: float | None) -> float:
    """Noise over signal; no noise where there are no decibels."""
    return 0.0 if decibels is None else 10 ** (-decibels / 10)


def sqnr_chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """SQNR of tensors, and of outputs as predicted and measured."""
    figure = go.Figure()
    lines = (
        ("weight", "weights", "markers", BLUE), ("activation", "activations", "markers", ORANGE),
        ("predicted", "output, predicted", "lines", GREEN), ("measured", "output, measured", "lines+markers", PINK),
    )  # fmt: skip
    for index, (key, name, mode, colour) in enumerate(lines):
        figure.add_scatter(
            x=[row["layer"] for row in rows],
            y=[row[key] for row in rows],
            name=name,
            mode=mode,
            line={"color": colour, "dash": DASHES[index]},
            marker={"color": colour, "symbol": SYMBOLS[index], "size": 9},
            hovertemplate="%{y:.1f} dB",
        )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="SQNR, dB (higher is better)")
    last = rows[-1]["measured"] if rows else None
    text = "the last layer's output has no noise" if last is None else f"the last layer's output has {last:.1f} dB"
    return chart("sqnr", "Signal over noise, layer by layer", text, figure)


def noise_chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Distortion and noise of weights and activations over the layers."""
    figure = go.Figure()
    for index, (mode, what) in enumerate(
        (mode, what) for mode in ("weights", "activations") for what in ("distortion", "noise")
    ):
        mine = [row for row in rows if row["quantized"] == mode]
        figure.add_scatter(
            x=[row["layer"] for row in mine],
            y=[row[what] or None for row in mine],  # a logarithm has no zero
            name=f"{what} by {mode}",
            mode="lines+markers",
            line={"color": BLUE if mode == "weights" else ORANGE, "dash": "solid" if what == "distortion" else "dot"},
            marker={"symbol": SYMBOLS[index], "size": 8},
            hovertemplate="%{y:.2e} of the signal",
        )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="share of the signal's power", type="log", exponentformat="power", dtick=1)
    ends = [row for row in rows if row["layer"] == "(output)" and row["quantized"] != "both"]
    text = "; ".join(
        f"{row['quantized']}: distortion {row['distortion'] or 0:.2g}, noise {row['noise'] or 0:.2g}" for row in ends
    )
    return chart("noise", "Distortion and noise", text, figure)


def sensitivity_chart(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Error of the answers with one tensor at each width."""
    figure = go.Figure()
    for index, (role, bits) in enumerate(sorted({(row["quantized"], row["bits"]) for row in rows}, reverse=True)):
        mine = [row for row in rows if (row["quantized"], row["bits"]) == (role, bits)]
        figure.add_scatter(
            x=[row["layer"] for row in mine],
            y=[row["error"] or None for row in mine],
            name=f"{role}, {bits} bit",
            mode="lines+markers",
            line={"color": COLOURS[index % 6], "dash": "solid" if role == "weights" else "dot"},
            marker={"symbol": SYMBOLS[index % 6], "size": 8},
            hovertemplate="%{y:.2e} of the signal",
        )
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="error of the answers", type="log", exponentformat="power", dtick=1)
    worst = max(rows, key=lambda row: row["error"], default=None)
    text = (
        "nothing can change its bits"
        if worst is None
        else f"the most sensitive: {worst['quantized']} of " + worst["layer"]
    )
    return chart("sensitivity", "Sensitivity to bits", text, figure)


def surface_chart(row: dict[str, Any]) -> dict[str, Any]:
    """Loss around the weights, in levels of equal ratio."""
    figure = go.Figure()
    figure.add_contour(
        x=row["axis"],
        y=row["axis"],
        z=[[math.log10(max(loss, 1e-12)) for loss in losses] for losses in row["losses"]],
        customdata=row["losses"],
        colorscale="Cividis",
        colorbar={"title": "log10 of loss", "thickness": 12},
        hovertemplate="(%{y:.2f}, %{x:.2f}): loss %{customdata:.4g}<extra></extra>",
    )
    figure.update_xaxes(title="second direction")
    figure.update_yaxes(title="first direction")
    text = f"roughness {row['roughness']:.3f}, {row['minima']} local minima"
    return chart(f"surface-{row['network']}", f"Loss around the weights, {row['network']} ({text})", text, figure)


def histograms(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Bars of every tensor's level histogram, for drawing without a library.

    Returns:
        Mappings with `title`, `text`, and `bars`: (x, y, width, height) in a square of 100.
    """
    found = []
    for row in record["tables"]["usage"]["rows"]:
        counts = row["counts"]
        group = -(-len(counts) // LEVELS)
        joined = [sum(counts[i : i + group]) for i in range(0, len(counts), group)]
        top, width = max(joined), 100 / len(joined)
        bars = [
            [round(value, 2) for value in ((i + 0.08) * width, 100 - 100 * n / top, 0.84 * width, 100 * n / top)]
            for i, n in enumerate(joined)
        ]
        text = f"{row['levels']} levels, {row['dead']} unused, {row['entropy']:.1f} of {row['bits']} bits"
        found.append({"title": row["layer"], "role": row["role"], "text": text, "bars": bars})
    return found
