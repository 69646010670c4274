"""`procedure` and `modifiers` of a recipe: short forms, lines, refusals, and what the result says."""

import pytest

from lowbit.errors import InvalidInput, UnknownName
from lowbit.procedures import LEARNING_RATE, MODIFIERS, PROCEDURES, Modifier, Procedure
from lowbit.training.recipe_procedures import made
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train

GOOD = """\
data: {name: digits, train: 64}
model: {name: digits_net, width: 8}
weight: lsq:2
epochs: 1
"""


class Pull(Modifier):
    """Adds a constant."""

    name = "pull"

    def __init__(self, strength=1.0):
        if strength < 0:
            raise InvalidInput(f"pull's strength is {strength}, allowed is 0 or more")
        self.strength = strength

    def loss(self, run, batch, output):
        return super().loss(run, batch, output) + self.strength

    def report(self, model):
        return {"pulled": self.strength}


class Cycle(Modifier):
    """Sets the learning rate."""

    name = "cycle"
    owns = frozenset({LEARNING_RATE})


class Mixes(Procedure):
    """Needs a method."""

    name = "mixes"
    needs_method = "mixture"


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for kind in (Pull, Cycle):
        monkeypatch.setitem(MODIFIERS, kind.name, kind)
    monkeypatch.setitem(PROCEDURES, "mixes", Mixes)


def test_short_and_long_forms_and_changes():
    text = GOOD + "modifiers: [pull, {name: cycle}]\nschedule: {name: constant, warmup: 0}\n"
    recipe = parse_recipe(text)
    assert [part.name for part in recipe.modifiers] == ["pull", "cycle"]
    assert parse_recipe(recipe.to_yaml()) == recipe
    changed = parse_recipe(text, changes=["modifiers=[{name: pull, strength: 0.5}]"])
    assert [part.name for part in made(changed).parts] == ["plain", "pull"]
    assert made(changed).parts[1].strength == 0.5
    assert made(parse_recipe(text, changes=["modifiers=[pull]"])).parts[1].strength == 1.0


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ("modifiers: [pul]", UnknownName, "net.yaml, line 5: unknown modifier 'pul'; did you mean 'pull'"),
        ("modifiers:\n- pull\n- cylce\n", UnknownName, "net.yaml, line 7: unknown modifier 'cylce'; .* 'cycle'"),
        ("modifiers: [{name: pull, strenght: 1}]", UnknownName, "line 5: unknown option of pull 'strenght'; .*'stre"),
        (
            "modifiers:\n- name: pull\n  strength: -1\n",
            InvalidInput,
            "net.yaml, line 6: pull's strength is -1",
        ),
        ("modifiers: [{name: pull, strength: a}]", InvalidInput, "net.yaml, line 5: '<' not supported"),
        ("modifiers:\n- pull\n- pull\n", InvalidInput, "net.yaml, line 7: pull is given twice; keep one"),
        ("modifiers: [retrain]", InvalidInput, "line 5: retrain is a procedure; write `procedure: retrain`"),
        ("procedure: pull", InvalidInput, r"line 5: pull is a modifier; write `modifiers: \[pull\]`"),
        ("modifiers: [3]", InvalidInput, "net.yaml, line 5: modifiers.0 is 3; "),
        ("modifiers: pull", InvalidInput, "net.yaml, line 5: modifiers is 'pull'; input should be a valid list"),
        (
            "modifiers: [cycle]",
            InvalidInput,
            "net.yaml: cycle sets the learning rate itself; write `sched",
        ),
        ("schedule: cosine\nmodifiers: [cycle]", InvalidInput, "net.yaml, line 5: cycle sets the learning rate itself"),
        ("procedure: mixes", InvalidInput, "net.yaml, line 5: mixes needs the method mixture .* has affine, lsq"),
    ],
)
def test_errors_name_the_line(more, kind, message):
    with pytest.raises(kind, match=message):
        parse_recipe(GOOD + more, "net.yaml")


def test_the_float_part_has_no_modifiers():
    recipe = parse_recipe(GOOD + "pretrain: {epochs: 5}\nprocedure: retrain\nmodifiers: [pull]\n")
    assert recipe.float_part().modifiers == []


def test_the_result_names_procedure_modifiers_and_their_reports(tmp_path):
    text = GOOD + "modifiers: [{name: pull, strength: 2.5}]\n"
    done = train(parse_recipe(text, changes=["schedule.warmup=0"]), tmp_path / "run", progress=False, accelerator="cpu")
    assert done.result["procedure"] == "plain"
    assert done.result["modifiers"] == [{"name": "pull", "strength": 2.5}]
    assert done.result["pulled"] == 2.5
    plain = train(
        parse_recipe(GOOD, changes=["schedule.warmup=0"]), tmp_path / "plain", progress=False, accelerator="cpu"
    )
    assert plain.result["modifiers"] == []
    assert done.rows[0]["train_loss"] == pytest.approx(plain.rows[0]["train_loss"] + 2.5, abs=1e-5)
