"""Files are whole or not there, and Ctrl-C waits for them."""

import os
import signal

import pytest

from lowbit.atomic import interrupts_wait, make_folder, replacing, write_text
from lowbit.errors import InvalidInput


def test_replaces_a_file_only_when_the_block_ends_well(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as place:  # noqa: PT012
        place.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_interrupt_while_writing_waits_for_the_whole_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(KeyboardInterrupt), replacing(path) as place:  # noqa: PT012
        place.write_text("first ")
        signal.raise_signal(signal.SIGINT)
        place.write_text("whole")
    assert path.read_text() == "whole"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_is_not_lost():
    passed = False
    with pytest.raises(KeyboardInterrupt), interrupts_wait():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        passed = True
    assert passed


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"there is no folder .*create it"):
        write_text(tmp_path / "no" / "a.txt", "x")


def test_folder_in_place_of_file(tmp_path):
    with pytest.raises(InvalidInput, match="is a folder"):
        write_text(tmp_path, "x")


def test_folder_below_a_file(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(InvalidInput, match="cannot be created"):
        make_folder(tmp_path / "a" / "b")
