"""The recipes of papers, shortened: they train under Lightning, resume to the last bit, and convert."""

from pathlib import Path

import pytest
import torch

import lowbit
from lowbit.errors import InvalidInput
from lowbit.procedures import PROCEDURES, procedure
from lowbit.quantizers import Quantizer
from lowbit.training.recipe_procedures import made
from lowbit.training.recipes import read_recipe
from lowbit.training.runs import load_run, train

RECIPES = Path(__file__).parents[2] / "recipes"
SHORT = ["data.train=128", "epochs=4", "batch=16", "model.width=8", "calibration=64"]  # 32 steps
FILES = sorted(path for folder in ("dqa", "boo", "yang") for path in (RECIPES / folder).glob("digits*.yaml"))
# one recipe of each kind always, the others with the slow tests
ALL_KINDS = ("dqa/digits-w2a2-dqa", "dqa/digits-w2-binary-relax", "boo/digits-w2a2-lipschitz-clr", "yang/digits-w2a2")

CASES = [
    pytest.param(path, id=name, marks=[] if name in ALL_KINDS else [pytest.mark.slow])
    for path in FILES
    for name in [f"{path.parent.name}/{path.stem}"]
]


def short(path):
    recipe = read_recipe(path)
    changes = [*SHORT, *(["pretrain.epochs=2"] if recipe.pretrain else [])]
    if any(part.name == "clr" for part in recipe.modifiers):
        changes.append("modifiers=[{name: lipschitz}, {name: clr, cycles: 2}, {name: bn-reestimate, batches: 8}]")
    return read_recipe(path, changes)


@pytest.mark.parametrize("path", CASES)
def test_it_trains_and_converts(path, tmp_path):
    recipe = short(path)
    done = train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    written = done.result["procedure"]
    assert (written if isinstance(written, str) else written["name"]) == recipe.procedure.name
    assert all(q.unfinished() == 0 for q in done.model.modules() if isinstance(q, Quantizer))
    exact = lowbit.summary(done.model).to_dict()["totals"]["exact"]
    x = done.data.test_x[:8]
    for model in (done.model, load_run(tmp_path / "run").model):
        program = lowbit.convert(model, x, allow_inexact=not exact)
        found = torch.from_numpy(lowbit.runtime.reference.run(program, x.numpy()))
        # a layer with float operands sums in another order: 1e-4 is far above 2 K 2^-24 of these sums
        torch.testing.assert_close(found, model(x).detach(), rtol=0, atol=0 if exact else 1e-4)


@pytest.mark.parametrize("name", ALL_KINDS)
def test_interrupted_it_ends_bit_for_bit_the_same(name, tmp_path, monkeypatch):
    recipe = short(RECIPES / f"{name}.yaml")
    whole = train(recipe, tmp_path / "whole", progress=False, accelerator="cpu")
    kind = PROCEDURES[recipe.procedure.name]
    after_step, left = kind.after_step, [1]

    def interrupted(self, run):
        after_step(self, run)
        if run.step == 20 and left:  # in the middle of the third of four epochs
            left.pop()
            raise KeyboardInterrupt

    monkeypatch.setattr(kind, "after_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", progress=False, accelerator="cpu")
    torch.manual_seed(99)
    again = train(recipe, tmp_path / "stopped", progress=False, accelerator="cpu")
    assert not left
    a, b = whole.model.state_dict(), again.model.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.rows] for run in (whole, again)]
    assert rows[0] == rows[1]


def test_the_cycle_reaches_the_optimizer_under_lightning(tmp_path):
    """The constant schedule of Lightning steps too; the cycle has the last word."""
    recipe = short(RECIPES / "boo" / "digits-w2-clr.yaml")
    recipe = recipe.model_copy(update={"modifiers": [recipe.modifiers[1]]})
    done = train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    base, factor = recipe.optimizer.lr, procedure("clr", cycles=2).factor
    # 32 steps; a row shows the rate of the step that follows, the last the rate of the last step
    assert [row["lr"] for row in done.rows] == pytest.approx([base * factor(step, 32) for step in (8, 16, 24, 31)])


def test_made_from_a_recipe():
    parts = made(read_recipe(RECIPES / "boo" / "digits-w2a2-lipschitz-clr.yaml")).parts
    assert [part.name for part in parts] == ["retrain", "lipschitz", "clr", "bn-reestimate"]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("boo/digits-w2-clr", ["modifiers=[{name: clr, cycles: 9}]"], "clr: 9 cycles in 32 steps leave a cycle fewer"),
        ("boo/digits-w2-clr", ["optimizer.weight_decay=0.1"], "retraining goes without, use 0"),
        ("boo/digits-w2-clr", ["procedure=dqa", "weight=mixture:2"], "conv1.weight has fixed shares; prepare it with"),
        ("yang/digits-w2a2", ["epochs=2"], "quantization-networks: 3 phases need as many epochs, there are 2"),
    ],
)
def test_what_cannot_work_is_refused_before_the_float_training(name, changes, message, tmp_path):
    recipe = read_recipe(RECIPES / f"{name}.yaml", [*SHORT, "pretrain.epochs=50", *changes])
    with pytest.raises(InvalidInput, match=message):
        train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    assert not (tmp_path / "run" / "float").exists()
