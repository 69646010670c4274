"""The contract, whole catalogue: one representative width a method here, every legal choice in the slow tests.

A method joins by its line in `lowbit.quantizers.METHODS`. What it needs besides: an entry in `gradients.REFERENCES`
where its surrogate gradient is not the default, and in `skips.SKIPS` where a clause cannot hold, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.cases import Case, legal, representative
from contract.checks import CHECKS, compiles
from contract.gradients import REFERENCES
from contract.networks import check_converted_equals_the_eval_model
from contract.skips import SKIPS

from lowbit.quantizers import METHODS

Check = Callable[[Case], None]
ALL: tuple[Check, ...] = (*CHECKS, check_converted_equals_the_eval_model)
TRACES = "check_traces_as_one_graph"  # seconds a case: once a method


def keep(check: Check, case: Case) -> None:
    """Run a check unless the method declares why not."""
    reason = SKIPS.get((case.method, check.__name__))
    if reason:
        pytest.skip(reason)
    check(case)


def _fast() -> list[tuple[Check, Case]]:
    cases = {method: representative(method) for method in METHODS}
    return [
        (check, case)
        for check in ALL
        for method in METHODS
        for case in (cases[method][:1] if check.__name__ == TRACES else cases[method])
    ]


@pytest.mark.parametrize(("check", "case"), _fast(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_contract(check: Check, case: Case) -> None:
    keep(check, case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for method in METHODS for case in legal(method)], ids=str)
def test_every_legal_choice(case: Case) -> None:
    for check in ALL:
        if check.__name__ != TRACES and (case.method, check.__name__) not in SKIPS:
            check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for method in METHODS for case in representative(method)], ids=str)
def test_compiled_code_keeps_codes(case: Case) -> None:
    # what draws in training draws from the compiler's own generator there: only eval can be compared
    draws = case.role == "gradient" or case.method == "binaryconnect-stochastic"
    compiles(case, "inductor", (False,) if draws else (False, True))


def test_skips_and_references_name_what_exists() -> None:
    names = {check.__name__ for check in ALL}
    assert {name for _, name in SKIPS} <= names
    assert {method for method, _ in SKIPS} | set(REFERENCES) <= set(METHODS)
    assert all(len(reason) > 10 for reason in SKIPS.values())


def test_every_method_has_a_case_in_each_of_its_roles() -> None:
    for name, method in METHODS.items():
        roles = {case.role for case in legal(name)}
        assert {role[0].upper() for role in roles} >= set(method.card.kind) & set("WAG")
