"""The log as CSV, and the bar's line."""

import pytest

from lowbit.errors import InvalidInput
from lowbit.training.log import read_log, write_log
from lowbit.training.progress import epoch_line


def test_rows_may_have_different_columns(tmp_path):
    rows = [{"epoch": 1, "train_loss": 0.1}, {"epoch": 2, "train_loss": 1e-7, "test_accuracy": 99.5}]
    write_log(tmp_path / "log.csv", rows)
    assert read_log(tmp_path / "log.csv") == rows


def test_line_leaves_out_what_was_not_evaluated():
    row = {"epoch": 2, "train_loss": 0.25, "train_accuracy": 90.0, "seconds": 1.5}
    assert epoch_line("net", row, 4) == "net  epoch 2/4  loss 0.250  train 90.00 %  1.5 s"
    assert "test 91.00 %" in epoch_line("net", row | {"test_accuracy": 91.0}, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,train_loss\n1,2,3\n", r"log\.csv:2: is not the log of a training; delete the run's folder"),
        ("epoch,train_loss\n1\n", r"log\.csv:2: is not the log of a training"),
        ("train_loss\n1\n", r"log\.csv: is not the log of a training"),
        ("epoch\nx\n", r"log\.csv: has a row without an epoch"),
        ("", r"log\.csv: is not the log of a training"),
        (b"\xff\xfe\x00", r"log\.csv: cannot be read"),
    ],
)
def test_damaged_logs_are_named(tmp_path, text, message):
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=message):
        read_log(path)
