"""Random networks: eval model == reference == every instruction set, value by value, tolerance zero."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from exactness.check import Converted, compare, engines, on_ties, stages
from exactness.edges import drive
from exactness.networks import Case, Draw, Shrinking, draw_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lowbit

quiet = settings(
    deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip


def trained(case: Case) -> torch.nn.Module:
    """Prepare, calibrate, take one training step."""
    torch.manual_seed(case.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*its sign is always")
        model = lowbit.prepare(case.net, **case.settings)
    lowbit.calibrate(model, [case.inputs(4, 1), case.inputs(3, 2)])
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    try:
        model(case.inputs(4, 3)).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
    except (ValueError, RuntimeError) as error:  # the float network cannot be trained either
        if not re.search("more than 1 value per channel|modified by an inplace operation", str(error)):
            raise
    return model.eval()


def prove(case: Case) -> Converted:
    """The whole comparison for one network."""
    model = trained(case)
    x = case.inputs(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        made = stages(model, x)
    native = engines(made.program)
    compare(model, made, x, native)
    compare(model, made, x[:1], native)
    compare(model, made, on_ties(model, made, x), native)
    if x.ndim == 4:
        compare(model, made, x.to(memory_format=torch.channels_last), native)
        compare(model, made, x[1:2].to(memory_format=torch.channels_last), native)
    drive(made)
    return made


@settings(quiet, max_examples=20)
@given(st.data())
def test_random_networks_shrinking(data):
    case = draw_case(Shrinking(data))
    prove(case)


@pytest.mark.parametrize("block", range(4))
def test_seeded_networks(block):
    made = [run_seed(seed) for seed in range(10 * block, 10 * block + 10)]
    assert sum(m is not None for m in made) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("block", range(8))
def test_many_seeded_networks(block):
    for seed in range(1000 + 45 * block, 1045 + 45 * block):
        run_seed(seed, length=16)


def run_seed(seed: int, length: int = 8) -> Converted | None:
    try:
        return prove(draw_case(Draw(seed), length))
    except Exception as error:
        error.add_note(f"random network of seed {seed}, length {length}")
        raise
