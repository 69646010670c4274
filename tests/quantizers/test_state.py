"""State of one quantizer in another: refused unless method, bits and granularity are the same.

Other bits are refused at the first use, since procedures that change bits restore them after the state.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lowbit
from lowbit.errors import InvalidInput
from lowbit.quantizers import quantizer
from lowbit.quantizers.base import without_identity


def model(weight: str, activation: str = "lsq:2") -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    return lowbit.prepare(net, weight=weight, activation=activation, example=torch.randn(8, 6))


@pytest.mark.parametrize(
    ("saved", "own"),
    [
        ("lsq:2@channel", "lsq:2"), ("lsq:2", "lsq:2@channel"), ("twn", "bwn@tensor"),
    ],
)  # fmt: skip
def test_other_weight_methods_are_refused(saved: str, own: str) -> None:
    state, into = model(saved).state_dict(), model(own)
    names = [str(q.identity) for q in (model(saved)[2].weight_quantizer, into[2].weight_quantizer)]
    message = f"2.weight_quantizer: the state is that of {names[0]}, the quantizer is {names[1]}; prepare the model"
    with pytest.raises(InvalidInput, match=message):
        into.load_state_dict(state)


@pytest.mark.parametrize(
    ("weight", "activation", "place"),
    [("lsq:4", "lsq:2", "weight"), ("lsq:2", "lsq:4", "input"), ("mixture:4", "lsq:2", "weight")],
)
def test_other_bits_are_refused_at_the_first_use(weight: str, activation: str, place: str) -> None:
    x, into = torch.randn(8, 6), model(weight.replace("4", "2"), activation.replace("4", "2"))
    into.load_state_dict(model(weight, activation).state_dict())
    has = weight if place == "weight" else activation
    for mode in (True, False):
        with pytest.raises(InvalidInput, match=rf"2: the state is that of {has}, .*saved with, or calibrate it"):
            into.train(mode)(x)
    lowbit.calibrate(into, [x])(x)


@pytest.mark.parametrize("method", ["lsq:2@channel", "lq:2@channel", "ttq@channel", "mixture:2", "affine:4", "xnor++"])
def test_the_same_methods_load_calibrated_or_not(method: str) -> None:
    x = torch.randn(8, 6)
    trained, fresh = model(method, "minmax:2"), model(method, "minmax:2")
    assert fresh.load_state_dict(trained.state_dict()).missing_keys == []
    assert torch.equal(trained.eval()(x), fresh.eval()(x))
    old, new = quantizer(method), quantizer(method)
    old.calibrate(x)
    new.load_state_dict(old.state_dict())
    assert torch.equal(old(x), new(x))


@pytest.mark.parametrize(("saved", "own"), [("lsq:2@channel", "lsq:2"), ("lsq:2", "lsq:2@channel")])
def test_states_of_older_versions_load_and_other_granularities_do_not(saved: str, own: str) -> None:
    state = without_identity(model(saved).state_dict())
    model(saved).load_state_dict(state)
    with pytest.raises(InvalidInput, match=r"2\.weight_quantizer: the state is that of one with a number for"):
        model(own).load_state_dict({k: v for k, v in state.items() if not k.startswith("0.")}, strict=False)


def test_a_chosen_part_of_a_mixture_is_no_other_mixture() -> None:
    x, q = torch.randn(4, 6), quantizer("mixture:2")
    q.calibrate(x)
    q.choose(2)
    again = quantizer("mixture:2")
    again.load_state_dict(q.state_dict())
    assert again.bits == 8 and torch.equal(again.eval()(x), q.eval()(x))
