"""What a report shows, as plain data: `report.json` is exactly this, the page is drawn from it.

title, lead        texts
cards              [{label, value, note}]
contenders         [{name, kind, ours, data, accuracy, bytes, us_1, us_1_low, us_1_high, us_64, spread, over_float,
                     timed_by, reason}]; missing numbers are None; kind is a key of `lowbit.report.pareto.KINDS`; reason
                     says why a network is not packed, not exact, or not measured
fronts             {bytes: [name], us_1: [name]}, those that none beats in accuracy and this cost; only of runs
layers             [{run, layer, kind, W, A, grid, activation_grid, kernel, parameters, MACs, bytes, exact,
                     weight_sqnr, activation_sqnr}]
curves             [{name, rows, parts}], rows as in log.csv; parts of mixtures by place
notes              sentences about how the numbers were taken
provenance         of the page and its times, see `lowbit.provenance`
sources            [{name, folder, ...}], the provenance of each run; only of runs
diagnosis          see `lowbit.report.diagnosed`; only of a diagnosed run
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowbit.infer import LAYERS

Content = dict[str, Any]


def layer_kernels(net: Any, batch: int = 1) -> dict[str, str]:
    """Kernel of each layer, by the layer's name, of a network that `runtime.load` gave and that runs `batch` inputs."""
    kernels = net.kernels(batch)
    return {op.name: kernels[op.output] for op in net.program.ops if op.kind in LAYERS and op.output in kernels}


def layer_rows(
    table: Mapping[str, Any],
    kernels: Mapping[str, str],
    errors: Mapping[str, Mapping[str, float | None]],
    run: str = "",
) -> list[dict[str, Any]]:
    """Rows of a program's summary with the kernel that runs here and the errors of the network's layer.

    Args:
        table: of `Program.summary`, as plain data.
        kernels: from `layer_kernels`.
        errors: from `lowbit.analysis.sqnr.layer_errors`.
        run: the name of the run, where there are several.
    """
    rows = []
    for row in table["rows"]:
        error = errors.get(row["layer"], {})
        rows.append(
            {
                "run": run,
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


NUMBERS = ("accuracy", "bytes", "us_1", "us_1_low", "us_1_high", "us_64", "spread", "over_float")


def contender(
    name: str,
    *,
    ours: bool = False,
    kind: str | None = None,
    data: str | None = None,
    timed_by: str | None = None,
    reason: str | None = None,
    **numbers: float | None,
) -> dict[str, Any]:
    """One row of the comparison; numbers that were not measured are None.

    Example:
        >>> contender("net", ours=True, accuracy=98.0)["kind"]
        'low-bit'
    """
    kind = kind or ("low-bit" if ours else "other")
    known = dict.fromkeys(NUMBERS)
    return {"name": name, "kind": kind, "ours": ours, "data": data, **known, **numbers, "timed_by": timed_by,
            "reason": reason}  # fmt: skip


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
