"""Results say where they come from."""

import json
import sys

import pytest

from lowbit import provenance


def test_record_is_json_and_complete():
    record = json.loads(json.dumps(provenance.provenance(seed=3, threads=1)))
    assert record["seed"] == 3
    assert set(record) >= {"seed", "threads", "command", "commit", "machine", "versions", "python", "date"}
    assert record["machine"]["cores"] >= 1


def test_command_names_the_tool_not_its_path(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lowbit", "train", "a b.yaml"])
    assert provenance.command() == "lowbit train 'a b.yaml'"


@pytest.mark.parametrize("words", [["--json", "/some/file.json"], ["--json=/some/file.json"], []])
def test_a_benchmark_does_not_say_where_its_record_went(monkeypatch, words):
    monkeypatch.setattr("sys.argv", ["benchmarks/kernels.py", "conv3x3", *words, "--seconds", "1"])
    assert provenance.command() == "kernels.py conv3x3 --seconds 1"


def test_the_flag_of_the_command_line_stays(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/lowbit", "bench", "--json", "net.lowbit"])
    assert provenance.command() == "lowbit bench --json net.lowbit"
