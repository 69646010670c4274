"""The demo, shortened: every promised file and number, and bit-for-bit agreement."""

import json

import pytest

from lowbit.demo import run_demo

PROMISED = {
    "float_accuracy", "lowbit_accuracy", "integer_accuracy", "agreement", "bytes_float", "bytes_lowbit", "us_lowbit",
    "us_onnxruntime_fp32", "us_onnxruntime_int8",
}  # fmt: skip


def test_short_demo(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    summary = run_demo(tmp_path / "demo", epochs=2, seconds=0.02)
    out = capsys.readouterr().out
    assert json.loads((tmp_path / "demo" / "summary.json").read_text()) == summary
    assert set(summary) >= PROMISED
    assert summary["agreement"] == 1.0
    assert summary["integer_accuracy"] == summary["lowbit_accuracy"]
    assert summary["bytes_lowbit"] == (tmp_path / "demo" / "net.lowbit").stat().st_size
    assert summary["bytes_lowbit"] < summary["bytes_float"] / 8
    assert "2-bit from the file" in out
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert [row["W"] for row in report["layers"]] == [8, 2, 2, 8]
    assert all(row["kernel"] for row in report["layers"])
    assert (tmp_path / "demo" / "report.html").stat().st_size < 6_000_000


@pytest.mark.slow
def test_two_bits_reach_the_float_accuracy(tmp_path):
    summary = run_demo(tmp_path / "demo", seconds=0.02)
    assert summary["float_accuracy"] > 97
    assert summary["lowbit_accuracy"] > summary["float_accuracy"] - 2
