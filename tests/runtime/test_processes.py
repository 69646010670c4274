"""Threads of an engine that cannot start, and processes forked after it was made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORKED = """
import os, sys, threading, time
import numpy as np
from lowbit.runtime.engine import Engine
from runtime.programs import random_program

program, x, _ = random_program(3)
x = np.concatenate([x] * 8)
engine = Engine(program, threads=3)
want = engine.run(x)
time.sleep({pause})
child = os.fork()
if child == 0:
    alone = len(os.listdir("/proc/self/task"))
    results = []
    callers = [threading.Thread(target=lambda: results.append(engine.run(x))) for _ in range(4)]
    for caller in callers: caller.start()
    for caller in callers: caller.join()
    same = all((got == want).all() for got in results) and len(results) == 4
    engine.run(x)
    late = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > 3 and time.monotonic() < late:
        time.sleep(0.01)  # callers are still leaving
    print(same, alone, len(os.listdir("/proc/self/task")), flush=True)
    del engine
    print("gone", flush=True)
    sys.exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), (engine.run(x) == want).all())
"""
UNUSED = (
    FORKED[: FORKED.index("    alone")] + "    del engine\n    sys.exit(7)\n" + FORKED[FORKED.rindex("print(os.") :]
)
LIMITED = """
import resource, numpy as np
from lowbit.runtime.engine import Engine
from runtime.programs import random_program
program, x, _ = random_program(3)
want = Engine(program, threads=1).run(x)
before = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20, before[1]))
try:
    Engine(program, threads=256)
except RuntimeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, before)
print((Engine(program, threads=2).run(x) == want).all())
"""

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by Linux' /proc")


def output(code: str) -> list[str]:
    place = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=place)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@linux
@pytest.mark.parametrize("pause", [0, 0.05])
def test_a_forked_process_gets_threads_of_its_own(pause):
    """Forked while threads look for work, and while they sleep; several callers come at once."""
    assert output(FORKED.format(pause=pause)) == ["True 1 3", "gone", "0 True"]


@linux
def test_a_forked_process_may_drop_an_engine_that_it_never_ran():
    assert output(UNUSED.format(pause=0.05)) == ["7 True"]


@linux
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers need the address space")
def test_threads_that_the_system_refuses():
    """Each thread reserves 8 MB for its stack."""
    refused, works = output(LIMITED)
    assert refused.startswith("cannot start thread ") and " of 256: " in refused
    assert works == "True"
