"""`lowbit diagnose` on small runs: the page, its JSON, resuming, printed commands that run, and wrong use."""

import json
import shlex

import pytest
import torch

from lowbit.analysis.diagnosis import STEPS
from lowbit.cli import main
from lowbit.cli.diagnosis import chosen
from lowbit.data import load
from lowbit.errors import InvalidInput
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train
from tests.cli.conftest import FLOAT


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_page_and_its_json(capsys, low_run, tmp_path):
    page = tmp_path / "report.html"
    code, text, err = run(capsys, "diagnose", low_run, "-o", page, "--images", "64")
    assert code == 0 and "Quantization costs" in text
    assert err.splitlines()[0] == f"diagnose 1/{len(STEPS)}  methods of the layers"
    assert err.splitlines()[len(STEPS) :] == [f"diagnose 1/2  packing {low_run}", "diagnose 2/2  timing, in turns"]
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["diagnosis"]["images"] == 64 and record["sources"][-1]["seed"] == 1
    assert record["diagnosis"]["cause"] in text and record["diagnosis"]["cause"] in record["lead"]
    for part in ("What to do", "Layer by layer", "Use of the levels"):
        assert part in page.read_text()
    kept = {path: path.stat().st_mtime_ns for path in (low_run / "diagnosis").rglob("*.json")}
    code, text, err = run(capsys, "diagnose", low_run, "-o", page, "--images", "64", "--json")
    again = json.loads(text)
    assert (code, err) == (0, "") and again["diagnosis"] == record["diagnosis"]
    assert kept == {path: path.stat().st_mtime_ns for path in (low_run / "diagnosis").rglob("*.json")}


def test_the_printed_command_runs(capsys, float_run, tmp_path, monkeypatch):
    """A run without training at two bits has lost much: what is printed is typed in, and trains."""
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "quantize", float_run, "--weight", "minmax:2", "--activation", "affine:8",
                       "--first", "same", "--last", "same", "--out", "low")  # fmt: skip
    assert code == 0, err
    code, text, _ = run(capsys, "diagnose", "low", "-o", "report.html", "--images", "200", "--json")
    record = json.loads(text)["diagnosis"]
    advice = record["advice"]
    assert code == 0 and advice
    assert len(record["examples"]) == len(record["tables"]["flipped"]["rows"]) > 0
    assert (tmp_path / "report.html").read_text().count("data:image/png;base64,") == len(record["examples"])
    for one in advice:
        words = shlex.split(one["action"])
        assert words[:3] == ["lowbit", "train", "low/recipe.yaml"]
        code, text, err = run(capsys, *words[1:], "--quiet")
        assert code == 0 and "%" in text, err


def test_wrong_use(capsys, float_run, low_run, tmp_path):
    page = tmp_path / "r.html"
    for words, text in (
        ((float_run, "-o", page), "is a float run; quantize it first"),
        ((tmp_path / "none", "-o", page), "there is no run"),
        ((low_run, "-o", tmp_path / "no" / "r.html"), "there is no folder"),
        ((low_run, "-o", page, "--images", "1"), "allowed are numbers from 2"),
    ):
        code, out, err = run(capsys, "diagnose", *words)
        assert code == 2 and out == "" and text in err and err.count("\n") == 1


def test_a_run_whose_data_is_gone(capsys, tmp_path):
    made = tmp_path / "run"
    train(parse_recipe(FLOAT + "weight: lsq:2\n"), made, progress=False)
    recipe = (made / "recipe.yaml").read_text()
    (made / "recipe.yaml").write_text(recipe.replace("name: digits\n", "name: cifar10\n", 1))
    code, _, err = run(capsys, "diagnose", made, "-o", tmp_path / "r.html")
    assert code in (1, 2) and "cifar10" in err and err.count("\n") <= 4 and "Traceback" not in err


def test_inputs_are_of_all_classes():
    x, y = chosen(load("digits"), 50)
    assert x.shape[0] == 50 and len(set(y.tolist())) == 10
    data = load("digits")
    object.__setattr__(data, "test_x", torch.zeros(0, 1, 8, 8))
    with pytest.raises(InvalidInput, match="'digits' has 0 test inputs"):
        chosen(data, 50)
