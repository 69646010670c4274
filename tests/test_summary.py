"""`summary`: nothing that is float, inexact, skipped or switched off goes unsaid."""

from __future__ import annotations

import json

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lowbit


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
