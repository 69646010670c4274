"""64-bit Arm, under an emulator: kernels equal their references, networks give the bits that they give here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lowbit.runtime import _kernels

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "aarch64"
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
NETWORKS = 60


def digest() -> str:
    """FNV-1a of the outputs of all networks on this processor, as native/check/main.cpp computes it."""
    value = 14695981039346656037
    for seed in range(NETWORKS):
        for word in _kernels.check_network(0, seed, 1):
            for byte in word.to_bytes(4, "little"):
                value = (value ^ byte) * 1099511628211 % 2**64
    return f"{value:016x}"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """What `lowbit_check`, compiled for Arm, says under the emulator."""
    missing = [tool for tool in (COMPILER, EMULATOR, "cmake", "ninja") if shutil.which(tool, path=TOOLS) is None]
    if missing:
        reason = f"no {' and no '.join(missing)}; scripts/debian.sh all installs them"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    environment = {**os.environ, "PATH": TOOLS}
    settings = ["-G", "Ninja", "-DLOWBIT_PYTHON=OFF", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(FOLDER), *settings, f"-DCMAKE_CXX_COMPILER={COMPILER}"],
        ["cmake", "--build", str(FOLDER)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = [EMULATOR, str(FOLDER / "lowbit_check")]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["scalar", "neon"])
def test_arm(lines, isa):
    found = [line.split() for line in lines if line.startswith(f"{isa} ")]
    kernels = {line[2]: line[3] for line in found if line[1] == "kernel"}
    assert kernels == dict.fromkeys(("dot8", "bits", "nibbles", "tile8", "floats", "layer", "binary_layer"), "equal")
    assert [line for line in found if line[1] == "networks"] == [[isa, "networks", str(NETWORKS), digest()]]
