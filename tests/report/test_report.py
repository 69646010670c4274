"""The page: complete, self-contained, small, and equal to its JSON."""

import json
import re

import pytest

import lowbit
from lowbit.errors import InvalidInput
from lowbit.report.content import contender, points, size, times
from lowbit.report.figures import figures
from lowbit.report.page import MAX_BYTES, write_page

LAYER = {
    "run": "",
    "layer": "conv1", "kind": "conv", "W": 2, "A": 2, "grid": "uniform -2..1", "activation_grid": "uniform 0..3",
    "kernel": "planes", "parameters": 9, "MACs": 900, "bytes": 3, "exact": True, "weight_sqnr": 9.5,
    "activation_sqnr": None,
}  # fmt: skip


@pytest.fixture
def content():
    rows = [
        {"epoch": 1, "train_loss": 1.0, "train_accuracy": 50.0, "test_loss": 1.1, "test_accuracy": 49.0},
        {"epoch": 2, "train_loss": 0.5, "train_accuracy": 80.0, "test_loss": 0.6, "test_accuracy": 78.0},
    ]
    return {
        "title": "A <net> & its numbers",
        "lead": "One sentence.",
        "cards": [{"label": "Accuracy", "value": "78.00 %", "note": "float 80.00 %"}],
        "contenders": [
            contender("float", accuracy=80.0, bytes=1000, us_1=10.0, us_64=5.0),
            contender("2-bit", ours=True, accuracy=78.0, bytes=100, us_1=2.5),
        ],
        "layers": [LAYER, LAYER | {"layer": "conv2", "bytes": 30, "weight_sqnr": 12.0, "activation_sqnr": 11.0}],
        "curves": [{"name": "2-bit", "rows": rows}],
        "notes": ["How it was measured."],
        "provenance": {"seed": 0, "commit": "abc", "threads": None, "machine": {"processor": "x", "cores": 2}},
    }


def test_page_is_one_small_file_with_everything(content, tmp_path):
    write_page(content, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json"}
    assert (tmp_path / "report.html").stat().st_size < MAX_BYTES
    assert json.loads((tmp_path / "report.json").read_text()) == content
    assert "A &lt;net&gt; &amp; its numbers" in text
    shown = text.replace(re.search(r'id="plotly">(.*?)</script>', text, re.DOTALL)[1], "")
    # The icon is an empty data address, and everything else is in the page.
    assert re.findall(r'(?:src|href)="([^"]*)"', shown) == ["data:,", "#main"]
    for part in ("conv2", "uniform -2..1", "78.00", "abc", "How it was measured."):
        assert part in shown


def test_charts_have_the_numbers_of_the_content(content):
    charts = {chart["id"]: chart["figure"] for chart in figures(content)}
    assert set(charts) == {"size", "speed", "curves-accuracy", "curves-loss", "errors"}
    assert [trace["y"] for trace in charts["size"]["data"]] == [[78.0], [80.0], [78.0, 80.0]]  # ours, others, front
    assert [trace["x"] for trace in charts["speed"]["data"]] == [[2.5], [10.0], [2.5, 10.0]]
    assert charts["curves-accuracy"]["data"][0]["y"] == [49.0, 78.0]
    assert charts["errors"]["data"][0]["y"] == [9.5, 12.0]


def test_charts_without_numbers_are_left_out(content, tmp_path):
    content |= {"curves": [], "layers": [], "contenders": [contender("net", accuracy=80.0)]}
    assert figures(content) == []
    write_page(content, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 50_000


def test_page_needs_a_folder(content, tmp_path):
    with pytest.raises(InvalidInput, match="there is no folder"):
        write_page(content, tmp_path / "no" / "report.html")


def test_words():
    assert (size(999), size(1_000), size(2_500_000)) == ("999 B", "1.0 kB", "2.5 MB")
    assert times(12.34, "smaller", "larger") == "12 times smaller"
    assert times(0.25, "faster", "slower") == "4.0 times slower"
    assert points(0.5) == "0.50 points more accurate"


def test_report_of_nothing():
    with pytest.raises(InvalidInput, match="at least one run"):
        lowbit.report([])
    with pytest.raises(InvalidInput, match="there is no run"):
        lowbit.report(["no-such-run"])
