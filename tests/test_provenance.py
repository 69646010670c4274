"""Results say where they come from."""

import json
import sys

from lowbit import provenance


def test_record_is_json_and_complete():
    record = json.loads(json.dumps(provenance.provenance(seed=3, threads=1)))
    assert record["seed"] == 3
    assert set(record) >= {"seed", "threads", "command", "commit", "machine", "versions", "python", "date"}
    assert record["machine"]["cores"] >= 1


def test_command_names_the_tool_not_its_path(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/lowbit", "train", "a b.yaml"])
    assert provenance.command() == "lowbit train 'a b.yaml'"
