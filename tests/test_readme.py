"""The README's commands exist and its Python runs as printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.M | re.S)


def test_the_library_is_shown_in_under_25_lines() -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) < 25


def test_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "net.lowbit").stat().st_size > 1000
    assert "lsq:2" in capsys.readouterr().out


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
