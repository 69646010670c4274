"""Runs side by side: the Pareto front against its definition, and what the charts and the page make of it."""

import itertools
import random

import pytest

from lowbit.report.content import contender
from lowbit.report.figures import figures
from lowbit.report.page import render
from lowbit.report.pareto import front

LAYER = {
    "layer": "conv1", "kind": "conv", "W": 2, "A": 2, "grid": "uniform -2..1", "activation_grid": "uniform 0..3",
    "kernel": "planes", "parameters": 9, "MACs": 900, "bytes": 3, "exact": True, "weight_sqnr": 9.5,
    "activation_sqnr": 12.0,
}  # fmt: skip


def several():
    """Content of a report about five runs: float, two packed, one that cannot be, one whose data is gone."""
    times = {"us_1_low": 1.5, "us_1_high": 3.0}
    rows = [
        contender("floats", kind="float", data="digits", accuracy=98.0, bytes=2000, us_1=20.0, us_64=9.0,
                  timed_by="onnxruntime, float32"),
        contender("two", ours=True, data="digits", accuracy=97.0, bytes=200, us_1=2.0, us_64=1.0, timed_by="lowbit",
                  **times),
        contender("one", ours=True, data="digits", accuracy=90.0, bytes=100, us_1=2.5, us_64=1.5, timed_by="lowbit",
                  **times),
        contender("wide", ours=True, kind="not packed", data="digits", accuracy=97.5, bytes=2000, us_1=50.0,
                  us_64=20.0, timed_by="PyTorch, float32", reason="conv2: lsq:10 has more than the 8 bits"),
        contender("gone", ours=True, kind="not packed", data="digits", accuracy=95.0, bytes=2000,
                  reason="not measured here: no data"),
    ]  # fmt: skip
    log = [
        {"epoch": epoch, "train_loss": 2 / epoch, "train_accuracy": 50.0 + epoch, "test_loss": 2.1 / epoch,
         "test_accuracy": 49.0 + epoch, "soft_accuracy": 48.0 + epoch, "temperature": 10.0 / epoch, "penalty": epoch,
         "sign_flips": 0.1 / epoch, "soft/conv1.weight": 0.5 / epoch, "attention/conv1.weight/0": 1 - 0.5 / epoch,
         "attention/conv1.weight/1": 0.5 / epoch, "omega": float(epoch)}
        for epoch in (1, 2, 3)
    ]  # fmt: skip
    layers = [LAYER | {"run": run, "layer": layer} for run in ("one", "two") for layer in ("conv1", "fc")]
    return {
        "title": "5 runs", "lead": "One sentence.", "cards": [{"label": "Smallest", "value": "100 B", "note": "one"}],
        "contenders": rows, "fronts": {"bytes": ["one", "two", "floats"], "us_1": ["two", "floats"]}, "layers": layers,
        "curves": [{"name": "one", "rows": log, "parts": {"conv1.weight": ["minmax:2", "minmax:4"]}},
                   {"name": "two", "rows": log[:2], "parts": {}}],
        "notes": ["How it was measured."], "provenance": {"commit": "abc", "machine": {"cores": 2}},
        "sources": [{"name": "one", "folder": "runs/one", "seed": 1, "commit": "def", "machine": {"cores": 2}}],
    }  # fmt: skip


def test_front_by_its_definition():
    draw = random.Random(0)
    for _ in range(200):
        rows = [
            {"data": "d", "accuracy": draw.choice([None, 1.0, 2.0, 3.0]), "bytes": draw.choice([None, 1, 2, 3])}
            for _ in range(6)
        ]
        kept = set(front(rows, "bytes"))
        for i, row in enumerate(rows):
            if row["accuracy"] is None or row["bytes"] is None:
                assert i not in kept
                continue
            beaten = any(
                other["accuracy"] is not None and other["bytes"] is not None
                and (other["accuracy"], -other["bytes"]) != (row["accuracy"], -row["bytes"])
                and other["accuracy"] >= row["accuracy"] and other["bytes"] <= row["bytes"]
                for other in rows
            )  # fmt: skip
            assert (i in kept) == (not beaten)


def test_no_front_over_different_data():
    rows = [contender("a", data="digits", accuracy=1.0, bytes=1), contender("b", data="cifar10", accuracy=2.0, bytes=2)]
    assert front(rows, "bytes") == []
    rows[1]["accuracy"] = None
    assert front(rows, "bytes") == [0]


def test_charts_mark_who_is_packed_and_draw_the_front():
    content = several()
    charts = {one["id"]: one for one in figures(content)}
    speed = {trace["name"]: trace for trace in charts["speed"]["figure"]["data"]}
    assert speed["packed by lowbit"]["x"] == [2.0, 2.5] and speed["packed by lowbit"]["text"] == ["2", "3"]
    assert speed["packed by lowbit"]["error_x"]["array"] == pytest.approx([1.0, 0.5])
    assert speed["low-bit, but not packed"]["customdata"] == ["wide"]
    assert (speed["Pareto front"]["x"], speed["Pareto front"]["y"]) == ([2.0, 20.0], [97.0, 98.0])
    size = {trace["name"]: trace for trace in charts["size"]["figure"]["data"]}
    assert size["low-bit, but not packed"]["customdata"] == ["wide", "gone"]
    assert "on the Pareto front: 3, 2, 1" in charts["size"]["text"]


def test_everything_of_a_log_is_a_chart():
    content = several()
    charts = {one["id"]: one["figure"]["data"] for one in figures(content) if one["id"].startswith("curves-")}
    assert set(charts) == {
        "curves-accuracy", "curves-loss", "curves-soft-hard", "curves-attention-1", "curves-attention-2",
        "curves-temperature", "curves-soft", "curves-penalty", "curves-sign-flips", "curves-omega",
    }  # fmt: skip
    rows = content["curves"][0]["rows"]
    attention = {trace["name"]: trace for trace in charts["curves-attention-1"]}
    assert attention["minmax:4"]["y"] == [row["attention/conv1.weight/1"] for row in rows]
    assert attention["minmax:4"]["meta"] == "conv1.weight"
    assert {trace["name"] for trace in charts["curves-attention-2"]} == {"part 1", "part 2"}
    soft, hard = charts["curves-soft-hard"][:2]
    assert (soft["y"], hard["y"]) == ([49.0, 50.0, 51.0], [50.0, 51.0, 52.0])
    styles = [(trace["line"]["color"], trace["line"]["dash"]) for trace in charts["curves-sign-flips"]]
    assert len(set(styles)) == 2
    dashes = [trace["line"]["dash"] for trace in charts["curves-accuracy"] if "test" in trace["name"]]
    assert all(a != b for a, b in itertools.combinations(dashes, 2))


def test_the_page_gives_reasons_and_sources():
    text = render(several())
    for part in (
        "conv2: lsq:10 has more than the 8 bits", "not measured here: no data", "onnxruntime, float32", "size, time",
        "runs/one", "Attention of every layer: one",
    ):  # fmt: skip
        assert part in text
    assert text.count("<dt>machine</dt>") == 1  # the run's is the page's
