"""Lipschitz constants: against singular values of the written-out operator."""

import math

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis.lipschitz import lipschitz_table, spectral_norm
from lowbit.procedures.lipschitz import gap
from tests.analysis.networks import gaussian, linear_chain


def test_linear_layers_have_their_largest_singular_value():
    net = linear_chain("l2:3", None)
    table = lipschitz_table(net, gaussian())
    for row, layer in zip(table.rows, net, strict=True):
        assert row["float"] == pytest.approx(float(torch.linalg.matrix_norm(layer.weight.detach(), 2)), rel=1e-2)
        assert row["quantized"] != row["float"]
        assert row["penalty"] == pytest.approx(float(gap(layer.weight.detach())))
    assert table.totals["float"] == pytest.approx(math.prod(row["float"] for row in table.rows))
    assert table.totals["L_Lip"] == pytest.approx(sum(row["penalty"] for row in table.rows))


def test_convolutions_count_with_their_geometry():
    torch.manual_seed(0)
    net = lowbit.prepare(nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1)), None, None, first=None, last=None)
    basis = torch.eye(2 * 6 * 6).reshape(-1, 2, 6, 6)
    operator = net[0].multiply(basis, net[0].weight.detach(), None).flatten(1)
    expected = float(torch.linalg.matrix_norm(operator, 2))
    assert spectral_norm(net[0], net[0].weight, torch.Size([2, 6, 6])) == pytest.approx(expected, rel=1e-3)


def test_orthogonal_weights_have_one_and_no_penalty():
    net = nn.Sequential(nn.Linear(8, 8))
    nn.init.orthogonal_(net[0].weight)
    row = lipschitz_table(lowbit.prepare(net, None, None, first=None, last=None), gaussian(features=8)).rows[0]
    assert row["float"] == pytest.approx(1.0, abs=1e-5) and row["penalty"] == pytest.approx(0, abs=1e-9)
    assert row["quantized"] is None
