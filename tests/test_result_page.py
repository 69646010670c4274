"""docs/results.md and docs/runtime.md say what the records beside them say, and the records are whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lowbit.reproduce import read_table

ROOT = Path(__file__).parents[1]
RECORDS = sorted(path for path in (ROOT / "docs" / "results").glob("*.json") if path.stem != "brevitas")


@pytest.mark.parametrize("script", ["result_page.py", "target_table.py", "kernel_table.py"])
def test_the_page_is_up_to_date(script: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / script), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_records_hold_what_their_tables_ask_for(path: Path) -> None:
    record, table = json.loads(path.read_text()), read_table(path.stem)
    assert [row["key"] for row in record["rows"]] == [row.key for row in table.rows_of(record["budget"])]
    for row in record["rows"]:
        seeds = [run["seed"] for run in row["runs"]]
        assert sorted(seeds + row["missing_seeds"]) == record["seeds"]
        for run in row["runs"]:
            assert run["evaluated_on"] == "test"
            assert run["images"] == (138188 if path.stem == "boo-figure2" else 10000)
            assert run["commit"]
            assert not run["commit"].endswith("+changes")
            assert set(table.measures) <= run.keys()
            assert run["machine"]["processor"]
            assert run["command"].startswith("lowbit reproduce ")
            assert not run["test_accuracy"] or run["test_accuracy"][-1] == pytest.approx(run["accuracy"], abs=0.005)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_pictures_are_there_small_and_shown(path: Path) -> None:
    picture = path.with_suffix(".png")
    if read_table(path.stem).picture is None:
        assert not picture.exists()
        return
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 400_000
    assert f"](results/{picture.name})" in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
