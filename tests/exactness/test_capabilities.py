"""torch's side gives the same bits whatever instruction set ATen uses, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exactness.one_process import answers, made

CASES = {
    "a": ("lsq:4", "lsq:4", None, 0),
    "b": ("sawb:2@channel", "pact:3", "lsq:8", 1),
    "c": ("minmax:8", "minmax:8", "affine:6", 2),
    "d": ("twn", "affine:5", None, 3),
    "e": ("bwn", "lsq:2", "lsq:4", 4),
    "f": ("affine:8@channel", "affine:8", None, 5),
}


def run_process(capability: str, threads: int, folder: Path, names: list[str]) -> dict[str, dict[str, str]]:
    env = {
        **os.environ, "ATEN_CPU_CAPABILITY": capability, "TORCHINDUCTOR_CACHE_DIR": str(folder / f"cache_{capability}"),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    command = [sys.executable, "-m", "exactness.one_process", str(threads), *(str(folder / n) for n in names)]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["capability"].lower().replace("_", "") == capability  # the setting has taken effect
    return result["found"]


def save(folder: Path, names: list[str]) -> dict[str, dict[str, str]]:
    """Write the models; returns what this process answers."""
    here = {}
    for name in names:
        model, x = made(*CASES[name])
        (folder / name).mkdir()
        torch.save(model, folder / name / "model.pt")
        np.save(folder / name / "x.npy", x.numpy())
        here[name] = answers(model, x)
    return here


def capabilities() -> list[str]:
    """Those that this processor has, by ATen's names."""
    best = torch.backends.cpu.get_cpu_capability()
    return ["default", "avx2", "avx512"][: {"DEFAULT": 1, "AVX2": 2}.get(best, 3)]


def test_another_capability_gives_the_same_bits(tmp_path):
    here = save(tmp_path, ["a"])
    assert run_process("default", 1, tmp_path, ["a"]) == here


@pytest.mark.slow
def test_all_capabilities_and_thread_counts_give_the_same_bits(tmp_path):
    here = save(tmp_path, list(CASES))
    for capability in capabilities():
        for threads in (1, 2):
            assert run_process(capability, threads, tmp_path, list(CASES)) == here
