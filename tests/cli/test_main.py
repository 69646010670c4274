"""Dispatch, help, exit codes, one sentence for every error."""

import subprocess
import sys

import pytest

from lowbit.cli import COMMANDS, main


def run(capsys, *words):
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_lists_every_command_with_an_example(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)
    assert "Example:" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(capsys, command):
    code, out, err = run(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"lowbit {command}" in out
    assert "xample:" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "lowbit: unknown command 'trian'; did you mean 'train'?"),
        (["train", "x.yaml"], "lowbit train: missing option '--out'; see lowbit train --help"),
        (["train", "x.yaml", "--out", "r"], "lowbit train: x.yaml: cannot be read (No such file or directory)"),
        (["train", "x.yaml", "--out", ""], "lowbit train: --out is empty; is a variable in the command not set?"),
        (["train", "x.yaml", "--ouut", "r"], "no such option: --ouut"),
        (["run", "a.lowbit"], "required: --input"),
        (
            ["run", "a.lowbit", "--input", "x.npy", "--thraeds", "2"],
            "unknown option '--thraeds'; did you mean '--threads'?",
        ),
        (["inspect"], "required: file"),
        (["eval", "nothing-here"], "nothing-here: there is no such run or file"),
        (["quantize", "nothing-here"], "nothing to quantize; give --weight or --activation"),
        (["quantize", "nothing-here", "--weight", "bwn"], "nothing-here: there is no run; make one with: lowbit train"),
        (["convert", "nothing-here", "-o", "n.lowbit"], "nothing-here: there is no run"),
        (["convert", "nothing-here", "-o", "no/such/n.lowbit"], "there is no folder no/such; create it"),
        (
            ["convert", "nothing-here", "-o", "n.lowbit", "--check", "-1"],
            "--check is -1, allowed is a number of images",
        ),
        (["run", "no.lowbit", "--input", "x.npy"], "no.lowbit: there is no such file; write one with: lowbit convert"),
        (["inspect", "no.lowbit"], "no.lowbit: there is no such file; write one with: lowbit convert RUN -o no.lowbit"),
        (["inspect", "."], ".: is a folder; give a .lowbit file"),
        (["bench", "no.lowbit", "--against", ""], "no.lowbit: there is no such file; write one with: lowbit convert"),
        (["bench", ".", "--against", ""], ".: is a folder; give a .lowbit file"),
        (["convert", __file__, "-o", "n.lowbit"], "test_main.py: is a file; give the folder of a finished run"),
        (["bench"], "give either a .lowbit file or --layers"),
        (["bench", "x.lowbit", "--layers"], "give either a .lowbit file or --layers"),
        (["bench", "--layers", "--batch", "4"], "--batch is for a file"),
        (["bench", "--layers", "--run", "runs/x"], "--run is for a file"),
        (["bench", "--layers", "--threads", "0"], "--threads is 0, allowed is 1 to 256"),
        (["bench", "--layers", "--seconds", "-1"], "--seconds is -1.0, allowed is 0.01 to 600"),
        (["bench", "--layers", "--against", "", "--isa", "sse"], "unknown instruction set of this processor 'sse'"),
        (["bench", "x.lowbit", "--against", "onxruntime"], "unknown runtime 'onxruntime'; did you mean 'onnxruntime'?"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_debug_gives_the_traceback():
    with pytest.raises(ValueError, match="trian"):
        main(["--debug", "trian"])


def test_missing_extra_names_the_command_that_installs_it():
    program = "import sys; sys.modules['typer'] = None; from lowbit.cli import main; sys.exit(main(['methods']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "lowbit methods: this needs typer, which is not installed; run: pip install 'lowbit[train]'\n"


def test_interrupt_is_one_sentence(capsys, monkeypatch):
    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setattr("lowbit.cli.base.run_base", interrupted)
    code, _, err = run(capsys, "doctor")
    assert code == 1
    assert err.startswith("lowbit doctor: interrupted; everything finished before is saved")
