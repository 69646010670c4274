"""Timings as text, ratios first: they are what lasts."""

from __future__ import annotations

from typing import Any


def bench_text(found: dict[str, Any]) -> str:
    """The result of `bench_file` or `bench_layers` as a table for people."""
    lines = _file_lines(found) if found["kind"] == "file" else _layer_lines(found)
    cores, threads = found["machine"]["cores"], found["threads"]
    if threads > cores:
        lines.append(f"{threads} threads shared {cores} core(s): they waited for each other")
    if any("?" in line for line in lines[1:]):
        lines.append("?: the rounds disagree which of the two is faster; the machine was too noisy to tell")
    if found["noisy"]:
        lines.append("the machine was busy: times spread by more than 15 %, so repeat before quoting any of this")
    if found.get("not_installed"):
        lines.append(f"not installed here, so not measured: {', '.join(found['not_installed'])}")
    return "\n".join(lines)


def _ratio(ratio: float, decided: bool) -> str:
    return f"{ratio:.2f}{' ' if decided else '?'}"


def _file_lines(found: dict[str, Any]) -> list[str]:
    where = f"{found['threads']} thread(s), {found['isa']}, {found['machine']['processor']}"
    lines = [f"{found['file']}, batch {found['batch']}, {where}"]
    if len(found["rows"]) > 1 and not found["same_network"]:
        lines.append("the others run a float network of the same layer shapes; --run gives them the trained one")
    lines.append(f"{'':<24}{'time / lowbit ':>15}{'us / image':>12}{'bytes':>12}{'spread':>9}")
    for row in found["rows"]:
        size = "" if row["bytes"] is None else f"{row['bytes']:,}"
        lines.append(
            f"{row['name']:<24}{_ratio(row['ratio'], row['decided']):>15}{row['us_per_image']:>12.1f}{size:>12}"
            f"{row['spread']:>9.0%}"
        )
    return lines


def _layer_lines(found: dict[str, Any]) -> list[str]:
    where = f"{found['threads']} thread(s), {found['isa']}, {found['machine']['processor']}"
    others = [name for name in found["rows"][0]["us"] if name != "lowbit"]
    heads = "".join(f"{name.replace('onnxruntime', 'ORT'):>18}" for name in others)
    lines = [f"single layers, batch 1, {where}"]
    if others:
        lines.append("by the others' names: their time as a multiple of lowbit's")
    lines.append(f"{'layer':<26}{'bits':<6}{heads}{'us':>10}{'us inside':>11}{'GOP/s':>8}")
    for row in found["rows"]:
        ratios = "".join(f"{_ratio(row['ratio'][name], row['decided'][name]):>18}" for name in others)
        lines.append(
            f"{row['layer']:<26}{row['bits']:<6}{ratios}{row['us']['lowbit']:>10.1f}{row['us_inside']:>11.1f}"
            f"{row['gops']:>8.0f}"
        )
    lines.append("us: float input to float output; inside: packed codes to packed codes, as between layers")
    return lines
