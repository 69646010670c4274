"""The report's charts as Plotly figures."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from lowbit.report.diagnosis_figures import diagnosis_charts
from lowbit.report.log_figures import log_charts
from lowbit.report.pareto import pareto_charts
from lowbit.report.plotting import BLUE, COLOURS, ORANGE, SYMBOLS, chart


def figures(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Every chart that the content has numbers for.

    Returns:
        Mappings with `id`, `title`, `text` (what the chart says, for those who cannot see it) and `figure` (JSON, or
        None where a chart of a diagnosis has no number to draw, which the text then explains).
    """
    made = [*pareto_charts(content["contenders"]), *log_charts(content["curves"]), layer_chart(content)]
    if content.get("diagnosis"):
        made += diagnosis_charts(content["diagnosis"])
    return [one for one in made if one is not None]


def layer_chart(content: dict[str, Any]) -> dict[str, Any] | None:
    """SQNR of weights and activations of every layer, of one run as bars and of several as points."""
    rows = content["layers"]
    if not any(row["weight_sqnr"] is not None or row["activation_sqnr"] is not None for row in rows):
        return None
    figure = go.Figure()
    runs = list(dict.fromkeys(row["run"] for row in rows))
    roles = (("weight_sqnr", "weights", BLUE, ""), ("activation_sqnr", "activations", ORANGE, "/"))
    for index, run in enumerate(runs):
        mine = [row for row in rows if row["run"] == run]
        for key, label, colour, pattern in roles:
            where = {"x": [row["layer"] for row in mine], "y": [row[key] for row in mine]}
            if len(runs) == 1:
                figure.add_bar(
                    **where, name=label, marker={"color": colour, "pattern": {"shape": pattern}},
                    hovertemplate="%{y:.1f} dB",
                )  # fmt: skip
            elif any(value is not None for value in where["y"]):
                symbol = SYMBOLS[(index + index // 6) % 6] + ("" if key == "weight_sqnr" else "-open")
                figure.add_scatter(
                    **where, name=f"{run}, {label}", mode="markers", hovertemplate="%{y:.1f} dB",
                    marker={"color": COLOURS[index % 6], "symbol": symbol, "size": 10},
                )  # fmt: skip
    figure.update_xaxes(type="category")
    figure.update_yaxes(title="SQNR, dB (higher is better)")
    text = "; ".join(
        (f"{row['run']}, " if len(runs) > 1 else "")
        + f"{row['layer']}: weights {_db(row['weight_sqnr'])}, activations {_db(row['activation_sqnr'])}"
        for row in rows
    )
    return chart("errors", "Quantization error of each layer", text, figure)


def _db(value: float | None) -> str:
    return "without error" if value is None else f"{value:.1f} dB"
