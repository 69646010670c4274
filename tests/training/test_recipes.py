"""Recipes: short forms, changes, and errors that say where."""

from pathlib import Path

import pytest

from lowbit.errors import InvalidInput, UnknownName
from lowbit.training.recipes import parse_recipe, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
GOOD = """\
data: digits
model: {name: digits_net, width: 32}
weight: lsq:2
optimizer:
  lr: 1e-3
epochs: 2
"""


@pytest.mark.parametrize("path", sorted(RECIPES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(RECIPES)))
def test_every_recipe_in_the_repository_is_valid(path):
    recipe = read_recipe(path)
    assert recipe.title
    assert recipe.expect is None or recipe.expect[0] < recipe.expect[1]


def test_written_and_read_again_is_the_same():
    recipe = parse_recipe(GOOD, changes=["first=null", "rules=[{match: '*', weight: lsq:4}]"])
    assert parse_recipe(recipe.to_yaml()) == recipe
    assert recipe.first is None


def test_changes_reach_parts_written_short():
    recipe = parse_recipe(GOOD, changes=["data.train=100", "optimizer.lr=0.5", "epochs=7"])
    assert (recipe.data.name, recipe.data.train, recipe.optimizer.lr, recipe.epochs) == ("digits", 100, 0.5, 7)
    assert parse_recipe(GOOD, changes=["model=resnet8"]).model.options == {}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            GOOD.replace("weight:", "wieght:"),
            UnknownName,
            "net.yaml, line 3: unknown key 'wieght'; did you mean 'weight'",
        ),
        (GOOD.replace("  lr:", "  lrr:"), UnknownName, "net.yaml, line 5: unknown key 'lrr'; did you mean 'lr'"),
        (GOOD.replace("width", "widht"), UnknownName, "net.yaml, line 2: .*digits_net 'widht'; did you mean 'width'"),
        (GOOD.replace("digits_net", "digitsnet"), UnknownName, "net.yaml, line 2: unknown model 'digitsnet'"),
        (GOOD.replace("data: digits", "data: digit"), UnknownName, "net.yaml, line 1: unknown data 'digit'"),
        (
            GOOD.replace("1e-3", "-1"),
            InvalidInput,
            "net.yaml, line 5: optimizer.lr is -1; input should be greater than 0",
        ),
        (GOOD.replace("epochs: 2", ""), InvalidInput, "net.yaml: the key 'epochs' is missing"),
        (GOOD + "epochs: 3\n", InvalidInput, "net.yaml, line 7: key 'epochs' was given in line 6 already"),
        (GOOD + "augmentation: [flip, shfit:1]\n", UnknownName, "net.yaml, line 7: .*did you mean 'shift'"),
        (GOOD + "procedure: retrain\n", InvalidInput, "net.yaml, line 7: retrain continues a trained float network"),
        (GOOD + "start: x\npretrain: {epochs: 1}\n", InvalidInput, "line 8: `start` and `pretrain` exclude each other"),
        ("- a\n", InvalidInput, "net.yaml: a recipe is a list of"),
        ("a: [\n", InvalidInput, "net.yaml, line 2: not valid YAML"),
    ],
)
def test_errors_name_file_line_and_nearest_key(text, kind, message):
    with pytest.raises(kind, match=message):
        parse_recipe(text, "net.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epohs=3", "change 'epohs=3': unknown key 'epohs'; did you mean 'epochs'"),
        ("epochs=many", "change 'epochs=many': epochs is 'many'; input should be a valid integer"),
        ("epochs", "write key=value"),
        ("epochs.x=1", "epochs is 2, it has no parts"),
        ("weight=[", "is not a YAML value"),
    ],
)
def test_errors_in_changes_quote_the_change(change, message):
    with pytest.raises((InvalidInput, UnknownName), match=message):
        parse_recipe(GOOD, changes=[change])


def test_missing_file():
    with pytest.raises(InvalidInput, match=r"no\.yaml: cannot be read"):
        read_recipe("no.yaml")


def test_float_part_quantizes_nothing():
    recipe = parse_recipe(GOOD + "pretrain: {epochs: 5}\nprocedure: retrain\n")
    before = recipe.float_part()
    assert recipe.low_bit
    assert not before.low_bit
    assert (before.epochs, before.procedure.name, before.pretrain) == (5, "plain", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gradient=dorfa:4", "change 'gradient=dorfa:4': unknown method 'dorfa'; did you mean 'dorefa'?"),
        ("weight=lsq:1", "change 'weight=lsq:1': lsq takes 2 or more bits where values are signed, got 1"),
        ("first=twn", "change 'first=twn': twn quantizes W, not role 'activation'"),
        ("rules=[{match: conv1, weight: lsqq}]", "unknown method 'lsqq'; did you mean 'lsq'?"),
        ("activation={method: sign, ste: polly}", "unknown straight-through estimator (ste) 'polly'"),
    ],
)
def test_methods_are_checked_before_anything_is_made(change: str, message: str) -> None:
    text = "data: digits\nmodel: digits_net\nweight: lsq:2\nactivation: lsq:2\nepochs: 1\n"
    with pytest.raises(ValueError) as error:
        parse_recipe(text, "r.yaml", [change])
    assert message in str(error.value)
    with pytest.raises(ValueError, match=r"r\.yaml, line 3: unknown method 'lsr'"):
        parse_recipe(text.replace("lsq:2", "lsr:2", 1), "r.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weight=2", "weight is 2; write the method with its bits, for example lsq:2"),
        ("schedule.warmup=.inf", "schedule.warmup is inf; input should be a finite number"),
        ("schedule={name: steps, at: [.nan]}", "input should be a finite number"),
        ("optimizer.lr=.inf", "optimizer.lr is inf; input should be"),
        ("epochs=true", "epochs is True; input should be a valid integer"),
    ],
)
def test_values_that_would_fail_later_are_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        parse_recipe("{data: digits, model: digits_net, epochs: 1}", changes=[change])
