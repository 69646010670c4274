"""The pool of threads under ThreadSanitizer: every part of every job once, and no data race."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
BUILD = ["-std=c++17", "-O1", "-g", "-pthread", "-fsanitize=thread"]


def test_threads_take_each_part_once_and_do_not_race(tmp_path):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++; apt-get install g++")
    program = tmp_path / "race"
    sources = [Path(__file__).with_name("workers_race.cpp"), NATIVE / "engine" / "workers.cpp"]
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of scripts/sanitize.sh
    subprocess.run([compiler, *BUILD, f"-I{NATIVE}", *sources, "-o", program], check=True, timeout=300, env=plain)
    ran = subprocess.run([program], capture_output=True, text=True, timeout=300, env=plain)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["2", "3", "5"] and not ran.stderr
