"""Write docs/methods/: one page a method, with its drawn transfer function and surrogate gradient, and an index.

    python scripts/method_pages.py [--check]

Everything comes from the catalogue: the card, the docstring, and the quantizer itself, which is run on a line of
inputs. `--check` writes nothing and fails if a page is not up to date (pictures are only checked to exist).
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

import numpy as np
import torch

from lowbit.quantizers import METHODS, Quantizer, methods, quantizer

FOLDER = Path(__file__).parents[1] / "docs" / "methods"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"  # colour-blind safe


def curves(name: str, role: str) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Inputs, values and gradients of a method at a few widths, by label."""
    card = METHODS[name].card
    widths = [b for b in (1, 2, 3) if card.min_bits <= b <= card.max_bits][-2:]
    found = {}
    for bits in widths:
        try:
            q = quantizer(f"{name}:{bits}@tensor", role=role).eval()
            torch.manual_seed(0)
            q.calibrate(torch.randn(4096) * 0.6 if role != "weight" else torch.linspace(-1.5, 1.5, 601))
        except ValueError:
            continue
        x = torch.linspace(-1.5, 1.5, 601, requires_grad=True)
        y = q(x)
        y.sum().backward()
        assert x.grad is not None
        found[f"{bits} bit" + "s" * (bits > 1)] = (x.detach().numpy(), y.detach().numpy(), x.grad.numpy())
    return found


def draw(name: str, path: Path) -> None:
    """An SVG with one row a role: transfer function left, surrogate gradient right."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    rows = {role: found for role in roles(METHODS[name]) if (found := curves(name, role))}
    figure, axes = pyplot.subplots(len(rows), 2, figsize=(7, 2.4 * len(rows)), squeeze=False, layout="constrained")
    for (role, found), (left, right) in zip(rows.items(), axes, strict=True):
        left.plot([-1.5, 1.5], [-1.5, 1.5], color=GREY, linewidth=0.8)
        for (label, (x, y, g)), colour in zip(found.items(), (BLUE, ORANGE), strict=False):
            left.plot(x, y, color=colour, label=label, linewidth=1.4)
            right.plot(x, g, color=colour, label=label, linewidth=1.4)
        left.set(title=f"{role}: value", xlabel="x")
        right.set(title=f"{role}: gradient dq/dx", xlabel="x")
        slopes = np.concatenate([g for _, _, g in found.values()])
        right.set_ylim(min(-0.1, 1.1 * slopes.min()), max(1.2, 1.1 * slopes.max()))
        left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def roles(method: type[Quantizer]) -> list[str]:
    """Roles that a method can be drawn in."""
    return [role for letter, role in (("W", "weight"), ("A", "activation")) if letter in method.card.kind]


def page(row: dict) -> str:
    """Markdown of one method."""
    name = row["name"]
    lines = inspect.getdoc(METHODS[name]).splitlines()
    options = ", ".join(f"`{k}` (default `{v!r}`)" for k, v in row["options"].items()) or "none"
    return "\n".join([
        f"# {name}", "", lines[0], "", f"![value and gradient of {name}]({name}.svg)", "",
        "| | |", "| --- | --- |", f"| family | {row['family']} |", f"| quantizes | {row['kind']} |",
        f"| bits | {row['bits']} |", f"| grid | {row['grid']} |", f"| learned | {row['learned'] or '-'} |",
        f"| options | {options} |", f"| source | {row['paper']}, Eq. {row['equation'] or '-'} |", "",
        "```text", *lines[1:], "```", "", f"Code: `{METHODS[name].__module__.replace('.', '/')}.py`", "",
    ])  # fmt: skip


def index(rows: list[dict]) -> str:
    """Markdown of the table of all methods."""
    table = [
        f"| [{r['name']}]({r['name']}.md) | {r['kind']} | {r['bits']} | {r['grid']} | {r['learned'] or '-'} "
        f"| {r['paper']} | {r['summary']} |"
        for r in rows
    ]
    return "\n".join([
        "# Methods", "", "Made by `scripts/method_pages.py` from the catalogue; `lowbit methods` prints the same.", "",
        "| method | W/A/G | bits | grid | learned | source | |", "| --- | --- | --- | --- | --- | --- | --- |",
        *table, "",
    ])  # fmt: skip


def main() -> int:
    """Write, or check; 1 if something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    rows = methods()
    pages = {"README.md": index(rows)} | {f"{r['name']}.md": page(r) for r in rows}
    if check:
        stale = [n for n, text in pages.items() if not (FOLDER / n).exists() or (FOLDER / n).read_text() != text]
        stale += [f"{r['name']}.svg" for r in rows if not (FOLDER / f"{r['name']}.svg").exists()]
        print(f"out of date, run python scripts/method_pages.py: {', '.join(stale)}" if stale else "up to date")
        return int(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
    for row in rows:
        draw(row["name"], FOLDER / f"{row['name']}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
