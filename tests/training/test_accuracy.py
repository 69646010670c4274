"""2-bit LSQ stays within 2 points of float on digits, binary within 8; exact figures are in docs/digits.md."""

import json
from pathlib import Path

import pytest

from lowbit.cli import main

ROOT = Path(__file__).parents[2]


def accuracy(recipe: str, out: Path) -> float:
    assert main(["train", str(ROOT / "recipes" / "digits" / f"{recipe}.yaml"), "--out", str(out)]) == 0
    return json.loads((out / "result.json").read_text())["accuracy"]


@pytest.mark.slow
def test_low_bits_stay_close_to_float(tmp_path: Path) -> None:
    low = accuracy("lsq-w2a2", tmp_path / "lsq")
    full = json.loads((tmp_path / "lsq" / "float" / "result.json").read_text())["accuracy"]
    assert full > 97
    assert low >= full - 2
    assert accuracy("sign-w1a1", tmp_path / "sign") >= full - 8
