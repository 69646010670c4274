"""The report's charts as Plotly figures."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from lowbit.report.diagnosis_figures import diagnosis_charts
from lowbit.report.plotting import BLUE, COLOURS, DASHES, ORANGE, SYMBOLS, chart


def figures(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Every chart that the content has numbers for.

    Returns:
        Mappings with `id`, `title`, `text` (what the chart says, for those who cannot see it) and `figure` (JSON).
    """
    made = [size_chart(content), speed_chart(content), *curve_charts(content), layer_chart(content)]
    if content.get("diagnosis"):
        made += diagnosis_charts(content["diagnosis"])
    return [one for one in made if one is not None]


def size_chart(content: dict[str, Any]) -> dict[str, Any] | None:
    """Accuracy against bytes on disk."""
    rows = [row for row in content["contenders"] if row["bytes"] and row["accuracy"] is not None]
    if not rows:
        return None
    figure = go.Figure()
    for index, row in enumerate(rows):
        figure.add_scatter(
            x=[row["bytes"]],
            y=[row["accuracy"]],
            mode="markers",
            name=row["name"],
            marker={"size": 15 if row["ours"] else 12, "symbol": SYMBOLS[index % 6], "color": COLOURS[index % 6]},
            hovertemplate="%{y:.2f} %, %{x:,} bytes",
        )
    figure.update_xaxes(type="log", title="bytes on disk (logarithmic)", dtick="D2", tickformat="~s")
    lowest = min(row["accuracy"] for row in rows)
    highest = max(row["accuracy"] for row in rows)
    room = max(0.5, 0.25 * (highest - lowest))
    figure.update_yaxes(title="accuracy, %", range=[lowest - room, min(100.3, highest + room)])
    text = "; ".join(f"{row['name']}: {row['accuracy']:.2f} % in {row['bytes']:,} bytes" for row in rows)
    return chart("size", "Accuracy and size", text, figure)


def speed_chart(content: dict[str, Any]) -> dict[str, Any] | None:
    """Microseconds an image at batch 1 and 64."""
    rows = [row for row in content["contenders"] if row["us_1"]]
    if not rows:
        return None
    figure = go.Figure()
    # Points, not bars: a bar on a logarithmic axis has no meaningful length.
    for key, label, colour, symbol in (("us_1", "batch 1", BLUE, "circle"), ("us_64", "batch 64", ORANGE, "square")):
        if any(row[key] for row in rows):
            figure.add_scatter(
                x=[row[key] for row in rows],
                y=[row["name"] for row in rows],
                mode="markers",
                name=label,
                marker={"color": colour, "symbol": symbol, "size": 13},
                hovertemplate="%{x:.1f} µs",
            )
    figure.update_xaxes(title="µs an image (logarithmic)", type="log", dtick=1, minor={"dtick": "D1", "showgrid": True})
    figure.update_yaxes(autorange="reversed")
    text = "; ".join(f"{row['name']}: {row['us_1']:.1f} µs" for row in rows)
    return chart("speed", "Time an image", text, figure)


def curve_charts(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Accuracy and loss over the epochs of every training."""
    charts = []
    for name, title, train, test in (
        ("accuracy", "Accuracy while training, %", "train_accuracy", "test_accuracy"),
        ("loss", "Loss while training", "train_loss", "test_loss"),
    ):
        figure = go.Figure()
        for index, curve in enumerate(content["curves"]):
            for key, what, width in ((test, "test", 2.5), (train, "train", 1)):
                rows = [row for row in curve["rows"] if key in row]
                figure.add_scatter(
                    x=[row["epoch"] for row in rows],
                    y=[row[key] for row in rows],
                    mode="lines",
                    name=f"{curve['name']}, {what}",
                    line={"color": COLOURS[index % 6], "width": width, "dash": DASHES[index % 6]},
                    opacity=1 if what == "test" else 0.6,
                )
        if not figure.data:
            return []
        figure.update_xaxes(title="epoch")
        figure.update_yaxes(title=name, **({"type": "log", "dtick": 1} if name == "loss" else {}))
        ends = [f"{c['name']} ends at {c['rows'][-1][test]:.3g}" for c in content["curves"] if test in c["rows"][-1]]
        charts.append(chart(f"curves-{name}", title, "; ".join(ends), figure))
    return charts


def layer_chart(content: dict[str, Any]) -> dict[str, Any] | None:
    """SQNR of weights and activations of every layer."""
    rows = content["layers"]
    if not any(row["weight_sqnr"] is not None or row["activation_sqnr"] is not None for row in rows):
        return None
    figure = go.Figure()
    for key, label, colour, pattern in (
        ("weight_sqnr", "weights", BLUE, ""),
        ("activation_sqnr", "activations", ORANGE, "/"),
    ):
        figure.add_bar(
            x=[row["layer"] for row in rows],
            y=[row[key] for row in rows],
            name=label,
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{y:.1f} dB",
        )
    figure.update_yaxes(title="SQNR, dB (higher is better)")
    text = "; ".join(f"{row['layer']}: weights {_db(row['weight_sqnr'])}, activations {_db(row['activation_sqnr'])}"
                     for row in rows)  # fmt: skip
    return chart("errors", "Quantization error of each layer", text, figure)


def _db(value: float | None) -> str:
    return "without error" if value is None else f"{value:.1f} dB"
