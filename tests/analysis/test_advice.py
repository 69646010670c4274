"""Every rule finds its own illness, and is silent on the others' networks and on healthy ones."""

from dataclasses import replace

import pytest
import yaml
from torch import nn

import lowbit
from lowbit.analysis import diagnosis
from lowbit.analysis.advice import RULES, advise
from lowbit.analysis.findings import Context, Findings
from lowbit.training.recipes import parse_recipe
from tests.analysis.illnesses import HEALTHY, ILL, labels_of
from tests.analysis.networks import blobs, trained

UNREAD = ("kappa", "sensitivity", "flipped", "surface", "temperature", "softness", "gradients")
RECIPE = """
data: digits
model: digits_net
weight: l2:2
activation: lsq:8
epochs: 8
"""


@pytest.fixture(autouse=True)
def only_what_the_rules_read(monkeypatch):
    steps = {name: text for name, text in diagnosis.STEPS.items() if name not in UNREAD}
    monkeypatch.setattr(diagnosis, "STEPS", steps)


def diagnosed(case):
    net, context = case
    x = blobs()[0]
    return lowbit.diagnose(net, [(x, labels_of(net, x))], context=context)


def test_every_rule_has_its_network():
    assert {rule.__name__.replace("_", "-") for rule in RULES} == set(ILL)


@pytest.mark.parametrize("name", ILL)
def test_a_rule_finds_its_illness_and_no_other_rule_does(name):
    found = diagnosed(ILL[name]())
    assert [advice.rule for advice in found.advice] == [name]
    (advice,) = found.advice
    assert advice.title in found.cause and advice.evidence and 0 < advice.weight <= 1
    # what is printed is a piece of a recipe that works, with rules that prepare takes
    changes = yaml.safe_load(advice.action)
    assert changes == advice.changes
    assert parse_recipe(yaml.safe_dump({**yaml.safe_load(RECIPE), **changes})).epochs == 8
    rules = changes.get("rules")
    if rules:
        net = trained(depth=5)
        known = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)]
        assert all(rule["match"] in known for rule in rules)
        lowbit.prepare(net, rules=rules)


@pytest.mark.parametrize("name", HEALTHY)
def test_silence_on_healthy_networks(name):
    found = diagnosed(HEALTHY[name]())
    assert found.advice == []
    assert "nothing to repair" in found.cause


def test_the_remedy_of_the_weak_layer_brings_the_accuracy_back():
    net, _ = ILL["weak-layer"]()
    x = blobs()[0]
    found = lowbit.diagnose(net, [(x, labels_of(net, x))])
    rules = [{"match": "*", "weight": "l2:8", "activation": "lsq:8"}]
    again = lowbit.prepare(trained(depth=4), rules=[*found.advice[0].changes["rules"], *rules])
    after = lowbit.diagnose(lowbit.calibrate(again, [x]).eval(), [(x, labels_of(again, x))])
    assert after.advice == [] and after.tables["split"].rows[3]["accuracy"] > 99


def test_with_a_run_the_action_is_a_command():
    net, _ = ILL["weights-first"]()
    x = blobs()[0]
    context = Context(trained=False, run="runs/mine", recipe={"rules": [{"match": "0", "activation": "lsq:4"}]})
    (advice,) = lowbit.diagnose(net, [(x, labels_of(net, x))], context=context).advice
    assert advice.action.startswith("lowbit train runs/mine/recipe.yaml 'rules=[{")
    assert advice.action.endswith("--out runs/mine-weights-first")
    assert advice.changes["rules"][0] == {"match": "0", "activation": "lsq:8", "weight": "l2:3"}
    assert advice.changes["rules"][-1] == {"match": "0", "activation": "lsq:4"}


def test_a_float_network_that_was_better_counts_as_lost():
    net, _ = HEALTHY["8 bits"]()
    x = blobs()[0]
    tables = lowbit.diagnose(net, [(x, labels_of(net, x))]).tables
    assert Findings(tables=tables).lost == pytest.approx(0, abs=0.5)
    assert Findings(tables=tables, context=Context(float_accuracy=120.0)).lost == pytest.approx(20, abs=0.5)
    assert advise(Findings(tables=tables)) == []


def test_a_remedy_on_trial_that_makes_answers_worse_is_not_recommended():
    """Trained weights have grown into their quantizers: nearer to the float network can be less accurate."""
    net, context = ILL["weak-layer"]()
    x = blobs()[0]
    tables = dict(lowbit.diagnose(net, [(x, labels_of(net, x))], context=context).tables)
    rows = [
        {**row, "accuracy": row["accuracy"] if row["trial"] == "as it is" else 1.0} for row in tables["trials"].rows
    ]
    tables["trials"] = replace(tables["trials"], rows=rows)
    assert advise(Findings(tables=tables, context=context)) == []
