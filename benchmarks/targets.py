"""Everything that the runtime has a target for, each part to a JSON file of its own.

    python benchmarks/targets.py [--folder docs/runtime] [part ...]

Parts, each under two minutes: layers, matrices, networks18, networks20, avx2, threads, process. Without one, all run
one after another. Every part is a process of its own, so that no runtime's threads outlive it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PARTS = {
    "layers": ["kernels.py", "conv3x3", "--seconds", "0.5"],
    "matrices": ["kernels.py", "linear", "--seconds", "0.6"],
    "networks18": ["networks.py", "resnet18", "--seconds", "2"],
    "networks20": ["networks.py", "resnet20", "--seconds", "1"],
    "avx2": ["kernels.py", "conv3x3", "--isa", "avx2", "--seconds", "0.4"],
    "threads": ["threads.py"],
    "process": ["process.py"],
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "runtime")
    options = parser.parse_args()
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"no part {part!r}; known: {', '.join(PARTS)}")
        options.folder.mkdir(parents=True, exist_ok=True)
        script, *rest = PARTS[part]
        print(f"-- {part}", flush=True)
        file = (options.folder / f"{part}.json").resolve()
        file = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        subprocess.run([sys.executable, str(HERE / script), *rest, "--json", str(file)], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
