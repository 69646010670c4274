"""Which run a run continues, and the float run behind it."""

from pathlib import Path

import pytest

from lowbit.bench.file import bench_file
from lowbit.convert import convert
from lowbit.errors import InvalidInput
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train
from lowbit.training.starts import float_run, same_start, start_folder

NET = "{data: digits, model: digits_net, epochs: 1, batch: 256, schedule: {warmup: 0}"
LOW = NET + ", weight: 'lsq:2', activation: 'lsq:2'"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A float run, a low-bit one that starts from it, and one more that starts from that."""
    out = tmp_path_factory.mktemp("chain")
    train(parse_recipe(NET + "}"), out / "a", progress=False)
    train(parse_recipe(f"{LOW}, start: {out / 'a'}, procedure: retrain}}"), out / "b", progress=False)
    train(
        parse_recipe(f"{LOW}, start: {out / 'b'}, procedure: retrain, modifiers: [lipschitz]}}"),
        out / "c",
        progress=False,
    )
    return out


def recipe_of(folder: Path):
    return parse_recipe((folder / "recipe.yaml").read_text())


def test_the_float_run_is_at_the_beginning(chain):
    for name in "abc":
        assert float_run(recipe_of(chain / name), chain / name) == chain / "a"
    scratch = parse_recipe(LOW + "}")
    assert float_run(scratch, chain / "d") is None
    circle = parse_recipe(f"{LOW}, start: {chain / 'c'}}}")
    assert float_run(circle, chain / "d") == chain / "a"


def test_others_run_the_float_network_and_not_our_quantizers(chain, tmp_path):
    from lowbit.training.runs import load_run

    done = load_run(chain / "c")
    file = tmp_path / "c.lowbit"
    convert(done.model, done.data.test_x[:2]).save(file)
    found = bench_file(file, ["onnxruntime"], run=chain / "c", seconds=0.02)
    alone = bench_file(file, ["onnxruntime"], seconds=0.02)
    sizes = [{row["name"]: row["bytes"] for row in table["rows"]}["onnxruntime float32"] for table in (found, alone)]
    assert sizes[0] < 1.3 * sizes[1]  # with quantizers it is many times as large
    other = tmp_path / "wide"
    train(parse_recipe(LOW.replace("digits_net", "{name: digits_net, width: 12}") + "}"), other, progress=False)
    with pytest.raises(
        InvalidInput, match=r"wide: is not the file's network: no layer of it has .* weights; give the run"
    ):
        bench_file(file, ["onnxruntime"], run=other, seconds=0.02)


def test_a_start_is_the_same_however_it_is_written(chain, tmp_path, monkeypatch):
    recipe = recipe_of(chain / "b")
    monkeypatch.chdir(chain.parent)
    relative = recipe.model_copy(update={"start": f"{chain.name}/a"})
    assert same_start(relative, recipe, chain / "b")
    monkeypatch.chdir(tmp_path)
    assert start_folder(relative, chain / "b") == chain / "a"  # beside the run
    assert same_start(relative, recipe, chain / "b")
    assert not same_start(recipe.model_copy(update={"start": str(tmp_path)}), recipe, chain / "b")
    assert not same_start(recipe.model_copy(update={"start": None}), recipe, chain / "b")
    assert train(relative, chain / "b", progress=False).folder == chain / "b"  # is there and finished


def test_a_recipe_that_failed_at_once_can_be_corrected(tmp_path):
    more = LOW.replace("epochs: 1", "epochs: 2").replace("warmup: 0", "warmup: 1")
    bad = parse_recipe(more + ", pretrain: {epochs: 1}, procedure: retrain}")
    with pytest.raises(InvalidInput, match="pretrain: schedule: warmup of 1 epochs in a training of 1"):
        train(bad, tmp_path / "run", progress=False)
    good = parse_recipe(more + ", pretrain: {epochs: 2}, procedure: retrain}")
    assert train(good, tmp_path / "run", progress=False).result["epochs"] == 2
    with pytest.raises(InvalidInput, match=r"holds a run of another recipe \(it differs in pretrain\)"):
        train(bad, tmp_path / "run", progress=False)
