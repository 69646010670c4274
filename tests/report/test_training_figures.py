"""Charts of mixtures, sigmoids and gradients: the numbers of their tables, and none without rows."""

import torch

import lowbit
from lowbit.analysis.samples import Samples
from lowbit.analysis.softness import softness_table
from lowbit.analysis.temperature import temperature_table
from lowbit.report.training_figures import gradient_chart, softness_chart, temperature_chart, training_charts
from tests.analysis.networks import blobs, trained


def test_mixtures_have_the_mean_over_the_layers():
    weight = {"method": "mixture", "bits": 2, "parts": ["minmax:2", "minmax:4"], "learned": True}
    net = lowbit.prepare(trained(), weight, first="same", last="same")
    rows = temperature_table(lowbit.calibrate(net, [blobs()[0]])).rows
    own, relaxed = temperature_chart(rows)["figure"]["data"]
    assert (own["name"], relaxed["name"]) == ("minmax:2 + minmax:4", "minmax:2 + float")
    errors = torch.tensor([row["errors"] for row in rows if row["parts"] == own["name"]], dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(own["y"], dtype=torch.float64), errors.mean(0))
    assert own["x"] == rows[0]["temperatures"]


def test_sigmoids_with_and_without_labels():
    x, y = blobs(64)
    net = lowbit.calibrate(lowbit.prepare(trained(), "sigmoid:2", first="same", last="same"), [x])
    rows = softness_table(net, Samples(x, y)).rows
    soft, hard = softness_chart(rows)["figure"]["data"]
    assert soft["y"] == [row["soft accuracy"] for row in rows] and len(set(hard["y"])) == 1
    (one,) = softness_chart(softness_table(net, Samples(x, None)).rows)["figure"]["data"]
    assert one["name"] == "agreement"


def test_no_chart_without_rows_and_marks_where_nothing_is_lost():
    assert training_charts({"temperature": [], "softness": [], "gradients": []}) == []
    row = {"layer": "0", "gradient": "own", "below": None, "sqnr": None, "cosine": 1.0}
    assert gradient_chart([row])["text"] == "no update changes"
