"""Write docs/methods/: one page a method, with its drawn transfer function and surrogate gradient, an index, and a page
of the straight-through estimators that any method takes.

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
from lowbit.quantizers.surrogates import SURROGATES, surrogate

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
            seen = torch.randn(4096) * 0.6
            # levels of sigmoid's activations start at 0: they are made for what comes out of a ReLU
            seen = torch.linspace(-1.5, 1.5, 601) if role == "weight" else seen.relu() if name == "sigmoid" else seen
            q.calibrate(seen)
        except ValueError:
            continue
        if role == "gradient":  # one sample; beside its rounded value the mean of many noisy ones
            sample = torch.linspace(-1.5, 1.5, 601)[None]
            mean = q.train()(sample.expand(1000, -1)).mean(0)
            found[f"{bits} bit" + "s" * (bits > 1)] = (sample[0].numpy(), q.eval()(sample)[0].numpy(), mean.numpy())
            continue
        end = 2.0 if role == "activation" else 1.5  # beyond the last level of hwgq
        x = torch.linspace(-1.5, end, 601, requires_grad=True)
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
        drawn = "mean of 1,000 draws" if role == "gradient" else "gradient dq/dx"
        right.set(title=f"{role}: {drawn}", xlabel="x")
        slopes = np.concatenate([g for _, _, g in found.values()])
        right.set_ylim(min(-0.1, 1.1 * slopes.min()), max(1.2, 1.1 * slopes.max()))
        left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def roles(method: type[Quantizer]) -> list[str]:
    """Roles that a method can be drawn in."""
    letters = (("W", "weight"), ("A", "activation"), ("G", "gradient"))
    return [role for letter, role in letters if letter in method.card.kind]


def pyplot():  # type: ignore[no-untyped-def]  # matplotlib is imported only where something is drawn
    """matplotlib set up so that the same numbers give the same file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "lowbit", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    return pyplot


def draw_surrogates(path: Path) -> None:
    """Every straight-through estimator over x."""
    plots = pyplot()
    x = torch.linspace(-1.75, 1.75, 701)
    figure, axes = plots.subplots(2, 3, figsize=(7, 3.6), sharex=True, layout="constrained")
    for axis, name in zip(axes.flat, SURROGATES, strict=True):
        curves = {name: {}} if name != "tanh" else {"slope 1": {}, "slope 2": {"slope": 2}}
        for (label, settings), colour in zip(curves.items(), (BLUE, ORANGE), strict=False):
            found = surrogate({"name": name, **settings})
            assert found is not None
            axis.plot(x.numpy(), found.slope(x).numpy(), color=colour, label=label, linewidth=1.4)
        axis.set(title=name, ylim=(-0.1, 2.2))
        if len(curves) > 1:
            axis.legend(frameon=False, fontsize=7, loc="upper right")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plots.close(figure)


def gap(temperatures: torch.Tensor) -> dict[str, np.ndarray]:
    """Mean |soft - hard| over the scale for `sigmoid` at each temperature, by width, on Gaussian weights."""
    found = {}
    w = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    for bits in (1, 2, 3):
        q = quantizer(f"sigmoid:{bits}", role="weight")
        q.calibrate(w)
        hard, rows = q.eval()(w), []
        for temperature in temperatures:
            q.temperature.fill_(float(temperature))
            with torch.no_grad():
                rows.append(((q.train()(w) - hard).abs().mean() / q.scale).item())
        found[f"{bits} bit" + "s" * (bits > 1)] = np.array(rows)
    return found


def draw_gap(path: Path) -> None:
    """How the soft value nears the hard one as the temperature grows."""
    plots = pyplot()
    temperatures = torch.logspace(0, 3.3, 34)
    figure, axis = plots.subplots(figsize=(5, 2.6), layout="constrained")
    for (label, rows), colour in zip(gap(temperatures).items(), (BLUE, ORANGE, GREY), strict=True):
        axis.loglog(temperatures.numpy(), rows, color=colour, label=label, linewidth=1.4)
    axis.set(xlabel="temperature T", ylabel="mean |soft - hard| / a")
    axis.legend(frameon=False, fontsize=7, loc="upper right")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plots.close(figure)


def surrogate_page() -> str:
    """Markdown of the straight-through estimators."""
    module = sys.modules["lowbit.quantizers.surrogates"]
    rows = [f"| `{name}` | {inspect.getdoc(make)} | {_settings(make)} |" for name, make in SURROGATES.items()]
    return "\n".join([
        "# Straight-through estimators", "", "Made by `scripts/method_pages.py`.", "",
        "![derivatives that stand for a quantizer's own](straight-through.svg)", "",
        "| name | dq/dx | settings |", "| --- | --- | --- |", *rows, "",
        *(inspect.getdoc(module) or "").splitlines(), "",
    ])  # fmt: skip


def _settings(make: object) -> str:
    parameters = inspect.signature(make).parameters.values()  # type: ignore[arg-type]
    return ", ".join(f"`{p.name}` (default {p.default:g})" for p in parameters) or "none"


DRAWINGS = {"straight-through.svg": draw_surrogates, "sigmoid-gap.svg": draw_gap}


def page(row: dict) -> str:
    """Markdown of one method."""
    name = row["name"]
    lines = inspect.getdoc(METHODS[name]).splitlines()
    options = ", ".join(f"`{k}` (default `{v!r}`)" for k, v in row["options"].items()) or "none"
    more = [f"![soft minus hard value over the temperature]({name}-gap.svg)", ""] if name == "sigmoid" else []
    return "\n".join([
        f"# {name}", "", lines[0], "", f"![value and gradient of {name}]({name}.svg)", "", *more,
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
        "Every method also takes `ste`, a [straight-through estimator](straight-through.md) in place of its own",
        "gradient.",
        "",
    ])  # fmt: skip


def main() -> int:
    """Write, or check; 1 if something is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    rows = methods()
    pages = {"README.md": index(rows), "straight-through.md": surrogate_page()} | {
        f"{r['name']}.md": page(r) for r in rows
    }
    if check:
        stale = [n for n, text in pages.items() if not (FOLDER / n).exists() or (FOLDER / n).read_text() != text]
        pictures = [f"{r['name']}.svg" for r in rows] + list(DRAWINGS)
        stale += [name for name in pictures if not (FOLDER / name).exists()]
        print(f"out of date, run python scripts/method_pages.py: {', '.join(stale)}" if stale else "up to date")
        return int(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text)
    for row in rows:
        draw(row["name"], FOLDER / f"{row['name']}.svg")
    for name, make in DRAWINGS.items():
        make(FOLDER / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
