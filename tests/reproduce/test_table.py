"""Tables as data: those of lowbit can be planned, wrong ones are named with their line."""

from pathlib import Path

import pytest

from lowbit.errors import InvalidInput, UnknownName
from lowbit.reproduce import Plan, outcome, read_table, table_names, work

EXPECTED = {
    "fashion-line", "dqa-table1", "dqa-table2", "boo-table4", "boo-table2", "boo-figure6", "yang-table5", "yang-table6",
    "yang-figure3", "liu-gradients", "ptq-retrain", "boo-figure2",
}  # fmt: skip


def test_all_tables_are_there():
    assert set(table_names()) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
@pytest.mark.parametrize("budget", ["small", "full"])
def test_every_row_of_every_table_can_be_planned(name, budget):
    plan = Plan(name=name, table=read_table(name), budget=budget, seeds=[0, 1], out=Path("runs"))
    folders = {plan.folder(plan.recipe(row, seed)) for row in plan.rows for seed in plan.seeds}
    assert len(folders) == 2 * len(plan.rows)
    assert plan.recipe(plan.rows[-1], 1).seed == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_row_trains_when_it_is_made_small(name, tmp_path):
    table = read_table(name)
    data = "rings" if table.recipe.get("data") == "rings" else "digits"
    tiny = {"data": {"name": data, "train": 576}, "batch": 36, "epochs": 3, "augmentation": []}
    continued = {"small": {**table.continued.get("small", {}), "epochs": 3}}
    table = table.model_copy(update={"small": {**table.small, **tiny}, "continued": continued})
    plan = Plan(name=name, table=table, budget="small", seeds=[0], out=tmp_path)
    assert work(plan, plan.rows, progress=False, accelerator="cpu") == {}
    record = outcome(plan)
    assert all(row["mean"] is not None for row in record["rows"])
    assert {claim["reason"].partition(" is ")[2] for claim in record["claims"]} == {"run with one seed only"}


def test_small_budget_is_the_measured_setting():
    plan = Plan(name="dqa-table1", table=read_table("dqa-table1"), budget="small", seeds=[0], out=Path("runs"))
    recipe = plan.recipe(plan.row("minmax"), 0)
    assert (recipe.model.name, recipe.model.options, recipe.epochs, recipe.batch) == ("resnet8", {"width": 16}, 8, 128)
    assert (recipe.data.train, recipe.data.choice, recipe.optimizer.lr) == (20000, 1234, 4e-3)
    assert (recipe.schedule.name, recipe.schedule.warmup) == ("cosine", 1)
    assert recipe.augmentation == ["shift:2", "flip"]


def test_tables_share_the_runs_that_they_have_in_common():
    folders = []
    for name in ("dqa-table2", "dqa-table1", "boo-table2"):
        plan = Plan(name=name, table=read_table(name), budget="small", seeds=[0], out=Path("runs"))
        folders.append(plan.folder(plan.recipe(plan.rows[0], 0)))
    assert len(set(folders)) == 1


ROWS = "title: t\nsource: s\nrows:\n  - {key: a, label: a}\n  - {key: b, label: b, start: a}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS + "  - {key: a, label: again}\n", "two rows have the key 'a'"),
        (ROWS + "  - {key: c, label: c, start: aa}\n", "unknown row 'aa'; did you mean 'a'"),
        (
            ROWS + "  - {key: c, label: c, start: d}\n  - {key: d, label: d, start: c}\n",
            "'c' starts from itself, by way of d",
        ),
        (ROWS + "  - {key: c, label: c, start: c}\n", "'c' starts from itself, by way of no other"),
        (ROWS + "claims: [{text: x, says: a >= z}]\n", "claim 'x': unknown row 'z'"),
        (ROWS + "claims: [{text: x, says: a > b}]\n", "write two sums with >= between"),
        (ROWS + "rowz: 3\n", "line 6: unknown key 'rowz'; did you mean 'rows'"),
        ("title: t\n", "the key 'source' is missing"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, message):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises((InvalidInput, UnknownName), match=r"own\.yaml") as caught:
        read_table(path)
    assert message in str(caught.value)
    assert "'title': 't'" not in str(caught.value)  # the whole table


def test_unknown_table_and_unreadable_file(tmp_path):
    with pytest.raises(UnknownName, match="unknown table 'dqa-tabel1'; did you mean 'dqa-table1'"):
        read_table("dqa-tabel1")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_table(tmp_path / "none.yaml")
