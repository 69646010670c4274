"""What a report shows, as plain data: `report.json` is exactly this, the page is drawn from it.

title, lead        texts
cards              [{label, value, note}]
contenders         [{name, ours, accuracy, bytes, us_1, us_64, spread}]; missing numbers are None
layers             [{layer, kind, W, A, grid, activation_grid, kernel, parameters, MACs, bytes, exact,
                     weight_sqnr, activation_sqnr}]
curves             [{name, rows}], rows as in log.csv
notes              sentences about how the numbers were taken
provenance         see `lowbit.provenance`
diagnosis          see `lowbit.report.diagnosed`; only of a diagnosed run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowbit.infer import LAYERS

Content = dict[str, Any]


def layer_kernels(net: Any) -> dict[str, str]:
    """Kernel of each layer, by the layer's name, of a network that `runtime.load` gave."""
    kernels = net.kernels()
    return {op.name: kernels[op.output] for op in net.program.ops if op.kind in LAYERS and op.output in kernels}


def layer_rows(
    table: Mapping[str, Any],
    kernels: Mapping[str, str],
    errors: Mapping[str, Mapping[str, float | None]],
) -> list[dict[str, Any]]:
    """Rows of a program's summary with the kernel that runs here and the errors of the network's layer."""
    rows = []
    for row in table["rows"]:
        error = errors.get(row["layer"], {})
        rows.append(
            {
                "layer": row["layer"],
                "kind": row["kind"],
                "W": row["W"],
                "A": row["A"],
                "grid": row["weight grid"],
                "activation_grid": row.get("activation grid"),
                "kernel": kernels.get(row["layer"]),
                "parameters": row["parameters"],
                "MACs": row["MACs"],
                "bytes": row["bytes"],
                "exact": row["exact"],
                "weight_sqnr": error.get("weight_sqnr"),
                "activation_sqnr": error.get("activation_sqnr"),
            }
        )
    return rows


def contender(name: str, *, ours: bool = False, **numbers: float | None) -> dict[str, Any]:
    """One row of the comparison; numbers that were not measured are None."""
    known = dict.fromkeys(("accuracy", "bytes", "us_1", "us_64", "spread"))
    return {"name": name, "ours": ours, **known, **numbers}


def times(value: float, more: str, less: str) -> str:
    """A ratio in words.

    Example:
        >>> times(3.21, "faster", "slower"), times(0.5, "faster", "slower")
        ('3.2 times faster', '2.0 times slower')
    """
    word, value = (more, value) if value >= 1 else (less, 1 / value)
    return f"{value:.1f} times {word}" if value < 10 else f"{value:.0f} times {word}"


def points(change: float) -> str:
    """A change of accuracy in words.

    Example:
        >>> points(-0.277), points(0.0)
        ('0.28 points less accurate', 'equally accurate')
    """
    if abs(change) < 0.005:
        return "equally accurate"
    return f"{abs(change):.2f} points {'more' if change > 0 else 'less'} accurate"


def size(count: float) -> str:
    """Bytes for people.

    Example:
        >>> size(512), size(21184), size(3_400_000)
        ('512 B', '21.2 kB', '3.4 MB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    return f"{count / 1000:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


def finite(numbers: Sequence[float | None]) -> list[float]:
    """Those that were measured."""
    return [number for number in numbers if number is not None]
