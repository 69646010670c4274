"""Timings as text, ratios first: they are what lasts."""

from __future__ import annotations

from typing import Any


def bench_text(found: dict[str, Any]) -> str:
    """The result of `bench_file` or `bench_layers` as a table for people."""
    lines = []
    if found["kind"] == "file":
        machine = found["machine"]["processor"]
        lines.append(f"{found['file']}, batch {found['batch']}, {found['threads']} thread(s), {machine}")
        if len(found["rows"]) > 1 and not found["same_network"]:
            lines.append("the others run a float network of the same layer shapes; --run gives them the trained one")
        lines.append(f"{'':<24}{'time / lowbit':>14}{'us / image':>12}{'bytes':>10}{'spread':>9}")
        for row in found["rows"]:
            size = "" if row["bytes"] is None else f"{row['bytes']:,}"
            lines.append(
                f"{row['name']:<24}{row['ratio']:>14.2f}{row['us_per_image']:>12.1f}{size:>10}{row['spread']:>9.0%}"
            )
    else:
        lines.append(f"single layers, batch 1, {found['threads']} thread(s), {found['machine']['processor']}")
        others = [name for name in found["rows"][0]["us"] if name != "lowbit"]
        heads = "".join(f"{name.replace('onnxruntime', 'ORT') + ' / lowbit':>23}" for name in others)
        lines.append(f"{'layer':<26}{'bits':<8}{'us':>10}{heads}{'us inside':>11}{'GOP/s':>8}")
        for row in found["rows"]:
            ratios = "".join(f"{row['ratio'][name]:>23.2f}" for name in others)
            lines.append(
                f"{row['layer']:<26}{row['bits']:<8}{row['us']['lowbit']:>10.1f}{ratios}"
                f"{row['us_inside']:>11.1f}{row['gops']:>8.0f}"
            )
        lines.append("us: float input to float output; inside: packed codes to packed codes, as between layers")
    if found["noisy"]:
        lines.append("the machine was busy: times spread by more than 15 %, so repeat before quoting any of this")
    return "\n".join(lines)
