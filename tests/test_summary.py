"""`summary`: nothing that is float, inexact, skipped or switched off goes unsaid."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lowbit
from lowbit.errors import InvalidInput


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.up = nn.ConvTranspose2d(4, 4, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        y = self.conv(y) + y
        return self.head(self.up(y).mean((2, 3)))


def rows(model: nn.Module) -> dict[str, dict]:
    return {r["layer"]: r for r in lowbit.summary(model).to_dict()["rows"]}


def test_rows_of_layers():
    model = lowbit.prepare(Net(), weight="lsq:2@channel", activation="lsq:3", example=torch.randn(2, 1, 5, 6))
    table = rows(model)
    conv = table["conv"]
    assert conv["weight"] == "lsq:2@channel" and conv["activation"] == "lsq:3" and (conv["W"], conv["A"]) == (2, 3)
    assert conv["parameters"] == 144 and conv["MACs"] == 36 * 4 * 30 and conv["exact"] and conv["note"] is None
    assert conv["bytes"] == 144 * 2 // 8 + 4 * 4
    assert table["stem"]["bytes"] == 36 + 4 * 4 + 4 and table["stem"]["parameters"] == 40


def test_what_is_not_integer_is_said():
    model = lowbit.prepare(Net(), last=None)
    table = rows(model)
    assert table["lowbit_add"]["note"] == "float32 stream" and table["lowbit_add"]["A"] == 32
    assert "inexact: a float operand" in table["head"]["note"] and not table["head"]["exact"]
    assert "not quantized" in table["up"]["note"]
    assert "not calibrated" in table["conv"]["note"]
    assert not lowbit.summary(model).to_dict()["totals"]["exact"]


def test_added_quantizers_switched_off_and_wide_ones():
    x = torch.randn(2, 1, 5, 6)
    model = lowbit.prepare(Net(), weight="lsq:9", add="lsq:8", output="affine:6", example=x)
    model.stem.input_quantizer.enabled = False
    table = rows(model)
    assert table["lowbit_add"]["activation"] == "lsq:8" and table["lowbit_add"]["note"] in ("", None)
    assert "switched off" in table["stem"]["note"]
    assert "more than 8 bits: trains, does not convert" in table["conv"]["note"]
    assert table["conv"]["output"] == "affine:6"


def test_text_and_json_agree():
    model = lowbit.prepare(Net(), example=torch.randn(2, 1, 5, 6))
    table = lowbit.summary(model)
    data = json.loads(json.dumps(table.to_dict()))
    assert [r["layer"] for r in data["rows"]] == ["stem", "conv", "up", "head", "lowbit_add"]
    for row in data["rows"]:
        assert any(line.startswith(row["layer"]) for line in str(table).splitlines())


def test_removed_relus_are_said():
    x = torch.randn(4, 6)
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2))
    model = lowbit.prepare(net, weight="sign", activation="sign", example=x)
    assert isinstance(model[2], nn.Identity)
    assert any(line.startswith("2") and "ReLU" in line for line in str(lowbit.summary(model)).splitlines())


class Sub(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("layer", "parameters", "note"),
    [
        (Sub(6, 6), 42, "only plain Linear is, no subclass"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), 6, "only plain Linear is"),
        (nn.LayerNorm(6), 12, "no such layer"),
        (nn.PReLU(), 1, "no such layer"),
        (nn.LazyLinear(6), None, "only plain Linear is"),
    ],
)
def test_every_module_with_parameters_has_a_row(layer, parameters, note):
    net = nn.Sequential(nn.Linear(6, 6), layer, nn.Linear(6, 2))
    model = lowbit.prepare(net)
    row = rows(model)["1"]
    assert row["parameters"] == parameters and (row["W"], row["A"]) == (32, 32) and not row["exact"]
    assert f"not quantized: {note}" in row["note"]
    assert not lowbit.summary(model).to_dict()["totals"]["exact"]


def test_parts_of_modules_and_parameters_of_the_model_itself_have_rows():
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6))
            self.attention, self.rnn = nn.MultiheadAttention(6, 1), nn.RNN(6, 6)
            self.two, self.norm, self.head = nn.Bilinear(6, 6, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)

    net = Own()
    table = lowbit.summary(lowbit.prepare(net, weight={"method": "mixture", "bits": 2, "learned": True}, last="same"))
    names = ["(model)", "attention", "attention.out_proj", "head", "rnn", "two"]
    assert sorted(r["layer"] for r in table.to_dict()["rows"]) == names
    of_quantizers = sum(p.numel() for n, p in net.named_parameters() if "quantizer" in n or n.startswith("norm"))
    assert table.to_dict()["totals"]["parameters"] == sum(p.numel() for p in net.parameters()) - of_quantizers


def test_an_unprepared_model_is_float():
    table = lowbit.summary(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))).to_dict()
    assert [r["note"] for r in table["rows"]] == ["not quantized: call lowbit.prepare first"] * 2
    assert table["totals"] == {"parameters": 56, "bytes": 224, "exact": False}
    with pytest.raises(InvalidInput, match="summary got 5, allowed is a model"):
        lowbit.summary(5)


def test_widths_are_those_of_the_program():
    torch.manual_seed(0)
    x = torch.randn(8, 6)
    for method, change, bits in (
        ("bitpruning:4", lambda q: q.width.fill_(2), 2),
        ("dqdnn:4", lambda q: q.step.mul_(4), 3),
        ("mixture:8", lambda q: q.choose(1), 16),
    ):
        net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        model = lowbit.prepare(net, weight=method, activation=method, example=x)
        with torch.no_grad():
            for q in (model[2].weight_quantizer, model[2].input_quantizer):
                change(q)
        row = rows(model)["2"]
        assert row["weight"] == row["activation"] == method
        assert row["W"] == bits and row["bytes"] == 64 * bits // 8 + 4 * 8 + 4
        assert row["A"] == model[2].input_quantizer.grid().bits != int(method[-1])
        assert ("does not convert" in (row["note"] or "")) == (bits > 8)
        if bits <= 8:
            ops = [op for op in lowbit.convert(model, x).ops if op.kind == "linear"]
            assert ops[1].weight.grid.bits == bits
