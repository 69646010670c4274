"""The whole diagnosis: what it holds, what it refuses, and that it goes on where it stopped."""

import copy
import json

import pytest
import torch
from torch import nn

import lowbit
from lowbit.analysis import diagnosis
from lowbit.analysis.diagnosis import STEPS
from lowbit.errors import InvalidInput, NotCalibrated
from tests.analysis.networks import blobs, trained


def low_bit():
    net = lowbit.prepare(trained(), "l2:3", "lsq:4", first="same", last="same")
    return lowbit.calibrate(net, [blobs()[0]])


def test_everything_is_in_the_json(tmp_path):
    net = low_bit().train()
    kept = copy.deepcopy(net.state_dict())
    shown = []
    found = lowbit.diagnose(net, [blobs(100), blobs(28, seed=3)], show=lambda *step: shown.append(step))
    assert set(found.tables) == set(STEPS) and found.images == 128
    assert [step[1] for step in shown] == list(range(len(STEPS) + 1))
    found.save(tmp_path / "diagnosis.json")
    record = json.loads((tmp_path / "diagnosis.json").read_text())
    assert record == json.loads(json.dumps(found.to_dict()))
    assert record["cause"] == found.cause and found.cause in str(found)
    assert net.training and all(torch.equal(value, kept[key]) for key, value in net.state_dict().items())
    row = found.tables["flipped"].rows[0]
    assert row["float"] != row["quantized"] and row["margin"] > 0
    assert found.tables["flipped"].totals["changed"] >= len(found.tables["flipped"].rows)


def test_it_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    net, data = low_bit(), [blobs(64)]
    whole = lowbit.diagnose(net, data)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "noise_table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lowbit.diagnose(net, data, cache=tmp_path)
    done = sorted(path.stem for path in tmp_path.rglob("*.json"))
    assert done == sorted(list(STEPS)[: list(STEPS).index("noise")])
    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "split", interrupted)  # is not measured again
        again = lowbit.diagnose(net, data, cache=tmp_path)
    assert json.dumps(again.to_dict()) == json.dumps(whole.to_dict())


def test_the_cache_knows_the_content(tmp_path):
    net, data = low_bit(), [blobs(64)]
    lowbit.diagnose(net, data, cache=tmp_path)
    with torch.no_grad():
        net[2].weight[0, 0] += 0.5
    changed = lowbit.diagnose(net, data, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert changed.to_dict() == lowbit.diagnose(net, data).to_dict()
    damaged = next(iter(tmp_path.rglob("split.json")))
    damaged.write_text("{")
    assert lowbit.diagnose(net, data, cache=tmp_path).to_dict() == changed.to_dict()


def test_without_labels():
    found = lowbit.diagnose(low_bit(), [blobs(64)[0]])
    assert found.tables["split"].rows[0]["accuracy"] is None
    assert "points of agreement" in found.cause


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        ([], "got no data; give it at least one batch"),
        ([torch.zeros(0, 16)], "got no data"),
        (torch.zeros(4, 16), "got one tensor, allowed is a list"),
        (3, "got 3, allowed is a list"),
        (["x"], "a batch is str"),
        (
            [(torch.randn(4, 16), torch.zeros(4, dtype=torch.long))],
            "every label is class 0, so accuracy",
        ),
        ([torch.full((4, 16), torch.nan)], "the inputs hold NaN or infinity"),
        ([(torch.randn(4, 16), torch.zeros(4))], r"labels are torch.float32 \[4\]"),
        ([blobs(8), blobs(8)[0]], "some batches have labels and others none"),
    ],
)
def test_bad_data(batches, text):
    with pytest.raises(InvalidInput, match=text):
        lowbit.diagnose(low_bit(), batches)


def test_bad_models():
    data = [blobs(32)]
    with pytest.raises(InvalidInput, match=r"without quantizers; call lowbit.prepare\(model\) first"):
        lowbit.diagnose(trained(), data)
    with pytest.raises(InvalidInput, match="without quantizers"):
        lowbit.diagnose("net", data)
    with pytest.raises(NotCalibrated, match=r"has no scale yet; run lowbit.calibrate\(model, batches\) then diagnose"):
        lowbit.diagnose(lowbit.prepare(trained()), data)
    net = low_bit()
    with torch.no_grad():
        net[2].weight[0, 0] = torch.nan
    with pytest.raises(InvalidInput, match=r"^2: the weight holds NaN or infinity"):
        lowbit.diagnose(net, data)


def test_a_layer_without_variance_is_marked():
    net = trained()
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.fill_(1.0)
    found = lowbit.diagnose(lowbit.calibrate(lowbit.prepare(net, "affine:8", "affine:8"), [blobs()[0]]), [blobs(64)])
    assert "2: its float output is constant, so there is no signal to compare with" in found.tables["sqnr"].notes
    json.dumps(found.to_dict(), allow_nan=False)


def test_convolutions_with_additions():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x):
            h = torch.relu(self.a(x))
            return self.c((h + self.b(h)).mean((2, 3)))

    x = torch.randn(32, 1, 6, 6)
    net = lowbit.prepare(Net(), "lsq:2@channel", "lsq:2", add="lsq:4", example=x)
    found = lowbit.diagnose(net, [(x, net(x).argmax(1))] if len(set(net(x).argmax(1).tolist())) > 1 else [x])
    assert any(row["layer"] == "lowbit_add" for row in found.tables["parts"].rows)
    json.dumps(found.to_dict(), allow_nan=False)
