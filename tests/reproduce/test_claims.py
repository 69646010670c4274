"""Verdicts on made numbers."""

import pytest

from lowbit.errors import InvalidInput
from lowbit.reproduce.claims import CONTRADICTED, HELD, UNDECIDED, Term, judge, parse_comparison

MADE = {
    "a": [90.0, 91.0, 92.0],  # 91 +- 1
    "b": [88.0, 89.0, 90.0],  # 89 +- 1
    "c": [90.5, 90.5, 90.5],  # no spread
    "one": [95.0],
    "none": [],
}


def verdict(says):
    return judge(parse_comparison(says), lambda term: MADE[term.key])


@pytest.mark.parametrize(
    ("says", "expected", "value", "deviation"),
    [
        ("a >= b", HELD, 2, 2**0.5),
        ("b >= a", CONTRADICTED, -2, 2**0.5),
        ("a >= c", UNDECIDED, 0.5, 1),
        ("c >= 90.4", HELD, 0.1, 0),
        ("c >= 90.5", UNDECIDED, 0, 0),
        ("b + 2.5 >= c", UNDECIDED, 1, 1),  # exactly one deviation is not beyond it
        ("b + 2.6 >= c", HELD, 1.1, 1),
        ("a - b >= c - a", HELD, 2.5, 5**0.5),  # a counts twice: variance 4 + 1
        ("a - a + c >= 90", HELD, 0.5, 0),
    ],
)
def test_verdicts(says, expected, value, deviation):
    found = verdict(says)
    assert found.verdict == expected
    assert (found.value, found.deviation) == (pytest.approx(value), pytest.approx(deviation))


@pytest.mark.parametrize(("says", "reason"), [("a >= one", "one is run with one seed only"),
                                              ("none >= a", "none is not run")])  # fmt: skip
def test_too_few_seeds_decide_nothing(says, reason):
    found = verdict(says)
    assert (found.verdict, found.value, found.reason) == (UNDECIDED, None, reason)


def test_terms():
    found = parse_comparison("dqa-mm.soft_accuracy@2 - w2 >= 3.5 - dqa-mm")
    assert found.factors == {Term("dqa-mm", "soft_accuracy", 2): 1, Term("w2"): -1, Term("dqa-mm"): 1}
    assert found.constant == -3.5


@pytest.mark.parametrize("says", ["a", "a > b", "a >= b >= c", "a >=", "a b >= c", "a * b >= c", "1 >= 0", "a@0 >= b"])
def test_unreadable_claims_are_refused(says):
    with pytest.raises(InvalidInput, match="claim"):
        parse_comparison(says)
