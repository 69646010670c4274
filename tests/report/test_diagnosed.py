"""The page of a diagnosis: everything of its JSON is on it, and its charts have the JSON's numbers."""

import base64
import functools
import json
import re
import struct
import zlib

import pytest
import torch

import lowbit
from lowbit.report.content import contender
from lowbit.report.diagnosed import layer_rows, png
from lowbit.report.diagnosis_figures import diagnosis_charts, error_of, histograms
from lowbit.report.figures import figures
from lowbit.report.page import MAX_BYTES, render, write_page
from tests.analysis.illnesses import ILL, labels_of
from tests.analysis.networks import blobs


@functools.cache
def content():
    net, context = ILL["weak-layer"]()
    x = blobs(256)[0]
    found = lowbit.diagnose(net, [(x, labels_of(net, x))], context=context)
    record = found.to_dict() | {"layers": layer_rows(found), "examples": [], "pictured": False, "regions": []}
    return {
        "title": "Diagnosis", "lead": found.cause, "cards": [],
        "contenders": [contender("net", ours=True, accuracy=90.0)], "layers": [], "curves": [], "notes": [],
        "provenance": {"seed": 0}, "diagnosis": record,
    }  # fmt: skip


def test_everything_is_on_one_page(tmp_path):
    write_page(content(), tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < MAX_BYTES
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(content()))
    text = render(content())
    advice = content()["diagnosis"]["advice"][0]
    assert advice["title"] in text and "l2:4" in text
    with_curves = content() | {"curves": [{"name": "net", "rows": [{"epoch": 1, "test_accuracy": 90.0}], "parts": {}}]}
    names = re.findall(r' id="([^"]+)"', render(with_curves))
    assert "training" in names and "further" in names and len(names) == len(set(names))
    for heading in ("What to do", "Weights or activations", "Layer by layer", "Use of the levels"):
        assert f">{heading}</h2>" in text
    assert text.count("<svg viewBox") == 8


def test_charts_have_the_numbers_of_the_json():
    tables = {name: table["rows"] for name, table in content()["diagnosis"]["tables"].items()}
    charts = {one["id"]: one for one in diagnosis_charts(content()["diagnosis"])}
    assert set(charts) == {
        "split", "parts", "sqnr", "noise", "sensitivity", "surface-float", "surface-low-bit", "gradients",
    }  # fmt: skip
    assert {one["id"] for one in figures(content())} == set(charts)  # the others have no numbers here

    def trace(chart, name=None):
        return next(t for t in charts[chart]["figure"]["data"] if name in (None, t.get("name")))

    assert trace("split")["y"] == [row["accuracy"] for row in tables["split"]]
    weights = [row for row in tables["parts"] if row["quantized"] == "weights"]
    assert trace("parts", "weights")["y"] == [error_of(row["sqnr"]) for row in weights]
    assert trace("sqnr", "output, measured")["y"] == [row["measured"] for row in tables["sqnr"]]
    noise = [row["noise"] for row in tables["noise"] if row["quantized"] == "activations"]
    assert trace("noise", "noise by activations")["y"] == noise
    contour = charts["surface-low-bit"]["figure"]["data"][0]
    assert contour["customdata"] == tables["surface"][1]["losses"] and contour["x"] == tables["surface"][1]["axis"]
    eight = [row["sqnr"] for row in tables["gradients"] if row["gradient"] == "dorefa:8"]
    assert trace("gradients", "dorefa:8")["y"] == eight
    assert charts["parts"]["text"] == "the most: weights of 2"


def test_histograms_are_of_the_counts():
    drawn = histograms(content()["diagnosis"])
    rows = content()["diagnosis"]["tables"]["usage"]["rows"]
    assert [(one["title"], one["role"]) for one in drawn] == [(row["layer"], row["role"]) for row in rows]
    ternary = next(one for one, row in zip(drawn, rows, strict=True) if row["levels"] == 3)
    counts = next(row["counts"] for row in rows if row["levels"] == 3)
    assert [bar[3] for bar in ternary["bars"]] == pytest.approx([100 * n / max(counts) for n in counts], abs=0.01)
    assert all(len(one["bars"]) <= 64 for one in drawn)


def test_layer_rows_join_all_tables():
    rows = content()["diagnosis"]["layers"]
    assert [row["layer"] for row in rows] == ["0", "2", "4", "6"]
    assert [row["W"] for row in rows] == [8, 2, 8, 8]
    total = sum(row["weight_share"] + row["activation_share"] for row in rows)
    assert total == pytest.approx(100)
    assert rows[1]["weight_share"] > 80


def test_png_holds_the_image():
    image = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    data = base64.b64decode(png(image).removeprefix("data:image/png;base64,"))
    assert struct.unpack(">II", data[16:24]) == (2, 2)
    start = data.index(b"IDAT") + 4
    length = struct.unpack(">I", data[start - 8 : start - 4])[0]
    assert zlib.decompress(data[start : start + length]) == bytes([0, 0, 128, 0, 255, 64])
    assert len(base64.b64decode(png(torch.rand(3, 300, 200))[22:])) < 64 * 64 * 3 + 500


def test_a_chart_without_numbers_is_a_sentence():
    record = content()["diagnosis"]
    bare = [dict.fromkeys(row) | {"layer": row["layer"]} for row in record["tables"]["sqnr"]["rows"]]
    tables = record["tables"] | {"parts": {"rows": []}, "sqnr": record["tables"]["sqnr"] | {"rows": bare}}
    charts = {one["id"]: one["figure"] for one in diagnosis_charts(record | {"tables": tables})}
    assert charts["parts"] is None and charts["sqnr"] is None and charts["split"] is not None
    text = render(content() | {"diagnosis": record | {"tables": tables}})
    assert "Nothing to draw: no tensor is quantized." in text and 'id="chart-parts"' not in text
