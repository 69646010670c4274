"""`lowbit reproduce` on a small table of digits: resume row by row, printing, errors in one sentence."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from lowbit.errors import InvalidInput
from tests.cli.reproducing import reproduce, write

TABLE = """\
title: Digits in four rows
source: nobody, Table 0
recipe:
  data: {name: digits, train: 192}
  model: {name: digits_net, width: 8}
  schedule: {name: cosine, warmup: 0}
  epochs: 2
  batch: 32
  augmentation: []
seeds: [0, 1]
rows:
  - {key: float, label: float, paper: 99.5}
  - {key: w8, label: W8A8, start: float, set: {weight: "lsq:8", activation: "lsq:8", procedure: retrain}}
  - {key: ptq, label: calibrated only, start: float, set: {weight: "minmax:2", epochs: 0}}
  - {key: short, label: one epoch, set: {epochs: 1}}
claims:
  - {text: training helps, says: float >= 5}
  - {text: 8 bits are no loss, says: w8 + 1 >= float}
  - {text: faster early, says: float@1 >= short@1}
  - {text: about nothing, says: float.softness >= 3}
"""


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "four.yaml", TABLE)


def test_row_by_row_and_again(capsys, table, tmp_path):
    out = tmp_path / "out"
    code, text, err = reproduce(capsys, table, "--out", out, "--rows", "w8", "--seeds", "0")
    assert code == 0
    assert "1/2  float, seed 0" in err  # what w8 starts from
    assert "2/2  w8, seed 0" in err
    assert "ptq: seed 0" in text
    assert f"lowbit reproduce {table} --budget small --rows ptq --seeds 0 --out {out}" in text
    assert "float is run with one seed only" in text

    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
    code, text, _ = reproduce(capsys, table, "--out", out, "--json")
    record = json.loads(text)
    assert code == 0
    assert record == json.loads((out / "four.json").read_text())
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert len(list(out.glob("runs/*/result.json"))) == 8
    rows = {row["key"]: row for row in record["rows"]}
    assert [run["seed"] for run in rows["w8"]["runs"]] == [0, 1]
    accuracies = [run["accuracy"] for run in rows["float"]["runs"]]
    assert rows["float"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert rows["float"]["std"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert (rows["float"]["paper"], rows["w8"]["paper"]) == (99.5, None)
    assert all(row["resume"] is None for row in rows.values())
    assert {"commit", "machine", "command", "versions"} <= set(record)
    verdicts = {claim["text"]: claim["verdict"] for claim in record["claims"]}
    assert verdicts["training helps"] == "held"
    unread = next(claim for claim in record["claims"] if claim["text"] == "about nothing")
    assert (unread["verdict"], unread["value"]) == ("undecided", None)
    assert "unknown column of the log 'softness'" in unread["reason"]

    code, text, err = reproduce(capsys, table, "--out", out, "--show")
    assert (code, err) == (0, "")
    assert "held          training helps  (+" in text
    assert "not run" not in text


def test_rows_that_cannot_be_trained_do_not_stop_the_others(capsys, table, tmp_path):
    table.write_text(TABLE.replace("minmax:2", "minmaxx:2").replace("procedure: retrain", "procedure: re-train"))
    code, text, err = reproduce(capsys, table, "--out", tmp_path / "out", "--seeds", "0", "--quiet")
    assert code == 1
    assert "2 of 4 rows could not be trained" in err
    assert err.count("\n") == 1
    assert "unknown procedure 're-train'; did you mean 'retrain'" in text
    assert "did you mean 'minmax'" in text
    assert len(list((tmp_path / "out").glob("runs/*/result.json"))) == 2


@pytest.mark.slow
def test_two_at_a_time_give_what_one_at_a_time_gives(capsys, table, tmp_path):
    found = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        code, text, _ = reproduce(
            capsys, table, "--out", out, "--jobs", jobs, "--seeds", "0", "--threads", "1", "--json"
        )
        assert code == 0
        found.append([[run["accuracy"] for run in row["runs"]] for row in json.loads(text)["rows"]])
    assert found[0] == found[1]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_loses_nothing(table, tmp_path, jobs):
    table.write_text(TABLE.replace("epochs: 2", "epochs: 40"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lowbit", "reproduce", str(table), "--out", str(out), "--jobs", str(jobs)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob("runs/*/log.csv")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted; everything finished before is saved, the same command goes on" in err
    assert "Traceback" not in err
    assert not [name for folder in out.glob("runs/*") for name in os.listdir(folder) if name.endswith(".tmp")]
    table_of = json.loads(subprocess.run([*command, "--show", "--json"], capture_output=True, check=True).stdout)
    assert not any(row["runs"] for row in table_of["rows"] if row["key"] == "w8")


def test_wrong_words(capsys, table, tmp_path):
    for words, message in [
        (["no-such"], "unknown table 'no-such'"),
        ([table, "--rows", "w9"], "unknown row of"),
        ([table, "--budget", "tiny"], "unknown budget 'tiny'. Known: full, small"),
        ([table, "--seeds", "0,x"], "--seeds is '0,x'; write whole numbers with commas"),
        ([table, "--seeds", "0,0"], "each once"),
        ([table, "--jobs", "0"], "--jobs is 0; use 1 or more"),
    ]:
        code, _, err = reproduce(capsys, *words, "--out", tmp_path / "out")
        assert code == 2
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_missing_data_set_is_one_sentence(capsys, table, tmp_path, jobs):
    table.write_text(TABLE.replace("{name: digits, train: 192}", f"{{name: fashion_mnist, folder: {tmp_path}}}"))
    code, _, err = reproduce(capsys, table, "--out", tmp_path / "out", "--jobs", jobs)
    assert code == 1
    assert err.count("\n") == 1
    assert "data set 'fashion_mnist': no file" in err


def test_list_of_tables(capsys):
    code, text, _ = reproduce(capsys)
    assert code == 0
    assert "dqa-table1" in text
    code, text, _ = reproduce(capsys, "--json")
    assert {table["name"] for table in json.loads(text)} >= {"fashion-line", "boo-table4"}


def test_a_record_is_not_replaced_by_a_smaller_or_another_one(capsys, table, tmp_path):
    out = tmp_path / "out"
    table.write_text(TABLE.replace("epochs: 2", "epochs: 1"))
    assert reproduce(capsys, table, "--out", out, "--rows", "float,ptq")[0] == 0
    before = (out / "four.json").read_text()
    _, text, _ = reproduce(capsys, table, "--out", out, "--show", "--seeds", "0")
    assert "four.json is left as it is, since it holds 6 runs and these are 3; give all --seeds" in text
    assert (out / "four.json").read_text() == before
    table.write_text(table.read_text().replace("Digits in four rows", "Others"))
    code, _, err = reproduce(capsys, table, "--out", out, "--show")
    assert code == 2
    assert "holds the record of another table (Digits in four rows); choose another --out" in err
    assert (out / "four.json").read_text() == before


def test_a_damaged_run_does_not_hide_the_others(capsys, table, tmp_path):
    out = tmp_path / "out"
    table.write_text(TABLE.replace("epochs: 2", "epochs: 1"))
    assert reproduce(capsys, table, "--out", out, "--rows", "float,ptq", "--seeds", "0")[0] == 0
    damaged = next(out.glob("runs/*minmax*/result.json"))
    damaged.write_text("[]")
    code, text, _ = reproduce(capsys, table, "--out", out, "--show", "--seeds", "0")
    assert code == 0
    assert f"cannot be read (it holds a list and not the result of a run); delete {damaged.parent} to train" in text
    rows = {row["key"]: row for row in json.loads((out / "four.json").read_text())["rows"]}
    assert [len(rows[key]["runs"]) for key in ("float", "ptq")] == [1, 1]  # the record of two runs is kept


def test_a_row_that_fails_in_any_way_does_not_stop_the_others(capsys, table, tmp_path):
    table.write_text(
        TABLE.replace("epochs: 2", "epochs: 1").replace('weight: "lsq:8"', 'model.width: abc, weight: "lsq:8"')
    )
    code, text, err = reproduce(capsys, table, "--out", tmp_path / "out", "--seeds", "0", "--quiet")
    assert code == 1
    assert "1 of 4 rows could not be trained" in err
    assert "width of model 'digits_net' is 'abc': it should be an integer" in text
    assert len(list((tmp_path / "out").glob("runs/*/result.json"))) == 2  # of three rows, two of them alike


@pytest.mark.parametrize(
    "error", [InvalidInput("the scale fell through zero"), ZeroDivisionError("the scale fell through zero")]
)
def test_why_a_training_was_refused_is_still_known_later(capsys, table, tmp_path, monkeypatch, error):
    words = ["--out", tmp_path / "out", "--seeds", "0", "--rows", "float"]

    def refuse(recipe, folder, **_):
        folder.mkdir(parents=True)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(import_module("lowbit.reproduce.work"), "train", refuse)
        assert reproduce(capsys, table, *words, "--quiet")[0] == 1
    code, text, err = reproduce(capsys, table, *words, "--show")
    assert (code, err) == (0, "")
    assert re.search(r"float: (unexpected ZeroDivisionError: )?the scale fell through zero", text)

    code, text, err = reproduce(capsys, table, *words, "--quiet")
    assert code == 0
    assert "fell through zero" not in text


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--rows", "float", "--seeds", "0"]])
def test_a_killed_worker_leaves_the_table_and_a_reason(table, tmp_path, words):
    table.write_text(TABLE.replace("epochs: 2", "epochs: 200"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "lowbit", "reproduce", str(table), "--out", str(out), "--jobs", "2", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob("runs/*/log.csv")) and time.monotonic() < until:
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    text, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "killed from outside, perhaps for lack of memory" in text
    assert "fault in lowbit" not in err
    assert (out / "four.json").exists()
