"""two-stage: float weights for a third of the epochs, quantized ones after it."""

import pytest
import torch

from lowbit.errors import InvalidInput
from lowbit.procedures import procedure
from tests.procedures.plain import run_of, started, train

METHODS = {"weight": "lsq:2", "activation": "lsq:2"}


def test_weights_are_float_for_a_third_of_the_epochs():
    two = procedure("two-stage")
    run = run_of(started(two, METHODS), epochs=6)
    two.start(run)
    q, layer = run.model[3].weight_quantizer, run.model[3]
    scale = q.scale.detach().clone()
    figures = train(two, run, 6, stop=2)
    assert [row["stage"] for row in figures] == [1, 1]
    assert torch.equal(q.train()(layer.weight), layer.weight)
    assert torch.equal(q.scale.detach(), scale), "the scale of a float weight got a gradient"
    run.epoch = 2
    two.epoch_start(run)
    assert len(q.train()(layer.weight).unique()) <= 4
    expected = 2 * layer.weight.detach().double().abs().mean()  # lsq's estimate at two bits
    torch.testing.assert_close(q.scale.detach(), expected.float())
    assert [row["stage"] for row in train(two, run, 6)] == [2] * 4


def test_it_refuses():
    for share in (0, 1, -1):
        with pytest.raises(InvalidInput, match=f"two-stage: share is {share}, allowed are numbers between 0 and 1"):
            procedure("two-stage", share=share)
    two = procedure("two-stage")
    with pytest.raises(InvalidInput, match="has no quantized activations, so there is one stage; use retrain"):
        two.start(run_of(started(two, {"weight": "lsq:2", "activation": None})))
    with pytest.raises(InvalidInput, match="two-stage: its 2 stages need as many epochs, there are 1"):
        two.start(run_of(started(two, METHODS), epochs=1))
