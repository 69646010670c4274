"""`lowbit report` on small runs: times of all, marked runs, wrong use, and a page that nothing is missing from."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from lowbit.cli import main
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train
from tests.cli.conftest import FLOAT


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "wide"
    recipe = FLOAT.replace("epochs: 3", "epochs: 2") + "weight: lsq:10\nactivation: lsq:10\ntitle: Ten bits\n"
    train(parse_recipe(recipe), folder, progress=False, accelerator="cpu")
    return folder


def changed(source, target, change):
    """A copy of a run with other weights."""
    shutil.copytree(source, target)
    weights = load_file(target / "model.safetensors")
    change(weights)
    save_file(weights, target / "model.safetensors")
    return target


def test_runs_side_by_side(capsys, float_run, low_run, wide_run, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(low_run, gone)
    recipe = (gone / "recipe.yaml").read_text()
    (gone / "recipe.yaml").write_text(recipe.replace("name: digits\n", "name: cifar10\n", 1))
    broken = changed(low_run, tmp_path / "broken", lambda weights: weights["conv2.weight"].fill_(float("nan")))
    runs = (float_run, low_run, wide_run, gone, broken)
    code, text, err = run(capsys, "report", *runs, "-o", tmp_path / "r.html")
    assert code == 0 and err.splitlines()[-1] == "report 6/6  timing, in turns"
    record = json.loads((tmp_path / "r.json").read_text())
    rows = record["contenders"]
    assert [row["kind"] for row in rows] == ["float", "low-bit", "not packed", "not packed", "not packed"]
    assert [row["timed_by"] for row in rows] == [
        "onnxruntime, float32", "lowbit", "PyTorch, float32", None, "PyTorch, float32",
    ]  # fmt: skip
    assert all(row["us_1_low"] <= row["us_1"] <= row["us_1_high"] for row in rows if row["timed_by"])
    assert "more than the 8 bits" in rows[2]["reason"] and "cifar10" in rows[3]["reason"]
    assert "conv2: its weight holds NaN" in rows[4]["reason"]
    assert rows[1]["bytes"] < rows[0]["bytes"] / 2 and rows[3]["us_1"] is None
    assert len({row["name"] for row in rows}) == 5 and rows[0]["name"] == "float"
    assert all(row["name"] in text for row in rows) and rows[3]["reason"] in text
    assert "different data" in " ".join(record["notes"]) and record["fronts"] == {"bytes": [], "us_1": []}
    assert [source["seed"] for source in record["sources"]] == [1] * 5
    page = (tmp_path / "r.html").read_text()
    assert "conv2: its weight holds NaN" in page and "<td>PyTorch, float32</td>" in page


def test_the_front_is_of_what_was_measured(capsys, float_run, low_run, tmp_path):
    code, text, _ = run(capsys, "report", float_run, low_run, "-o", tmp_path / "r.html", "--json", "--threads", "1")
    record = json.loads(text)
    assert code == 0 and record["fronts"]["bytes"][0] == "low"  # nothing is smaller
    assert {card["label"] for card in record["cards"]} == {"Most accurate", "Smallest", "Fastest"}


def test_a_layer_of_zeros(capsys, low_run, tmp_path):
    zero = changed(low_run, tmp_path / "zero", lambda weights: weights["conv2.weight"].zero_())
    code, _, err = run(capsys, "diagnose", zero, "-o", tmp_path / "r.html", "--images", "64", "--quiet")
    assert code == 0, err
    rows = json.loads((tmp_path / "r.json").read_text())["diagnosis"]["layers"]
    assert next(row for row in rows if row["layer"] == "conv2")["weight_sqnr"] is None
    assert "NaN" not in (tmp_path / "r.json").read_text() and "Infinity" not in (tmp_path / "r.json").read_text()


def test_a_layer_of_nan(capsys, low_run, tmp_path):
    broken = changed(low_run, tmp_path / "broken", lambda weights: weights["conv2.weight"].fill_(float("nan")))
    code, out, err = run(capsys, "diagnose", broken, "-o", tmp_path / "r.html", "--quiet")
    assert (code, out) == (2, "") and "conv2: the weight holds NaN" in err and err.count("\n") == 1


def test_wrong_use(capsys, float_run, tmp_path):
    page = tmp_path / "r.html"
    for words, text in (
        ((tmp_path, "-o", page), "there is no run"),
        ((float_run, float_run, "-o", page), "is given twice"),
        ((float_run, "-o", tmp_path / "no" / "r.html"), "there is no folder"),
        ((float_run, "-o", tmp_path), "is a folder"),
        ((float_run, "-o", tmp_path / "r.json"), "let it end in .html"),
        (("-o", page), "missing argument"),
    ):
        code, out, err = run(capsys, "report", *words)
        assert code == 2 and out == "" and text in err and err.count("\n") == 1


def test_a_folder_that_cannot_be_written(capsys, low_run, tmp_path, monkeypatch):
    # root may write anywhere, so the answer of the system is what is changed
    monkeypatch.setattr("lowbit.atomic.os.access", lambda place, mode: str(place) != str(tmp_path))
    for command in ("diagnose", "report"):
        code, _, err = run(capsys, command, low_run, "-o", tmp_path / "r.html")
        assert code == 2 and f"the folder {tmp_path} cannot be written" in err and err.count("\n") == 1


def test_ctrl_c_and_the_same_command_again(capsys, low_run, tmp_path, monkeypatch):
    run_ = tmp_path / "run"
    shutil.copytree(low_run, run_, ignore=shutil.ignore_patterns("diagnosis"))
    words = ("diagnose", run_, "-o", tmp_path / "r.html", "--images", "64", "--quiet")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lowbit.analysis.diagnosis.noise_table", interrupted)
        code, _, err = run(capsys, *words)
    assert code == 1 and "the same command goes on" in err and not (tmp_path / "r.html").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in (run_ / "diagnosis").rglob("*.json")}
    assert "split.json" in kept and "noise.json" not in kept
    assert run(capsys, *words)[0] == 0 and (tmp_path / "r.html").exists()
    after = {path.name: path.stat().st_mtime_ns for path in (run_ / "diagnosis").rglob("*.json")}
    assert kept.items() <= after.items() and "noise.json" in after
