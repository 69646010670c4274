"""What a result must say so that it can be made again: commit, machine, threads, versions, command."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("lowbit", "numpy", "safetensors", "torch", "lightning", "onnxruntime")


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of the installed ones among `packages`, without importing them.

    Example:
        >>> sorted(versions(("numpy", "no-such-package")))
        ['numpy']
    """
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of the source tree that lowbit runs from, plus ``+changes`` where files differ; or ``unknown``.

    An installed wheel has no history; a repository that merely contains the environment is not asked.
    """
    tree = Path(__file__).resolve().parents[2]
    if not (tree / ".git").exists():
        return "unknown"
    try:
        head = _git(tree, "rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git(tree, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(tree: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(tree), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def processor() -> str:
    """The processor's name as its maker writes it, or the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def without(words: Sequence[str], option: str) -> list[str]:
    """A command line without an option and its value.

    Example:
        >>> without(["run", "--out", "/somewhere", "--seeds", "0"], "--out")
        ['run', '--seeds', '0']
    """
    return [
        word
        for word, before in zip(words, ["", *words], strict=False)
        if before != option and word != option and not word.startswith(f"{option}=")
    ]


def command() -> str:
    """The command line of this process, with ``lowbit`` for the path of its own script.

    A benchmark's ``--json FILE``, where the record goes, is left out: it says nothing of how it was made.
    """
    name = Path(sys.argv[0]).name
    if name in ("lowbit", "__main__.py"):
        return shlex.join(["lowbit", *sys.argv[1:]])
    return shlex.join([name, *without(sys.argv[1:], "--json")])


def provenance(*, seed: int | None = None, threads: int | None = None) -> dict[str, Any]:
    """A JSON-able record of where a result comes from.

    Args:
        seed: of the run, where it has one.
        threads: that the work ran with, where that is fixed.
    """
    return {
        "seed": seed,
        "threads": threads,
        "command": command(),
        "commit": commit(),
        "machine": {
            "processor": processor(),
            "architecture": platform.machine(),
            "cores": usable_cores(),
            "system": platform.platform(terse=True),
        },
        "python": platform.python_version(),
        "versions": versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
