"""The examples do what they say."""

import importlib.util
from pathlib import Path

from lowbit.file import load

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_plain_loop_trains_and_converts(tmp_path):
    accuracy = example("plain_loop").main(str(tmp_path / "net.lowbit"), epochs=3)
    assert accuracy > 85
    assert load(tmp_path / "net.lowbit").exact


def test_plain_loop_is_sixteen_lines():
    text = (EXAMPLES / "plain_loop.py").read_text()
    loop = text.split("# -- the loop")[1].split("# ---")[0].splitlines()[1:]
    assert len([line for line in loop if line.strip()]) == 16
