"""Fail where a source file has more than 500 lines, or the median file 200 or more.

One idea a file: a file that grows past the limit holds two.
"""

import statistics
import sys
from pathlib import Path

FOLDERS = ("src", "native", "tests", "scripts", "benchmarks", "examples")
SUFFIXES = {".py", ".pyi", ".cpp", ".h", ".c"}
LONGEST = 500
MEDIAN = 200


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    lines = {
        path.relative_to(root): len(path.read_text(encoding="utf-8").splitlines())
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*"))
        if path.suffix in SUFFIXES
    }
    lengths = [count for count in lines.values() if count]
    too_long = {path: count for path, count in lines.items() if count > LONGEST}
    for path, count in too_long.items():
        print(f"{path}: {count} lines; at most {LONGEST} are allowed, so split it by idea", file=sys.stderr)
    median = statistics.median(lengths) if lengths else 0
    if median >= MEDIAN:
        print(f"median file: {median} lines; it must stay under {MEDIAN}", file=sys.stderr)
    print(f"{len(lengths)} files, median {median:g} lines, longest {max(lengths, default=0)}")
    return 1 if too_long or median >= MEDIAN else 0


if __name__ == "__main__":
    sys.exit(main())
