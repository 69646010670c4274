"""Records hold for whoever types their commands."""

import pytest

from lowbit.reproduce.outcome import _anywhere


@pytest.mark.parametrize("words", ["--out /somewhere/else", "--out=/somewhere/else", "--out '/with a space'", ""])
def test_commands_without_the_folder_of_one_machine(words):
    assert _anywhere(f"lowbit reproduce x {words} --seeds 0") == "lowbit reproduce x --seeds 0"
    assert _anywhere(None) is None
