"""The log as CSV, and the bar's line."""

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
