"""The TensorBoard log: what it holds, and that a resumed one repeats nothing."""

import pytest

from lowbit.training.tensorboard import EventLog
from tests.training.events import events


def row(epoch):
    return {"epoch": epoch, "step": 10 * epoch, "lr": 0.5, "train_loss": 2.0, "test_accuracy": 80.0 + epoch,
            "omega": 1.5, "seconds": 3.0}  # fmt: skip


def test_rows_are_there_once_after_resuming(tmp_path):
    log = EventLog(tmp_path, [])
    log.add(row(1))
    log.add(row(2))
    log.path.write_bytes(log.path.read_bytes()[:-7])  # torn off by an interruption
    EventLog(tmp_path, [row(1)]).add(row(2))
    found = events(tmp_path / "tensorboard")
    assert [step for step, _ in found] == [10, 20]
    assert found[1][1] == pytest.approx(
        {"lr": 0.5, "loss/train": 2.0, "accuracy/test": 82.0, "procedure/omega": 1.5, "seconds": 3.0}
    )
