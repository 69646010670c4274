"""run, inspect and doctor: right answers, clear refusals, and nothing but numpy and safetensors."""

import json
import subprocess
import sys

import numpy as np
import pytest

from lowbit.cli import main
from lowbit.doctor import examine

X = np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32)
BLOCKED = ("torch", "onnxruntime", "typer", "rich", "pydantic", "lightning", "pandas")


def run(capsys, *words):
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    return path


def test_run_writes_the_reference_outputs(capsys, low_file, inputs, tmp_path):
    from lowbit.file import load
    from lowbit.runtime import reference

    code, out, err = run(capsys, "run", low_file, "--input", inputs, "-o", tmp_path / "y.npy")
    assert (code, out, err) == (0, "", "")
    expected = reference.run(load(low_file), X)
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)
    np.save(inputs, X[0])
    code, out, _ = run(capsys, "run", low_file, "--input", inputs, "--json")
    assert code == 0
    assert np.array_equal(np.float32(json.loads(out)["output"]), expected[:1])


def test_run_prints_the_best_classes(capsys, low_file, inputs):
    code, out, _ = run(capsys, "run", low_file, "--input", inputs)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert out.startswith("0: class ")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (X.astype(np.float64), "input is float64, this network takes float32 [batch, 1, 8, 8]"),
        (X[:, :, :7], "input has shape [3, 1, 7, 8], this network takes [batch, 1, 8, 8]"),
        (X[:0], "input has no rows"),
        (np.where(X > 0.9, np.float32(np.nan), X), "holds NaN or infinity"),
        (np.array(["a", 1], dtype=object), "is not a .npy array"),
    ],
)
def test_run_refuses_wrong_inputs(capsys, low_file, tmp_path, array, message):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    code, out, err = run(capsys, "run", low_file, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "y.npy").exists()


def test_run_needs_a_place_to_write_before_it_works(capsys, low_file, inputs):
    code, _, err = run(capsys, "run", low_file, "--input", inputs, "-o", "/no/such/y.npy")
    assert code == 2
    assert "there is no folder /no/such" in err


@pytest.mark.parametrize("command", ["run", "inspect", "eval", "bench"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "missing"])
def test_damaged_files_are_refused(capsys, low_file, inputs, tmp_path, command, damage):
    data = bytearray(low_file.read_bytes())
    data[-100] ^= 1
    bad = tmp_path / "bad.lowbit"
    content = {"truncated": low_file.read_bytes()[:-50], "flipped": bytes(data), "text": b"hello\n"}
    if damage != "missing":
        bad.write_bytes(content[damage])
    rest = {"run": ["--input", inputs], "inspect": [], "eval": ["--data", "digits"], "bench": []}
    code, out, err = run(capsys, command, bad, *rest[command])
    assert code in (1, 2)
    assert out == ""
    assert "bad.lowbit" in err
    assert "fault in lowbit" not in err
    assert err.count("\n") == 1


def test_inspect_shows_layers_and_provenance(capsys, low_file):
    code, out, _ = run(capsys, "inspect", low_file, "--json")
    found = json.loads(out)
    assert code == 0
    assert [row["W"] for row in found["layers"]] == [8, 2, 2, 8]
    assert all(row["kernel"] for row in found["layers"])
    assert found["source"]["seed"] == "1"
    _, out, _ = run(capsys, "inspect", low_file)
    assert "conv2" in out


def test_inspect_times_every_step(capsys, low_file):
    code, out, _ = run(capsys, "inspect", low_file, "--profile", "--isa", "scalar", "--json")
    profile = json.loads(out)["profile"]
    assert code == 0
    assert profile["isa"] == "scalar"
    assert profile["ms"] > 0
    layers = [step for step in profile["steps"] if {"conv", "linear"} & set(step["kinds"])]
    assert len(layers) == 4
    assert all(step["ops"] and step["gops"] and step["share"] for step in layers)
    shown = {row["layer"]: row["kernel"] for row in json.loads(out)["layers"]}
    assert set(shown.values()) <= {step["kernel"] for step in profile["steps"]}
    code, out, _ = run(capsys, "inspect", low_file, "--profile")
    assert code == 0
    assert "% of peak" in out
    code, _, err = run(capsys, "inspect", low_file, "--profile", "--isa", "avx3")
    assert code == 2
    assert "unknown instruction set of this processor 'avx3'" in err
    code, _, err = run(capsys, "inspect", low_file, "--batch", "0")
    assert code == 2
    assert "--batch is 0, allowed is 1..65536" in err
    code, _, err = run(capsys, "inspect", low_file, "--isa", "scalar")
    assert code == 2
    assert "add --profile" in err


def test_eval_of_a_file_equals_eval_of_its_run(capsys, low_file, low_run):
    _, ours, _ = run(capsys, "eval", low_file, "--data", "digits", "--json")
    _, theirs, _ = run(capsys, "eval", low_run, "--json")
    keys = ("images", "correct", "accuracy", "loss")
    assert [json.loads(ours)[key] for key in keys] == [json.loads(theirs)[key] for key in keys]
    code, _, err = run(capsys, "eval", low_file)
    assert code == 2
    assert "add --data NAME" in err


def test_doctor_tries_every_instruction_set(capsys):
    from lowbit.runtime.engine import available

    found = examine()
    assert found["healthy"]
    assert set(found["runtime"]["sets"]) == set(available())
    assert set(found["runtime"]["sets"].values()) == {"works"}
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    assert "everything that is installed works" in out


@pytest.mark.parametrize("command", ["run", "inspect", "doctor"])
def test_base_commands_work_without_the_extras(low_file, inputs, command):
    rest = {
        "run": [str(low_file), "--input", str(inputs)],
        "inspect": [str(low_file), "--profile"],
        "doctor": ["--json"],
    }[command]
    block = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r})); from lowbit.cli import main; "
    program = block + f"sys.exit(main({[command, *rest]!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
