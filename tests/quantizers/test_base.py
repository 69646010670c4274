"""What the base class promises for every method, where the contract's tensors do not reach."""

import copy

import pytest
import torch
from torch import nn

import lowbit
from lowbit.layers import QuantLinear
from lowbit.quantizers import METHODS, quantizer


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.bool])
@pytest.mark.parametrize("method", ["lsq:2", "l2:2", "affine:8", "dorefa:2"])
def test_integer_tensors_are_refused(method: str, dtype: torch.dtype) -> None:
    q = quantizer(method)
    with pytest.raises(ValueError, match=f"is {dtype}; quantizers take floating point tensors"):
        q.calibrate(torch.ones(2, 3).to(dtype))
    q.calibrate(torch.randn(2, 3))
    for call in (q, q.encode):
        with pytest.raises(ValueError, match="quantizers take floating point tensors"):
            call(torch.ones(2, 3).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("weight", "activation"), [("lsq:2", "lsq:2"), ("bwn", "sign"), ("minmax:4", "affine:8")])
def test_models_in_half_precision_run_in_both_modes(weight: str, activation: str, dtype: torch.dtype) -> None:
    x = torch.randn(5, 6)
    model = lowbit.prepare(net(), weight=weight, activation=activation, example=x).to(dtype)
    for training in (True, False):
        model.train(training)
        y = model(x.to(dtype))
        y.float().sum().backward()
        assert y.dtype == dtype and torch.isfinite(y).all()
        with torch.no_grad():
            assert model(x.to(dtype)).dtype == dtype


@pytest.mark.parametrize("method", ["minmax:16", "affine:16"])
def test_wide_ranges_in_half_precision(method: str) -> None:
    x = torch.randn(64)
    q = quantizer(method, role="activation")
    q.calibrate(x)
    # the range is rounded to half; its steps are not
    assert (q.half().eval()(x) - x).abs().max() < 2**-10 * x.abs().max()


def test_bitpruning_of_many_bits_in_half_precision() -> None:
    x = torch.randn(64)
    q = quantizer("bitpruning:16")
    q.calibrate(x)
    assert (q.half().eval()(x) - x).abs().max() < 1e-3


@pytest.mark.parametrize("method", ["minmax:4", "affine:4", "tbn", "lq:2", "bitpruning:4", "lsq:4"])
def test_one_spoiled_batch_does_not_stay(method: str) -> None:
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    q = quantizer(method, role="activation")
    q.calibrate(x)
    clean = copy.deepcopy(q).train()
    spoiled = x.clone()
    spoiled[0, 0] = torch.nan
    assert q.train()(spoiled)[0, 0].isnan()
    assert torch.isfinite(q(x)).all()
    if method != "lq:2":  # whose basis follows every batch
        assert torch.equal(q.eval()(x), clean.eval()(x))


@pytest.mark.parametrize("method", ["adaptive-l2:3", "admm:2", "laq:3", "twobit", "lq:2", "twn"])
def test_a_weight_that_was_spoiled_once_recovers(method: str) -> None:
    w = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    q = quantizer(method)
    q.calibrate(w)
    q.train()
    spoiled = w.clone()
    spoiled[0, 0] = torch.nan
    q(spoiled)
    assert torch.isfinite(q(w)).all()


@pytest.mark.parametrize("method", ["abc:3", "sigmoid:2", "lsq:2", "twn"])
def test_weights_of_zeros_still_train(method: str) -> None:
    q = quantizer(method)
    w = torch.zeros(4, 3, requires_grad=True)
    q.calibrate(w.detach())
    q.train()(w).sum().backward()
    assert w.grad is not None and (w.grad != 0).all() and torch.equal(q(w), torch.zeros(4, 3))


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 1e-9, 0.5])
def test_pact_with_a_clip_at_or_below_zero_is_the_same_in_one_pass(
    alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, g = torch.tensor([-0.5, -2.0, 0.0, 0.2, 0.6]), torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0])
    found = []
    for one_pass in (True, False):
        if not one_pass:
            monkeypatch.setattr("lowbit.quantizers.base.applies", lambda _: False)
        q = quantizer({"method": "pact", "bits": 2, "init": 1.0}, role="activation", signed=False)
        q.calibrate(x)
        q.alpha.data.fill_(alpha)
        w = x.clone().requires_grad_()
        q.train()(w).backward(g)
        found.append((w.grad, q.alpha.grad))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


def test_k_of_xnor_belongs_to_each_token() -> None:
    q = quantizer("xnor", role="activation")
    q.calibrate(torch.zeros(1))
    x = torch.arange(1.0, 6).reshape(1, 5, 1).expand(2, 5, 8)
    k = q.gain(x, nn.Linear(8, 3))
    assert k.shape == (2, 5, 1) and k[0, :, 0].tolist() == [1, 2, 3, 4, 5]
    assert q.gain(x[0, 0], nn.Linear(8, 3)).tolist() == [1]
    model = lowbit.prepare(
        nn.Sequential(nn.Linear(8, 3), nn.Linear(3, 2)), weight="xnor", activation="xnor", first="same", last="same"
    )
    lowbit.calibrate(model, [x])
    assert isinstance(model[0], QuantLinear)
    for training in (True, False):
        assert model.train(training)(x).shape == (2, 5, 2)


def test_every_method_is_covered_by_a_page_and_a_card() -> None:
    assert all(method.card.paper for method in METHODS.values())
