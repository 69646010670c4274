"""What the frame gives procedures beside their steps: the float network, epoch starts, runs without epochs."""

import pytest
import torch

import lowbit
from lowbit.errors import ConversionError, InvalidInput
from lowbit.procedures import PROCEDURES, Modifier, Procedure, combine
from lowbit.quantizers.base import Quantizer
from lowbit.training.recipes import parse_recipe
from lowbit.training.runs import train
from tests.procedures.plain import float_net, images

RECIPE = """\
data: {name: digits, train: 64}
model: {name: digits_net, width: 8}
weight: lsq:2
activation: lsq:2
procedure: watch
batch: 32
schedule: {warmup: 0}
"""


class Watch(Procedure):
    """Writes down its hooks."""

    name = "watch"
    calls: list

    def before_prepare(self, model):
        assert not any(isinstance(m, Quantizer) for m in model.modules())
        Watch.calls = ["before_prepare"]

    def start(self, run):
        assert run.batches is not None
        Watch.calls.append("start")

    def epoch_start(self, run):
        Watch.calls.append(("epoch_start", run.epoch, run.step))

    def epoch_end(self, run):
        Watch.calls.append(("epoch_end", run.epoch, run.step))


def test_recipes_call_every_hook(tmp_path, monkeypatch):
    monkeypatch.setitem(PROCEDURES, "watch", Watch)
    train(parse_recipe(RECIPE + "epochs: 2\n"), tmp_path, progress=False, accelerator="cpu")
    epochs = [
        (hook, epoch, 2 * (epoch + (hook == "epoch_end"))) for epoch in (0, 1) for hook in ("epoch_start", "epoch_end")
    ]
    assert Watch.calls == ["before_prepare", "start", *epochs]


@pytest.mark.parametrize("works", [True, False])
def test_without_epochs_only_start_acts(tmp_path, monkeypatch, works):
    monkeypatch.setattr(Watch, "works_untrained", works)
    monkeypatch.setitem(PROCEDURES, "watch", Watch)
    train(parse_recipe(RECIPE + "epochs: 0\n"), tmp_path, progress=False, accelerator="cpu")
    assert Watch.calls == ["before_prepare", *["start"][: int(works)]]


def test_epochs_are_refused_where_nothing_is_trained(monkeypatch):
    monkeypatch.setattr(Watch, "trains", False)
    monkeypatch.setitem(PROCEDURES, "watch", Watch)
    with pytest.raises(InvalidInput, match=r"recipe, line 8: watch trains nothing, but epochs is 2; use epochs: 0"):
        parse_recipe(RECIPE + "epochs: 2\n")


def test_combinations_pass_the_hooks_on():
    calls = []

    class Part(Modifier):
        def before_prepare(self, model):
            calls.append("before_prepare")

        def epoch_start(self, run):
            calls.append("epoch_start")

    both = combine(Procedure(), [Part()])
    both.before_prepare(float_net())
    both.epoch_start(None)
    assert calls == ["before_prepare", "epoch_start"]


def test_relaxed_weights_are_float_in_training_alone():
    model = lowbit.prepare(float_net(), weight="lsq:2", activation="lsq:2", first="same", last="same")
    x = images()[0]
    lowbit.calibrate(model, [x])
    q, weight = model[3].weight_quantizer, model[3].weight.detach()
    hard = q.eval()(weight)
    q.relaxed = True
    assert torch.equal(q.eval()(weight), hard)
    assert torch.equal(q.train()(weight), weight)
    assert "float while it trains" in str(lowbit.summary(model))
    with pytest.raises(ConversionError, match=r"lsq still mixes: 100\.0% of its training value"):
        lowbit.convert(model, x)


def test_quantizers_remember_their_spec():
    assert str(lowbit.quantizer("lsq:3@channel").spec) == "lsq:3@channel"


REFUSED = {
    "two-stage": ("weight: lsq:2", ""),
    "progressive": ("weight: lsq:2", ""),
    "bit-learning": ("weight: lsq:2", ", gamma: 1"),
    "loss-aware": ("weight: lsq:2", ""),
    "inq": ("weight: inq:4", ""),
    "admm": ("weight: admm:2\noptimizer: {name: adam}\nmodel: {name: fcdnn}", ", tune: 0.5"),
    "hwang-sung": ("weight: l2:2\noptimizer: {weight_decay: 0.1}", ""),
    "shin": ("weight: l2:2\noptimizer: {weight_decay: 0.1}", ""),
}
"""Recipes that cannot work, by procedure: the weights and more, and settings."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_before_the_float_training(name, tmp_path):
    weight, settings = REFUSED[name]
    data = "rings" if "fcdnn" in weight else "digits"
    text = f"data: {{name: {data}, train: 64}}\nprocedure: {{name: {name}{settings}}}\n{weight}\n"
    text += "pretrain: {epochs: 1}\nepochs: 1\nschedule: {warmup: 0}\n"
    text += "" if "model:" in weight else "model: {name: digits_net, width: 8}\n"
    with pytest.raises(InvalidInput, match=f"^{name}: "):
        train(parse_recipe(text), tmp_path, progress=False, accelerator="cpu")
    assert not (tmp_path / "float").exists()
