"""`parse` and `Spec.build`: nothing that a specification says is dropped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lowbit
from lowbit.quantizers import METHODS, quantizer
from lowbit.quantizers.catalog import methods, parse


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "spec",
    ["lsq:2@channel", {"method": "lsq:2@channel"}, {"method": "lsq@channel", "bits": 2},
     {"method": "lsq:2@channel", "bits": 2, "granularity": "channel"}],
)  # fmt: skip
def test_a_mapping_says_what_its_text_says(spec: object) -> None:
    assert str(parse(spec)) == "lsq:2@channel"
    assert quantizer(spec).channel


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"method": "lsq:2", "bits": 4}, "says bits 2 and 4"),
        ({"method": "lsq:2@channel", "granularity": "tensor"}, "says granularity channel and tensor"),
    ],
)
def test_contradictions_are_refused(spec: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(spec)


@pytest.mark.parametrize("role", ["activation", "output", "gradient"])
@pytest.mark.parametrize("spec", ["dorefa:2@channel", {"method": "dorefa", "bits": 2, "granularity": "channel"}])
def test_channels_are_refused_where_there_are_none(role: str, spec: object) -> None:
    with pytest.raises(ValueError, match=rf"is for weights, not for role '{role}': write 'dorefa:2' there"):
        quantizer(spec, role=role)
    model = net()
    with pytest.raises(ValueError, match="is for weights"):
        lowbit.prepare(model, **{role: spec})
    assert type(model[0]) is nn.Linear
    assert not quantizer("dorefa:2@tensor", role="activation").channel


def test_channels_by_default_are_for_weights_and_need_no_word() -> None:
    both = [name for name, m in METHODS.items() if m.card.channel and "A" in m.card.kind]
    assert both  # else this test says nothing
    for name in both:
        bits = METHODS[name].card.min_bits
        assert quantizer(f"{name}:{bits}").channel and not quantizer(f"{name}:{bits}", role="activation").channel


def test_channels_of_the_first_and_last_layer_are_the_weights() -> None:
    model = lowbit.prepare(net(), first="affine:8@channel", last="lsq:4@channel", example=torch.randn(8, 6))
    for layer in (model[0], model[4]):
        assert layer.weight_quantizer.channel and not layer.input_quantizer.channel


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_parts_of_a_mixture_have_its_granularity(granularity: str) -> None:
    other = {"tensor": "channel", "channel": "tensor"}[granularity]
    spec = {"method": f"mixture:2@{granularity}", "parts": [f"lsq:2@{other}", "bwn"]}
    with pytest.raises(ValueError, match=f"part 'lsq:2@{other}' has another granularity"):
        quantizer(spec)
    q = quantizer(spec | {"parts": [f"lsq:2@{granularity}", "bwn"]})
    assert all(part.channel == (granularity == "channel") for part in q.parts)


def test_every_method_lists_the_option_that_all_have() -> None:
    assert all(row["options"]["ste"] is None for row in methods())
