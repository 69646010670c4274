"""Runs on disk: low-bit resume to the last bit, pretraining, several processes."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from lowbit.errors import InvalidInput
from lowbit.models import MODELS
from lowbit.procedures import PROCEDURES, Procedure
from lowbit.training.evaluate import evaluate, logits
from lowbit.training.network import calibrated, float_network, quantized
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import load_run, train

LOWBIT = """\
data: {name: digits, train: 192}
model: {name: digits_net, width: 8}
weight: lsq:2
activation: lsq:2
epochs: 3
batch: 32
augmentation: ["shift:1"]
"""


def states(folder):
    return load_run(folder).model.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Stops(Procedure):
    """Interrupts the training at a step, once."""

    name = "stops"
    left = 1

    def after_step(self, run):
        if run.step == 9 and Stops.left:
            Stops.left -= 1
            raise KeyboardInterrupt


def test_low_bit_training_resumes_to_the_last_bit(tmp_path, monkeypatch):
    train(parse_recipe(LOWBIT), tmp_path / "whole", progress=False, accelerator="cpu")
    monkeypatch.setitem(PROCEDURES, "stops", Stops)
    recipe = parse_recipe(LOWBIT + "procedure: stops\n")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "stopped", progress=False, accelerator="cpu")
    assert (tmp_path / "stopped" / "checkpoint.pt").exists()
    assert not (tmp_path / "stopped" / "result.json").exists()
    torch.manual_seed(123)
    train(recipe, tmp_path / "stopped", progress=False, accelerator="cpu")
    assert same(states(tmp_path / "whole"), states(tmp_path / "stopped"))


def test_the_last_epoch_is_evaluated_once_and_is_the_result(tmp_path, monkeypatch):
    calls = []

    def counted(*words, **options):
        calls.append(words)
        return evaluate(*words, **options)

    monkeypatch.setattr("lowbit.training.runs.evaluate", counted)
    done = train(parse_recipe(LOWBIT), tmp_path / "run", progress=False, accelerator="cpu")
    assert len(calls) == 3
    assert (done.result["accuracy"], done.result["loss"]) == (
        done.rows[-1]["test_accuracy"],
        done.rows[-1]["test_loss"],
    )
    again = evaluate(load_run(tmp_path / "run").model, done.data.test_x, done.data.test_y)
    assert (again.accuracy, again.loss) == (done.result["accuracy"], done.result["loss"])


def test_soft_levels_are_evaluated_beside_the_hard_ones(tmp_path):
    changes = ["weight={method: sigmoid, bits: 2}", "activation=null", "pretrain={epochs: 2}",
               "procedure=quantization-networks"]  # fmt: skip
    recipe = parse_recipe(LOWBIT, changes=changes)
    done = train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    soft = [row["soft_accuracy"] for row in done.rows]
    assert len(soft) == 3
    assert soft[-1] == done.rows[-1]["test_accuracy"]  # hard after the last step
    x = done.data.test_x[:8]
    fresh = calibrated(recipe, quantized(recipe, float_network(recipe, done.data), done.data), done.data)
    assert torch.equal(logits(done.model, x), logits(done.model, x, soft=True))
    assert not torch.equal(logits(fresh, x), logits(fresh, x, soft=True))
    assert torch.equal(logits(fresh, x), logits(fresh, x))


def test_same_seed_same_weights_other_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        recipe = parse_recipe(LOWBIT, changes=[f"seed={seed}", "epochs=2"])
        train(recipe, tmp_path / name, progress=False, accelerator="cpu")
    assert same(states(tmp_path / "a"), states(tmp_path / "b"))
    assert not same(states(tmp_path / "a"), states(tmp_path / "c"))


def test_pretraining_is_a_run_of_its_own_and_the_start(tmp_path):
    recipe = parse_recipe(LOWBIT + "pretrain: {epochs: 4}\nprocedure: retrain\n", changes=["epochs=0"])
    done = train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    before = load_run(tmp_path / "run" / "float")
    assert len(before.rows) == 4
    assert done.result["float_accuracy"] == before.result["accuracy"]
    assert torch.equal(done.model.get_parameter("conv2.weight"), before.model.get_parameter("conv2.weight"))
    started = parse_recipe(
        LOWBIT + f"procedure: retrain\nstart: {json.dumps(str(before.folder))}\n", changes=["epochs=0"]
    )
    again = train(started, tmp_path / "again", progress=False, accelerator="cpu")
    assert again.result["accuracy"] == done.result["accuracy"]


def test_what_cannot_be_retrained_is_refused_before_pretraining(tmp_path):
    recipe = parse_recipe(LOWBIT + "pretrain: {epochs: 4}\nschedule: {name: cosine, warmup: 3}\n")
    with pytest.raises(InvalidInput, match="warmup of 3 epochs in a training of 3"):
        train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    assert not (tmp_path / "run" / "float").exists()


def test_a_low_bit_run_is_trained_on(tmp_path):
    """As the cyclical rate of Boo et al. fine-tunes a retrained network: quantizers go on as they were trained."""
    first = train(parse_recipe(LOWBIT), tmp_path / "first", progress=False, accelerator="cpu")
    more = LOWBIT + f"procedure: retrain\nstart: {json.dumps(str(first.folder))}\n"
    again = train(parse_recipe(more, changes=["epochs=0"]), tmp_path / "again", progress=False, accelerator="cpu")
    assert same(states(first.folder), states(again.folder))
    assert again.result["start_accuracy"] == again.result["accuracy"] == first.result["accuracy"]
    assert "float_accuracy" not in again.result
    with pytest.raises(InvalidInput, match=r"is a low-bit run with other methods \(it differs in weight\); start from"):
        train(parse_recipe(more, changes=["weight=lsq:3"]), tmp_path / "other", progress=False, accelerator="cpu")


def dropping(classes=10):
    """A network that draws numbers while it trains."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, classes))


def test_random_choices_do_not_depend_on_when_the_float_training_was_done(tmp_path, monkeypatch):
    """A run that stopped before its first low-bit checkpoint finds the float training finished."""
    monkeypatch.setitem(MODELS, "dropping", dropping)
    text = LOWBIT.replace("{name: digits_net, width: 8}", "dropping").replace('["shift:1"]', "[]")
    recipe = parse_recipe(text + "pretrain: {epochs: 2}\n")
    whole = train(recipe, tmp_path / "whole", progress=False, accelerator="cpu")
    train(recipe.float_part(), tmp_path / "again" / "float", progress=False, accelerator="cpu")
    again = train(recipe, tmp_path / "again", progress=False, accelerator="cpu")
    assert same(whole.model.state_dict(), again.model.state_dict())


def test_validation_holds_out_training_images(tmp_path):
    recipe = parse_recipe(LOWBIT, changes=["data.validation=100", "data.train=null", "epochs=0"])
    done = train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    assert (len(done.data.train_x), len(done.data.test_x)) == (1337, 100)
    assert done.result["evaluated_on"] == "validation"


def test_weights_of_another_network_are_refused(tmp_path):
    train(parse_recipe(LOWBIT, changes=["epochs=0"]), tmp_path / "run", progress=False, accelerator="cpu")
    text = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(text.replace("width: 8", "width: 16"))
    with pytest.raises(InvalidInput, match="does not fit the network of the recipe"):
        load_run(tmp_path / "run")


RINGS = """\
data: {name: rings, train: 512}
model: {name: fcdnn, width: 16, depth: 3}
weight: lsq:4
activation: lsq:4
first: null
last: null
optimizer: {name: sgd, lr: 0.05}
epochs: 2
batch: 64
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    (tmp_path / "rings.yaml").write_text(RINGS)
    words = ["-m", "lowbit", "train", str(tmp_path / "rings.yaml"), "--accelerator", "cpu", "--quiet", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words, str(tmp_path / "one")], check=True, env=environment)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511", *words]
    subprocess.run([sys.executable, *launch, str(tmp_path / "two")], check=True, env=environment)
    one, two = states(tmp_path / "one"), states(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(one[name].double(), two[name].double(), atol=1e-5, rtol=0)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], abs=1e-4)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"accuracy": "x"}', '{"title": 1}', "{", '"a"'])
def test_a_damaged_result_is_named(tmp_path, text):
    recipe = parse_recipe(LOWBIT, changes=["epochs=0"])
    train(recipe, tmp_path / "run", progress=False, accelerator="cpu")
    (tmp_path / "run" / "result.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"result\.json: cannot be read \(.*\); delete .*run to train the run again"):
        train(recipe, tmp_path / "run", progress=False, accelerator="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced_in_silence(tmp_path):
    with pytest.raises(InvalidInput, match="accelerator is 'gpu', but torch sees no GPU here; use auto or cpu"):
        train(parse_recipe(LOWBIT), tmp_path / "run", progress=False, accelerator="gpu")
