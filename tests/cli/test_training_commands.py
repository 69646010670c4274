"""train, quantize, eval, convert and methods on a small run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from lowbit.cli import main
from lowbit.file import load as load_program
from tests.cli.conftest import FLOAT


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(FLOAT)
    return path


def test_train_leaves_a_whole_run(capsys, recipe, tmp_path):
    out = tmp_path / "run"
    code, text, err = run(capsys, "train", recipe, "epochs=2", "--out", out, "--json")
    assert (code, err) == (0, "")
    assert {path.name for path in out.iterdir()} == {
        "recipe.yaml", "log.csv", "tensorboard", "checkpoint.pt", "model.safetensors", "result.json",
    }  # fmt: skip
    result = json.loads(text)
    assert result == json.loads((out / "result.json").read_text())
    assert {"accuracy", "seed", "commit", "machine", "threads", "versions", "command"} <= set(result)
    assert yaml.safe_load((out / "recipe.yaml").read_text())["epochs"] == 2
    assert len((out / "log.csv").read_text().splitlines()) == 3

    code, text, _ = run(capsys, "train", recipe, "epochs=2", "--out", out)
    assert code == 0
    assert "finished before; nothing was trained" in text
    code, _, err = run(capsys, "train", recipe, "epochs=3", "--out", out)
    assert code == 2
    assert "holds a run of another recipe (it differs in epochs); choose another --out" in err


def test_unfinished_run_says_how_to_go_on(capsys, recipe, tmp_path):
    out = tmp_path / "run"
    run(capsys, "train", recipe, "--out", out, "--quiet")
    (out / "result.json").unlink()
    code, _, err = run(capsys, "eval", out)
    assert code == 2
    assert f"the training has not finished; go on with: lowbit train {out / 'recipe.yaml'} --out {out}" in err


def test_interrupted_train_continues_with_the_same_command(recipe, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "lowbit", "train", str(recipe), "epochs=12", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (out / "log.csv").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "lowbit train: interrupted; everything finished before is saved, the same command goes on" in err
    assert "Traceback" not in err
    assert not [name for name in os.listdir(out) if name.endswith(".tmp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "resuming after epoch" in done.stderr
    assert len((out / "log.csv").read_text().splitlines()) == 13


def test_output_that_cannot_be_written(capsys, recipe, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "train", recipe, "--out", tmp_path / "file" / "run")
    assert code == 2
    assert "cannot be created" in err


def test_missing_data_set(capsys, recipe, tmp_path):
    code, _, err = run(capsys, "train", recipe, "data.name=fashion_mnist", f"data.folder={tmp_path}", "--out",
                       tmp_path / "run")  # fmt: skip
    assert code == 1
    assert err.count("\n") == 1
    assert "fashion_mnist" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weight=lsqq:2", "did you mean 'lsq'"),
        ("weight=lsq:99", "lsq takes"),
        ("rules=[{match: nothing*, weight: lsq:2}]", "nothing\\*"),
    ],
)
def test_wrong_methods_and_rules(capsys, recipe, tmp_path, change, message):
    code, _, err = run(capsys, "train", recipe, change, "--out", tmp_path / "run")
    assert code == 2
    assert message.replace("\\", "") in err
    assert err.count("\n") == 1


def test_quantize_evaluates_without_training(capsys, float_run, tmp_path):
    words = ["quantize", float_run, "--weight", "affine:8", "--activation", "affine:8"]
    code, text, _ = run(capsys, *words, "--json")
    result = json.loads(text)
    assert code == 0
    # BatchNorm is measured anew, which helps a network that was hardly trained
    assert result["accuracy"] > result["float_accuracy"] - 2
    assert result["procedure"] == {"name": "ptq", "images": 256}
    code, text, _ = run(capsys, *words, "--out", tmp_path / "ptq")
    assert code == 0
    assert "QuantConv2d" in text
    code, text, _ = run(capsys, "eval", tmp_path / "ptq", "--json")
    assert json.loads(text)["accuracy"] == pytest.approx(result["accuracy"])
    code, _, err = run(capsys, "quantize", tmp_path / "ptq", "--weight", "bwn")
    assert code == 2
    assert "is quantized already" in err


def test_eval_of_a_run_is_its_result(capsys, low_run):
    code, text, _ = run(capsys, "eval", low_run, "--json")
    assert code == 0
    assert json.loads(text)["accuracy"] == json.loads((low_run / "result.json").read_text())["accuracy"]


def test_eval_refuses_data_that_does_not_fit(capsys, low_run):
    code, _, err = run(capsys, "eval", low_run, "--data", "rings")
    assert code == 2
    assert "the network takes [1, 8, 8]" in err


def test_damaged_weights_are_named(capsys, recipe, tmp_path):
    out = tmp_path / "run"
    run(capsys, "train", recipe, "epochs=0", "--out", out, "--quiet")
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, _, err = run(capsys, "eval", out)
    assert code == 2
    assert "model.safetensors: is damaged" in err


def test_convert_refuses_a_float_run(capsys, float_run, tmp_path):
    code, _, err = run(capsys, "convert", float_run, "-o", tmp_path / "n.lowbit")
    assert code == 2
    assert "is a float run; quantize it first" in err
    assert not (tmp_path / "n.lowbit").exists()


def test_convert_compares_the_answers(capsys, low_run, tmp_path):
    code, text, err = run(capsys, "convert", low_run, "-o", tmp_path / "n.lowbit", "--json")
    assert (code, err) == (0, "")
    found = json.loads(text)
    assert found["agreement"] == 1.0
    assert found["checked"] == 256
    assert found["bytes"] == (tmp_path / "n.lowbit").stat().st_size


def test_converted_to_pixels_it_gives_the_same_answers(capsys, low_run, tmp_path):
    file = tmp_path / "bytes.lowbit"
    code, text, err = run(capsys, "convert", low_run, "-o", file, "--pixels", "--json")
    assert (code, err) == (0, "")
    assert json.loads(text)["agreement"] == 1.0
    program = load_program(file)
    assert program.input_dtype == "uint8"
    code, text, _ = run(capsys, "eval", file, "--data", "digits", "--json")
    assert code == 0
    assert json.loads(text)["accuracy"] == json.loads((low_run / "result.json").read_text())["accuracy"]


def test_report_puts_runs_side_by_side(capsys, float_run, low_run, tmp_path):
    code, text, _ = run(capsys, "report", float_run, low_run, "-o", tmp_path / "r.html")
    assert code == 0
    assert "2 run(s), 4 layers" in text
    found = json.loads((tmp_path / "r.json").read_text())
    assert [row["ours"] for row in found["contenders"]] == [False, True]
    assert found["contenders"][1]["us_1"] > 0


def test_methods_as_text_and_json(capsys):
    code, text, _ = run(capsys, "methods")
    assert code == 0
    assert "lsq" in text
    _, text, _ = run(capsys, "methods", "--json")
    assert {"name", "bits", "grid", "paper"} <= set(json.loads(text)[0])
