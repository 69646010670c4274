"""Accuracy of the digits recipes over seeds: float, 2-bit LSQ, binary.

    python benchmarks/digits.py [--seeds 3] [--runs FOLDER]

Trains every recipe in recipes/digits with every seed (finished runs are kept, interrupted ones resumed), converts each
low-bit run and compares its logits with the eval model's, then writes docs/digits.json and docs/digits.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECIPES = {"float": "float", "W2A2 (lsq:2)": "lsq-w2a2", "W1A1 (sign)": "sign-w1a1"}
PAGE = """# Digits, three ways

scikit-learn's 1,797 digits of 8 x 8 pixels, 360 of them for testing (one image is 0.28 points); `digits_net`, 56,554
parameters; first and last layer 8 bits; accuracy of the last epoch, in percent.

{table}

Made by `python benchmarks/digits.py`; seeds, commit, machine and commands are in `digits.json`. With so few test images
differences below half a point mean nothing. `tests/training/test_accuracy.py` asserts W2A2 within 2 points of float and
W1A1 within 8.
"""


def run(recipe: str, seed: int, out: Path) -> dict:
    """Train one recipe with one seed; its result record."""
    command = ["train", f"recipes/digits/{recipe}.yaml", f"seed={seed}", "--out", str(out)]
    if not (out / "result.json").exists():
        subprocess.run([sys.executable, "-m", "lowbit", *command], cwd=ROOT, check=True)
    return json.loads((out / "result.json").read_text())


def main() -> None:
    """Train, tabulate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "digits")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    records = {
        name: [run(recipe, seed, options.runs / f"{recipe}-{seed}") for seed in range(options.seeds)]
        for name, recipe in RECIPES.items()
    }
    lines = [f"| network | {' | '.join(f'seed {s}' for s in range(options.seeds))} | mean | to float |"]
    lines.append("| --- |" + " ---: |" * (options.seeds + 2))
    base = statistics.mean(r["accuracy"] for r in records["float"])
    for name, results in records.items():
        accuracies = [r["accuracy"] for r in results]
        mean = statistics.mean(accuracies)
        cells = " | ".join(f"{a:.2f}" for a in accuracies)
        lines.append(f"| {name} | {cells} | {mean:.2f} | {mean - base:+.2f} |")
    (ROOT / "docs" / "digits.json").write_text(json.dumps(records, indent=1) + "\n")
    (ROOT / "docs" / "digits.md").write_text(PAGE.format(table="\n".join(lines)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
