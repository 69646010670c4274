"""Rules: the first match wins, missing roles take what the layer had, mistakes are named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import UnknownName
from lowbit.rules import choose

NAMES = ["stem", "layer1.0", "layer1.1", "layer2.0", "head"]
DEFAULT = {"weight": "lsq:2", "activation": "lsq:3", "output": None, "gradient": None}


def chosen(rules, first="affine:8", last="affine:8"):
    return {n: (str(c.weight), str(c.activation)) for n, c in choose(NAMES, DEFAULT, first, last, rules).items()}


def test_no_rules():
    assert chosen(None) == chosen([]) == {
        "stem": ("affine:8", "affine:8"), "head": ("affine:8", "affine:8"),
        **dict.fromkeys(NAMES[1:4], ("lsq:2", "lsq:3")),
    }  # fmt: skip


def test_first_match_wins_and_missing_roles_stay():
    rules = [{"match": "layer1.1", "weight": "twn"}, {"match": "layer1.*", "weight": "bwn", "activation": None}]
    found = chosen(rules)
    assert found["layer1.0"] == ("bwn:1@channel", "None")
    assert found["layer1.1"] == ("twn:2", "lsq:3")
    assert found["layer2.0"] == ("lsq:2", "lsq:3")


def test_rules_come_before_the_first_and_last_policy():
    found = chosen([{"match": "stem", "weight": "lsq:4"}])
    assert found["stem"] == ("lsq:4", "affine:8")


def test_same_and_none_at_the_edges():
    found = chosen(None, first="same", last=None)
    assert found["stem"] == ("lsq:2", "lsq:3") and found["head"] == ("None", "None")


@pytest.mark.parametrize(
    ("rules", "error", "message"),
    [
        (
            [{"match": "layr1*"}],
            UnknownName,
            r"rule 0 matches nothing: 'layr1\*'; the layers are stem, layer1.0, layer1.1",
        ),
        ([{"match": "stem"}, {"match": "x"}], UnknownName, "rule 1 matches nothing"),
        ([{"match": "stem", "wieght": "lsq:2"}], UnknownName, "key in rule 0 'wieght'; did you mean 'weight'"),
        ([{"weight": "lsq:2"}], UnknownName, "rule 0 has no 'match'"),
        ([{"match": 3}], ValueError, "rule 0 matches 3"),
        (["stem"], ValueError, "rule 0 is 'stem'"),
        ({"match": "stem"}, ValueError, "allowed is a list"),
        (5, ValueError, "rules is 5, allowed is a list"),
        ([{"match": "stem", "weight": "lsqq:2"}], UnknownName, "did you mean 'lsq'"),
        # never used, since an earlier rule matches first, and wrong all the same
        ([{"match": "*"}, {"match": "stem", "weight": "lsq:99"}], ValueError, "lsq takes 1 to 16 bits"),
    ],
)
def test_mistakes(rules, error, message):
    with pytest.raises(error, match=message):
        chosen(rules)


def test_in_a_model():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model = lowbit.prepare(
        net, rules=[{"match": "1", "weight": {"method": "twn", "threshold": "exact"}, "output": "lsq:8"}]
    )
    assert model[1].weight_quantizer.threshold == "exact"
    assert model[1].output_quantizer.bits == 8 and model[0].output_quantizer is None
    lowbit.calibrate(model, [torch.randn(8, 4)])
    assert lowbit.convert(model, torch.randn(8, 4)).exact
