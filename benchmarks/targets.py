"""Everything that the runtime has a target for, each part to a JSON file of its own.

    python benchmarks/targets.py [--folder docs/runtime] [part ...]

Parts, each under two minutes: layers, matrices, networks18, networks20, avx2, threads, process. Without one, all run
one after another. Every part is a process of its own, so that no runtime's threads outlive it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
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
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}; known: {', '.join(PARTS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    # Moved at the end, or the records of one part would be changes in the tree that the next one is measured at.
    with tempfile.TemporaryDirectory() as place:
        try:
            for part in options.parts or PARTS:
                script, *rest = PARTS[part]
                print(f"-- {part}", flush=True)
                file = Path(place, f"{part}.json")
                subprocess.run([sys.executable, str(HERE / script), *rest, "--json", str(file)], check=True, cwd=ROOT)
        finally:
            for file in Path(place).glob("*.json"):
                shutil.copyfile(file, options.folder / file.name)


if __name__ == "__main__":
    main()
