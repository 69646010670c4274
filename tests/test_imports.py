"""The runtime is light: what a fresh process loads, how long it takes, and what it says when torch is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lowbit
from lowbit.grid import Uniform
from lowbit.program import Op, Program, Weight

HEAVY = (
    "torch",
    "onnxruntime",
    "pandas",
    "scipy",
    "sklearn",
    "onnx",
    "lightning",
    "torchvision",
    "matplotlib",
    "plotly",
)
CPU_MS, PEAK_MB, TRIES = 150.0, 60.0, 5


def fresh(code: str, *arguments: str) -> str:
    """Output of a new Python process with one thread for every numeric library."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=dict(os.environ))
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A file of the demo network's size: 2-bit convolutions on 8 x 8 images."""
    rng = np.random.default_rng(0)
    ops, name, channels = [], "input", 1
    for i, out in enumerate((32, 64, 64)):
        weight = Weight.from_codes(rng.integers(-2, 2, (out, channels, 3, 3)), Uniform(bits=2, scale=0.1, signed=True))
        attrs = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
        ops += [
            Op(kind="quantize", name=f"c{i}", inputs=(name,), output=f"q{i}", grid=Uniform(bits=2, scale=0.5)),
            Op(kind="conv", name=f"c{i}", inputs=(f"q{i}",), output=f"a{i}", attrs=attrs, weight=weight),
            Op(kind="rescale", name=f"c{i}", inputs=(f"a{i}",), output=f"y{i}"),
        ]
        name, channels = f"y{i}", out
    ops.append(Op(kind="mean", name="pool", inputs=(name,), output="y", attrs={"keep": 0}))
    path = tmp_path_factory.mktemp("imports") / "net.lowbit"
    Program(ops=tuple(ops), input_shape=(1, 8, 8), output="y").save(path)
    return path


LOADED = "import sys; print([m for m in %r if m in sys.modules])" % (HEAVY,)  # noqa: UP031  it holds braces
RUN = """
import sys, numpy
from lowbit import runtime
runtime.load(sys.argv[1]).run(numpy.zeros((1, 1, 8, 8), "float32"))
"""


@pytest.mark.parametrize(
    "code",
    [
        "import lowbit; ",
        "from lowbit import runtime; ",
        "import lowbit; lowbit.runtime.reference; ",
        "import lowbit.runtime.engine; ",
        "import lowbit.file, lowbit.program, lowbit.grid, lowbit.pack, lowbit.infer, lowbit.errors; ",
        RUN,
        "import lowbit.cli; ",
    ],
)
def test_nothing_heavy_is_imported(code, network):
    assert fresh(code + LOADED, str(network)) == "[]"


@pytest.mark.parametrize("heavy", ["torch", "scipy"])
def test_this_test_can_fail(heavy):
    assert heavy in fresh(f"import {heavy}; " + LOADED)


def test_training_names_do_import_torch():
    assert "torch" in fresh("import lowbit; lowbit.prepare; " + LOADED)


# The peak is read from /proc: ru_maxrss of a child starts at what its parent had when it forked.
USED = """
import json, resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([1000 * (used.ru_utime + used.ru_stime), int(peak.split()[1]) / 1024]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_start_load_and_first_run_are_cheap(network):
    """Best of five, on one thread (numpy's BLAS alone takes 50 ms more to start one a core).

    A machine so busy or slow that `import numpy` takes most of the limit is allowed three quarters more than that.
    """
    bare, whole = [], []
    for _ in range(TRIES):
        bare.append(json.loads(fresh("import numpy" + USED)))
        whole.append(json.loads(fresh(RUN + USED, str(network))))
    times, peaks = zip(*whole, strict=True)
    numpy_alone = min(ms for ms, _ in bare)
    assert min(peaks) <= PEAK_MB, f"{min(peaks):.0f} MB"
    assert min(times) <= max(CPU_MS, 1.75 * numpy_alone), f"{min(times):.0f} ms, numpy alone {numpy_alone:.0f} ms"


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in %r:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""


def without(*modules: str) -> str:
    return BLOCK % (modules,)


@pytest.mark.parametrize("name", ["prepare", "convert", "calibrate", "summary", "methods", "quantizer", "procedure"])
def test_training_names_without_torch(name):
    code = without("torch") + (
        "import lowbit\n"
        f"try: lowbit.{name}\n"
        "except lowbit.MissingExtra as error: print(error)\n"
    )  # fmt: skip
    expected = f"lowbit.{name} needs torch, which the base install leaves out: pip install 'lowbit[train]'"
    assert fresh(code) == expected


def test_from_import_without_torch():
    code = without("torch") + "try: from lowbit import prepare\nexcept ImportError as error: print(error)"
    assert "pip install 'lowbit[train]'" in fresh(code)


def test_the_runtime_works_without_the_training_libraries(network):
    assert (
        fresh(without(*HEAVY, "pydantic", "typer", "rich", "yaml", "jinja2") + RUN + "print('ran')", str(network))
        == "ran"
    )


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lowbit' has no attribute 'prepair'"):
        lowbit.prepair  # noqa: B018
