"""What all charts share: colours that colour-blind people tell apart, never colour alone, and the page's style."""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette, in an order that also differs in lightness.
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "solid")
HEIGHT, LEGEND = 330, 19
"""Pixels of a chart, and of each entry of its legend beyond the second."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def chart(name: str, title: str, text: str, figure: go.Figure) -> dict[str, Any]:
    """A figure in the page's style, with what it says for those who cannot see it; None for one without any number.

    The legend stands above the plot, a line for each entry on a phone, so the figure grows with it.
    """
    named = [trace for trace in figure.data if trace.name and trace.showlegend is not False]
    entries = len(named) if len(named) > 1 or any(trace.showlegend for trace in named) else 0
    figure.update_layout(
        template="none",
        margin={"l": 64, "r": 16, "t": 12, "b": 52},
        height=HEIGHT + LEGEND * max(0, entries - 2),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False, automargin=True)
    drawn = json.loads(figure.to_json())
    return {"id": name, "title": title, "text": text, "figure": drawn if _has_numbers(drawn) else None}


def _has_numbers(figure: dict[str, Any]) -> bool:
    """Whether any trace has a height; a figure without would be empty axes."""
    return any(value is not None for trace in figure["data"] for value in trace.get("y", []))
