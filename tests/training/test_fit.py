"""Training through Lightning: hooks in order, resume to the last bit, Ctrl-C, NaN."""

import logging
import os
import pickle
import signal

import pytest
import torch
from torch import nn

from lowbit.data import Batches
from lowbit.errors import InvalidInput, LowbitError
from lowbit.procedures import Procedure
from lowbit.training.evaluate import evaluate
from lowbit.training.fit import Plan, fit
from lowbit.training.recipes import OptimizerPart, SchedulePart
from tests.training.events import events

EPOCHS, SIZE = 3, 16


def blobs(count=64):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 2
    return torch.randn(count, 4, generator=generator) + 2 * y[:, None], y


class Counting(Procedure):
    """Counts its hooks, keeps the count in the checkpoint, and may interrupt the training."""

    def __init__(self, interrupt_at=None, during="step"):
        self.calls, self.steps = [], 0
        self.interrupt_at, self.during = interrupt_at, during

    def start(self, run):
        self.calls.append("start")

    def after_backward(self, run):
        assert all(p.grad is not None for p in run.model.parameters())
        self.calls.append("after_backward")

    def after_step(self, run):
        self.calls.append("after_step")
        self.steps += 1
        assert run.step == self.steps
        run.log("steps", self.steps)
        if self.during == "step" and run.step == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)

    def epoch_end(self, run):
        self.calls.append("epoch_end")

    def state_dict(self):
        if self.during == "saving" and self.steps == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        return {"steps": self.steps}

    def load_state_dict(self, state):
        assert self.calls == ["start"]
        self.steps = state["steps"]


def train(folder, procedure=None, x=None, lr=0.05):
    inputs, y = blobs()
    x = inputs if x is None else x
    torch.manual_seed(0)
    # Dropout draws from the global generator, which the checkpoint must bring back.
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    rows = fit(
        model,
        Batches(x, y, size=SIZE),
        Plan(epochs=EPOCHS, optimizer=OptimizerPart(lr=lr), schedule=SchedulePart()),
        procedure=procedure or Counting(),
        evaluate=lambda: evaluate(model, inputs, y),
        folder=folder,
        accelerator="cpu",
    )
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows], model.state_dict()


def test_hooks_come_in_order(tmp_path):
    procedure = Counting()
    rows, _ = train(None, procedure)
    step = ["after_backward", "after_step"]
    assert procedure.calls == ["start", *(EPOCHS * [*(4 * step), "epoch_end"])]
    assert [row["steps"] for row in rows] == [4, 8, 12]


@pytest.mark.parametrize(("at", "during", "kept"), [(2, "step", 0), (6, "step", 1), (8, "saving", 2), (11, "step", 2)])
def test_interrupted_training_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path, at, during, kept):
    expected, weights = train(None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Counting(at, during))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert {*os.listdir(tmp_path)} == ({"checkpoint.pt", "log.csv", "tensorboard"} if kept else {"tensorboard"})
    if kept:
        assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + kept
    torch.manual_seed(99)
    rows, resumed = train(tmp_path)
    assert rows == expected
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert [step for step, _ in events(tmp_path / "tensorboard")] == [row["step"] for row in rows]


def test_writes_nothing_elsewhere_and_says_nothing(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with caplog.at_level(logging.INFO):
        train(tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]
    assert {*os.listdir(tmp_path / "run")} == {"checkpoint.pt", "log.csv", "tensorboard"}
    assert capsys.readouterr() == ("", "")


def test_nan_in_a_batch_is_named(tmp_path):
    x = blobs()[0].clone()
    x[5, 1] = float("nan")
    with pytest.raises(InvalidInput, match=r"epoch 1, batch \d: input \d+ holds NaN or infinity; clean the data"):
        train(None, x=x)


def test_divergence_is_named():
    with pytest.raises(LowbitError, match=r"the loss is (nan|inf); lower optimizer.lr"):
        train(None, lr=1e38)


def test_damaged_checkpoint_is_named(tmp_path):
    train(tmp_path)
    place = tmp_path / "checkpoint.pt"
    place.write_bytes(place.read_bytes()[:500])
    with pytest.raises(InvalidInput, match=r"checkpoint\.pt: cannot be continued, it is damaged"):
        train(tmp_path)


@pytest.mark.parametrize("content", [b"x", b"\x00" * 64, pickle.dumps([1]), b""])
def test_anything_else_in_place_of_a_checkpoint(tmp_path, content):
    train(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"checkpoint\.pt: cannot be continued.*delete .* to train again") as caught:
        train(tmp_path)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)
