"""The nearest name: case and the order of letters do not hide it."""

import pytest

from lowbit.errors import unknown

NAMES = ["lq", "lsq", "laq", "pact", "LayerNorm"]


@pytest.mark.parametrize(
    ("given", "near"), [("lqs", "lsq"), ("LSQ", "lsq"), ("ql", "lq"), ("PCAT", "pact"), ("layernorm", "LayerNorm")]
)
def test_the_nearest_name(given: str, near: str) -> None:
    assert f"unknown method {given!r}; did you mean {near!r}? Known: " in str(unknown("method", given, NAMES))


def test_no_name_is_near() -> None:
    assert str(unknown("method", 3, NAMES)) == "unknown method 3. Known: LayerNorm, laq, lq, lsq, pact"
