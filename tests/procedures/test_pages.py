"""docs/procedures/: every procedure has a page whose settings are the real ones and whose recipe runs."""

import inspect
import re
from pathlib import Path

import pytest

import lowbit
from lowbit.procedures import PROCEDURES
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train
from tests.procedures.cases import CASES

FOLDER = Path(__file__).parents[2] / "docs" / "procedures"


def page(name):
    return (FOLDER / f"{name}.md").read_text()


@pytest.mark.parametrize("name", sorted([*CASES, "ptq"]))
def test_the_table_lists_the_settings_and_their_defaults(name):
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page(name), flags=re.M)
    kind = PROCEDURES[name]
    takes = {} if kind.__init__ is object.__init__ else inspect.signature(kind).parameters
    assert [row[0] for row in rows] == list(takes)
    for (setting, default), parameter in zip(rows, takes.values(), strict=True):
        assert eval(default) == parameter.default, setting


@pytest.mark.parametrize("name", sorted([*CASES, "ptq"]))
def test_the_recipe_runs_and_its_network_converts(name, tmp_path):
    (text,) = re.findall(r"^```yaml\n(.*?)^```", page(name), flags=re.M | re.S)
    recipe = parse_recipe(text)
    assert recipe.procedure.name == name
    small = ["data={name: digits, train: 512}", "model={name: digits_net, width: 8}", "schedule.warmup=0", "batch=128"]
    small += [f"epochs={min(recipe.epochs, 5)}"] + (["pretrain.epochs=1"] if recipe.pretrain else [])
    done = train(parse_recipe(text, changes=small), tmp_path, progress=False, accelerator="cpu")
    assert len(done.rows) == min(recipe.epochs, 5)
    lowbit.convert(done.model, done.data.test_x[:8])
