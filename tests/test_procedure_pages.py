"""docs/procedures: Python runs and prints what the comments say, recipes are valid, every procedure has its page."""

import re
from pathlib import Path

import pytest

from lowbit.procedures import MODIFIERS, PROCEDURES
from lowbit.training.recipes import parse_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "procedures").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_runs_and_prints_its_comments(page: Path, capsys: pytest.CaptureFixture) -> None:
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), {})
        expected = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.M)
        assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_recipes_are_valid(page: Path) -> None:
    for text in blocks(page, "yaml"):
        parse_recipe(text, page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_named_recipes_exist(page: Path) -> None:
    for path in re.findall(r"`(recipes/[\w./-]+)`", page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", sorted(PROCEDURES.keys() - {"plain", "retrain"}))
def test_procedures_have_a_page(name: str) -> None:
    assert (ROOT / "docs" / "procedures" / f"{name}.md").read_text().startswith(f"# {name}\n")


@pytest.mark.parametrize("name", ["clr", "lipschitz", "bn-reestimate", "sign-flips"])
def test_modifiers_have_a_part(name: str) -> None:
    assert name in MODIFIERS
    assert f"\n## {name}\n" in (ROOT / "docs" / "procedures" / "modifiers.md").read_text()
