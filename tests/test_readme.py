"""The README's commands exist; its Python, and that of docs/runtime.md, runs as printed."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


RUNTIME = (ROOT / "docs" / "runtime.md").read_text()


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def test_the_library_is_shown_in_under_25_lines() -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) < 25


def test_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "net.lowbit").stat().st_size > 1000
    assert "lsq:2" in capsys.readouterr().out


def test_python_of_the_runtime_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with np.load(ROOT / "tests" / "golden" / "integers-1.npz") as arrays:
        names = {"x": arrays["input"]}
    shutil.copy(ROOT / "tests" / "golden" / "integers-1.lowbit", "net.lowbit")
    assert len(blocks("python", RUNTIME)) == 2
    for code in blocks("python", RUNTIME):
        exec(compile(code, "docs/runtime.md", "exec"), names)
    assert Path("bytes.lowbit").exists()


def test_benchmarks_named_by_the_runtime_page_exist() -> None:
    named = set(re.findall(r"benchmarks/\w+\.py|native/[\w/]+\.\w+|docs/[\w/]+\.\w+|tests/\w+", RUNTIME))
    assert len(named) >= 4
    assert all((ROOT / path).exists() for path in named)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", TEXT, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_commands_exist() -> None:
    from lowbit.cli import main

    for command in set(re.findall(r"^lowbit ([a-z]+)", TEXT, flags=re.M)):
        try:
            code = main([command, "--help"])
        except SystemExit as stop:
            code = int(stop.code or 0)
        assert code == 0, command


def test_named_files_exist() -> None:
    for path in re.findall(r"(?:recipes|docs|examples)/[\w./-]+\.(?:ya?ml|md|py)", TEXT):
        assert (ROOT / path).exists(), path
