"""`lowbit doctor`: what of lowbit works on this machine, found by trying it."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata
from typing import Any

import numpy as np

from lowbit.grid import Uniform
from lowbit.program import Op, Program, Weight
from lowbit.provenance import processor, usable_cores

EXTRAS = {
    "train": ("torch", "torchvision", "lightning", "torchmetrics", "pydantic", "yaml", "typer", "rich", "sklearn",
              "scipy", "jinja2", "plotly"),
    "bench": ("onnx", "onnxruntime"),
}  # fmt: skip


def examine() -> dict[str, Any]:
    """Look at versions, extras and instruction sets, and run a small network on each.

    Returns:
        JSON-able; `healthy` is False where the runtime itself does not work or computes wrongly.
    """
    from lowbit import __version__

    native = _native()
    return {
        "healthy": native["works"],
        "lowbit": __version__,
        "python": sys.version.split()[0],
        "processor": processor(),
        "cores": usable_cores(),
        "required": {name: _version(name) for name in ("numpy", "safetensors")},
        "runtime": native,
        "extras": {name: _extra(modules) for name, modules in EXTRAS.items()},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extra(modules: tuple[str, ...]) -> dict[str, Any]:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return {"installed": not missing, "missing": missing}


def sample_program() -> Program:
    """A 2-bit convolution between a quantizer and a float output, with fixed weights."""
    weight = Uniform(bits=2, signed=True, scale=np.full(8, 0.25, np.float32))
    codes = np.random.default_rng(0).integers(-2, 2, (8, 3, 3, 3))
    settings = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "pad_mode": "zeros"}
    ops = (
        Op(kind="quantize", name="input", inputs=("input",), output="codes",
           grid=Uniform(bits=2, scale=np.array(1 / 3, np.float32))),
        Op(kind="conv", name="conv", inputs=("codes",), output="acc", weight=Weight.from_codes(codes, weight),
           attrs=settings),
        Op(kind="rescale", name="conv", inputs=("acc",), output="out"),
    )  # fmt: skip
    return Program(ops=ops, input_shape=(3, 9, 9), output="out")


def _native() -> dict[str, Any]:
    """Each instruction set: does it load, and does it give the reference's answer."""
    import tempfile
    from pathlib import Path

    program = sample_program()
    x = np.random.default_rng(1).random((2, 3, 9, 9), dtype=np.float32)
    sets: dict[str, str] = {}
    try:
        from lowbit import runtime
        from lowbit.runtime import reference
        from lowbit.runtime.engine import available

        expected = reference.run(program, x)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sample.lowbit"
            program.save(path)
            for name in available():
                same = np.array_equal(runtime.load(str(path), isa=name).run(x), expected)
                sets[name] = "works" if same else "WRONG ANSWER"
    except (ImportError, AttributeError, OSError) as error:
        return {"works": False, "problem": f"{type(error).__name__}: {error}", "sets": sets}
    works = "works" in sets.values() and "WRONG ANSWER" not in sets.values()
    return {"works": works, "problem": None if works else "no instruction set gives the right answer", "sets": sets}


def text(found: dict[str, Any]) -> str:
    """The findings for people, each problem with what to do."""
    lines = [
        f"lowbit {found['lowbit']}, python {found['python']}, {found['processor']}, {found['cores']} core(s)",
        "  ".join(f"{name} {version or 'MISSING'}" for name, version in found["required"].items()),
    ]
    native = found["runtime"]
    lines += [f"runtime {name:<10}{state}" for name, state in native["sets"].items()]
    if not native["works"]:
        lines.append(f"runtime: {native['problem']}; install lowbit again: pip install --force-reinstall lowbit")
    for name, extra in found["extras"].items():
        if extra["installed"]:
            lines.append(f"extra {name}: installed")
        else:
            lines.append(f"extra {name}: missing {', '.join(extra['missing'])}; pip install 'lowbit[{name}]'")
    lines.append("everything that is installed works" if found["healthy"] else "the runtime does not work here")
    return "\n".join(lines)
