"""The headline of a diagnosis: accuracy, agreement, size and speed, each beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowbit.report.content import size, times
from lowbit.report.timing import LOWBIT

Row = Mapping[str, Any]


def headline(
    own: Row, floats: Row | None, *, images: int, on: str, agreement: float | None, inputs: int
) -> list[dict[str, str]]:
    """Cards of a diagnosed run.

    Args:
        own: its contender.
        floats: the contender of the float network, or None.
        images: that its accuracy is of.
        on: "test" or "validation".
        agreement: percent of the inputs in the class that the network without quantizers gives them.
        inputs: that the agreement is of.
    """
    known = floats is not None and floats["accuracy"] is not None
    accuracy = f"of {images} {on} images" + (f"; float {floats['accuracy']:.2f} %" if floats and known else "")
    cards = [{"label": "Accuracy", "value": f"{own['accuracy']:.2f} %", "note": accuracy}]
    if agreement is not None:
        note = f"of {inputs} inputs in the class that the same network gives without quantizers"
        cards.append({"label": "Agreement with float", "value": f"{agreement:.1f} %", "note": note})
    return [*cards, _size(own, floats), _speed(own, floats)]


def _size(own: Row, floats: Row | None) -> dict[str, str]:
    if own["timed_by"] != LOWBIT:
        return {
            "label": "Size",
            "value": size(own["bytes"]),
            "note": "float weights: it cannot be packed (see notes)",
        }
    note = "packed file"
    if floats and floats["bytes"]:
        note += f", {times(floats['bytes'] / own['bytes'], 'smaller', 'larger')} than in floats"
    return {"label": "Size", "value": size(own["bytes"]), "note": note}


def _speed(own: Row, floats: Row | None) -> dict[str, str]:
    if not own["us_1"]:
        return {"label": "Speed", "value": "not measured", "note": own["reason"] or "no times were taken"}
    note = f"an image, batch 1, one thread, by {own['timed_by']}"
    if own["timed_by"] != LOWBIT:
        note += ": it cannot be packed, see the notes"
    elif floats and own["over_float"]:
        ratio = times(1 / own["over_float"], "faster", "slower")
        note += f"; {ratio} than in floats by {floats['timed_by']} ({floats['us_1']:.1f} µs)"
    return {"label": "Speed", "value": f"{own['us_1']:.1f} µs", "note": note}
