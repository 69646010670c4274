"""`lowbit reproduce` of a table with a measure and a picture, on rings and small networks."""

import builtins
import json
import sys

import numpy as np
import pytest

from lowbit.analysis.regions import noise_index
from lowbit.errors import InvalidInput, UnknownName
from lowbit.reproduce import read_table
from tests.cli.reproducing import reproduce, write

TABLE = """\
title: Rings in three rows
source: nobody, Figure 0
recipe:
  data: {name: rings, train: 600}
  model: {name: fcdnn, width: 8, depth: 3}
  schedule: {name: cosine, warmup: 0}
  epochs: 1
  batch: 100
  augmentation: []
seeds: [0, 1]
measures: [noise_index]
picture:
  lines: [float, A2]
  columns:
    8-3: [float, a2]
    never run: [wide, wide]
rows:
  - {key: float, label: float}
  - {key: a2, label: A2, start: float, set: {activation: "pact:2", first: null, procedure: retrain}}
  - {key: wide, label: wide, set: {model.width: 9}}
claims:
  - {text: noise is a percentage, says: 100 >= a2.noise_index - float.noise_index}
"""


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "rings.yaml", TABLE)


def run(capsys, *words):
    return reproduce(capsys, *words, "--threads", "1", "--accelerator", "cpu")


def test_measures_and_picture(capsys, table, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run(capsys, table, "--out", out, "--show")[0] == 0
    assert not (out / "rings.png").exists()  # nothing has finished, nothing is drawn

    code, text, _ = run(capsys, table, "--out", out, "--rows", "a2", "--quiet")
    assert code == 0
    assert f"picture in {out}/rings.png" in text
    assert "noise index: percent of the window's points" in text
    assert "held          noise is a percentage" in text
    assert (out / "rings.png").read_bytes().startswith(b"\x89PNG")

    record = json.loads((out / "rings.json").read_text())
    a2 = record["rows"][1]
    kept = [np.load(out / "runs" / run["run"] / "regions.npy") for run in a2["runs"]]
    assert [run["noise_index"] for run in a2["runs"]] == [100 * noise_index(regions) for regions in kept]
    assert a2["noise_index"] == pytest.approx(sum(run["noise_index"] for run in a2["runs"]) / 2)
    assert {regions.shape for regions in kept} == {(200, 200)}
    assert record["rows"][2]["noise_index"] is None
    assert all(str(out) not in run["command"] for run in a2["runs"])

    # a damaged file of regions is made again, and the same picture is drawn
    drawn = (out / "rings.png").read_bytes()
    damaged = out / "runs" / a2["runs"][0]["run"] / "regions.npy"
    damaged.write_bytes(damaged.read_bytes()[:100])
    (out / "rings.png").unlink()
    assert run(capsys, table, "--out", out, "--show")[0] == 0
    assert np.array_equal(np.load(damaged), kept[0])
    assert (out / "rings.png").read_bytes() == drawn

    # without matplotlib the record is whole and one line says what is missing
    (out / "rings.png").unlink()
    imports = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imports(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, text, err = run(capsys, table, "--out", out, "--show", "--json")
    assert code == 0
    assert json.loads(text)["rows"] == record["rows"]
    assert err == "no picture: rings.png: matplotlib is not installed; run: pip install 'lowbit[pictures]'\n"
    assert not (out / "rings.png").exists()


def test_regions_of_images_are_refused(capsys, table, tmp_path):
    table.write_text(
        TABLE.replace("{name: rings, train: 600}", "{name: digits, train: 200}").replace(
            "{name: fcdnn, width: 8, depth: 3}", "{name: digits_net, width: 8}"
        )
    )
    code, _, err = run(capsys, table, "--out", tmp_path / "out", "--rows", "float", "--seeds", "0", "--quiet")
    assert code == 2
    assert "decision regions are drawn over two inputs; data set 'digits' has inputs of shape [1, 8, 8]" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("measures: [noise_index]", "measures: [noise]", "unknown measure 'noise'; did you mean 'noise_index'"),
        ("measures: [noise_index]", "measures: []", "a2.noise_index needs `measures: [noise_index]`"),
        ("says: 100 >= a2.noise_index", "says: 100 >= a2.noise_index@1", "a2.noise_index@1 is of the last epoch"),
        ("[float, a2]", "[float]", "column '8-3' has 1 rows; give one for each of the 2 lines"),
        ("[float, a2]", "[float, a3]", "picture: column '8-3': unknown row 'a3'; did you mean 'a2'"),
    ],
)
def test_wrong_tables_are_named(table, old, new, message):
    table.write_text(TABLE.replace(old, new, 1))
    with pytest.raises((InvalidInput, UnknownName), match=r"rings\.yaml") as caught:
        read_table(table)
    assert message in str(caught.value)
