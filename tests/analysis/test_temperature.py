"""Error against temperature: both ends in closed form, the paper's claim, and the layers of a network."""

import itertools

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis.temperature import TEMPERATURES, mixture_error, preference, temperature_table
from lowbit.errors import InvalidInput
from tests.analysis.networks import trained


def parts(x, *specs):
    found = []
    for spec in specs:
        q = None if spec == "float" else lowbit.quantizer(spec, role="weight")
        if q is not None:
            q.calibrate(x)
        found.append(q)
    return found


@pytest.fixture
def x():
    return torch.randn(4096, generator=torch.Generator().manual_seed(0))


def test_cold_is_the_fewest_bits_and_hot_is_the_mean(x):
    low, middle, high = parts(x, "minmax:2", "minmax:4", "minmax:8")
    cold, hot = mixture_error(x, [low, middle, high], [1e-3, 1e6])
    assert cold == pytest.approx(float((x - low(x)).abs().mean()), rel=1e-5)
    mean = (low(x) + middle(x) + high(x)) / 3
    assert hot == pytest.approx(float((x - mean).abs().mean()), rel=1e-4)


def test_two_parts_at_a_given_temperature():
    x = torch.tensor([0.4])
    (q,) = parts(torch.tensor([-1.0, 1.0]), "minmax:2")  # 0.4 becomes a third
    share = torch.softmax(torch.tensor([0.75, 0.25]) / 0.5, 0)[0]
    (error,) = mixture_error(x, [q, None], [0.5])
    assert error == pytest.approx(float(share * (x - q(x)).abs()), rel=1e-5)


def test_claim_three_widths_err_less_than_two_bits_with_the_float_when_cold(x):
    dqa = mixture_error(x, parts(x, "minmax:2", "minmax:4", "minmax:8"))
    relax = mixture_error(x, parts(x, "minmax:2", "float"))
    assert all(a >= b for a, b in itertools.pairwise(dqa))
    assert all(a <= b * 1.001 for a, b in zip(dqa, relax, strict=True)), (dqa, relax)


def test_preferences_and_bad_temperatures(x):
    assert preference([2, 4, 8]) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    with pytest.raises(InvalidInput, match="above 0"):
        mixture_error(x, [None], [0.0])
    with pytest.raises(InvalidInput, match="0 parts"):
        mixture_error(x, [])


def test_layers_of_a_network_with_mixtures():
    weight = {"method": "mixture", "bits": 2, "parts": ["minmax:2", "minmax:4"], "learned": True}
    net = lowbit.prepare(trained(), rules=[{"match": "2", "weight": weight}, {"match": "*", "weight": "minmax:4"}])
    lowbit.calibrate(net, [torch.randn(8, 16)])
    table = temperature_table(net)
    assert [(row["layer"], row["parts"]) for row in table.rows] == [
        ("2", "minmax:2 + minmax:4"), ("2", "minmax:2 + float")
    ]  # fmt: skip
    assert all(len(row["errors"]) == len(TEMPERATURES) for row in table.rows)
    assert temperature_table(nn.Sequential()).rows == []
