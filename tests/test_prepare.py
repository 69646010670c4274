"""`prepare`: sharing, checkpoints, copies, compilation, and the wrong ways to call it."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lowbit
from lowbit.errors import NotCalibrated, UnknownName
from lowbit.layers import AdaptiveAvgPool2d, AvgPool2d, Mean, QuantBatchNorm2d, QuantConv2d, QuantLinear


class Block(nn.Module):
    """A residual block with a projection: two readers of one tensor."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.project(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = Block()
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.block(F.relu(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(4, 1, 8, 8)


def test_parameters_are_shared_and_keys_stay(x):
    net = Net()
    before, keys = dict(net.named_parameters()), set(net.state_dict())
    model = lowbit.prepare(net)
    assert model is net
    after = dict(model.named_parameters())
    for name, parameter in before.items():
        assert after[name] is parameter
    assert keys <= set(model.state_dict())
    added = {k for k in set(model.state_dict()) - keys if "quantizer" not in k}
    assert not added


def test_a_float_checkpoint_loads_with_only_quantizer_keys_missing(x):
    saved = {k: v.clone() + (0.5 if v.is_floating_point() else 1) for k, v in Net().state_dict().items()}
    model = lowbit.prepare(Net(), example=x)
    result = model.load_state_dict(saved, strict=False)
    assert not result.unexpected_keys
    assert result.missing_keys and all("quantizer" in k for k in result.missing_keys)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in saved.items())


def test_a_prepared_checkpoint_loads_into_a_fresh_model(x):
    model = lowbit.prepare(Net(), weight="lsq:3@channel", activation="minmax:4", add="lsq:8", example=x)
    model(x).sum().backward()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh = lowbit.prepare(Net(), weight="lsq:3@channel", activation="minmax:4", add="lsq:8")
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(fresh.eval()(x), model.eval()(x))
    assert lowbit.convert(fresh, x).exact


def test_layers_are_swapped_in_place():
    model = lowbit.prepare(Net())
    kinds = {name: type(m) for name, m in model.named_modules()}
    assert kinds["stem"] is kinds["block.conv1"] is QuantConv2d and kinds["head"] is QuantLinear
    assert kinds["block.norm1"] is QuantBatchNorm2d and kinds["pool"] is AvgPool2d
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(6, 2))
    lowbit.prepare(pooled)
    assert [type(m) for m in pooled[:2]] == [Mean, AdaptiveAvgPool2d]


def test_readers_of_one_tensor_share_their_quantizer():
    block = lowbit.prepare(Net()).block
    assert block.conv1.input_quantizer is block.project.input_quantizer
    assert block.conv2.input_quantizer is not block.conv1.input_quantizer
    assert len(list(block.conv1.input_quantizer.parameters())) == 1


def test_readers_with_different_methods_do_not_share():
    block = lowbit.prepare(Net(), rules=[{"match": "block.project", "activation": "lsq:4"}]).block
    assert block.conv1.input_quantizer is not block.project.input_quantizer


def test_one_layer_under_two_names_and_called_twice(x):
    layer, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), layer, norm, nn.ReLU(), layer, norm, nn.Linear(4, 2))
    lowbit.prepare(model, example=x)
    assert type(model[2]) is QuantLinear and model[2] is model[5] and model[3] is model[6]
    assert lowbit.convert(model, x).exact


def test_a_sign_is_proved_for_every_call_of_a_layer():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(self.a(F.relu(x))))

    model = lowbit.prepare(Twice(), first="same", activation="lsq:4", example=torch.randn(32, 4))
    assert model.a.input_quantizer.signed is True
    relu = lowbit.prepare(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert relu[2].input_quantizer.signed is False


def methods(model: nn.Module) -> dict[str, tuple[str, str]]:
    rows = lowbit.summary(model).to_dict()["rows"]
    return {r["layer"]: (r["weight"], r["activation"]) for r in rows if r.get("weight")}


def test_first_and_last_policy():
    found = methods(lowbit.prepare(Net(), weight="lsq:2", activation="lsq:3"))
    assert found["stem"] == found["head"] == ("affine:8", "affine:8")
    assert found["block.conv1"] == ("lsq:2", "lsq:3")
    found = methods(lowbit.prepare(Net(), weight="lsq:2", activation="lsq:3", first="same", last=None))
    assert found["stem"] == ("lsq:2", "lsq:3") and found["head"] == ("float", "float")


def test_first_and_last_are_by_execution_not_definition():
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.middle, self.stem = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.middle(self.stem(x)))

    found = methods(lowbit.prepare(Backwards()))
    assert found["stem"][0] == found["head"][0] == "affine:8" and found["middle"][0] == "lsq:2"


def test_mode_is_kept(x):
    assert not any(m.training for m in lowbit.prepare(Net().eval(), example=x).modules() if isinstance(m, nn.Conv2d))
    assert lowbit.prepare(Net(), example=x).training


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copies_are_equal_and_independent(way, x):
    model = lowbit.prepare(Net(), add="lsq:8", example=x)
    model.eval()
    if way == "deepcopy":
        twin = copy.deepcopy(model)
    elif way == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        twin = torch.load(buffer, weights_only=False)
    expected = model(x)
    assert torch.equal(twin(x), expected)
    assert twin.block.conv1.input_quantizer is twin.block.project.input_quantizer
    with torch.no_grad():
        for p in twin.parameters():
            p.mul_(1.7)
    assert torch.equal(model(x), expected) and not torch.equal(twin(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_compiles_without_graph_breaks(training, x, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = lowbit.prepare(Net(), weight="lsq:4", activation="lsq:4", add="lsq:8", example=x).train(training)
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True)
    got, expected = compiled(x), model(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)  # a compiler may fuse and reorder floats
    if training:
        got.sum().backward()
        assert all(p.grad is not None for p in compiled.parameters())


def test_forward_before_calibration_names_the_layer(x):
    model = lowbit.prepare(Net())
    for mode in (True, False):
        with pytest.raises(
            NotCalibrated, match=r"stem: affine:8 \(activation\) has no scale yet; run lowbit.calibrate"
        ):
            model.train(mode)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signs behind a ReLU
        added = lowbit.prepare(Net(), activation="sign", first="same", last="same", weight="bwn", add="lsq:8")
    with pytest.raises(NotCalibrated, match=r"block\.lowbit_add: lsq:8"):
        added(x)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight": "lsqq:2"}, UnknownName, "unknown method 'lsqq'; did you mean 'lsq'"),
        ({"activation": "pcat:2"}, UnknownName, "did you mean 'pact'"),
        ({"add": "lsqq:8"}, UnknownName, "did you mean 'lsq'"),
        ({"first": "afine:8"}, UnknownName, "did you mean 'affine'"),
        ({"weight": "lsq:2@chanel"}, UnknownName, "did you mean 'channel'"),
        (
            {"weight": {"method": "twn", "treshold": 1}},
            UnknownName,
            "option of twn 'treshold'; did you mean 'threshold'",
        ),
        ({"weight": "lsq:0"}, ValueError, "lsq takes 1 to 16 bits, got '0'"),
        ({"weight": "lsq:17"}, ValueError, "lsq takes 1 to 16 bits, got '17'"),
        ({"weight": "lsq:two"}, ValueError, "lsq takes 1 to 16 bits, got 'two'"),
        ({"weight": "lsq"}, ValueError, "none were given"),
        ({"weight": "lsq:1"}, ValueError, "for one bit use bwn"),
        ({"weight": "pact:2"}, ValueError, "not role 'weight'"),
        ({"activation": "bwn"}, ValueError, "not role 'activation'"),
        ({"weight": 5}, ValueError, "5 is no method"),
    ],
)
def test_wrong_settings_leave_the_model_alone(settings, error, message):
    for net in (Net(), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))):  # also where no layer would use it
        before = [(n, type(m)) for n, m in net.named_modules()]
        with pytest.raises(error, match=message):
            lowbit.prepare(net, **settings)
        assert [(n, type(m)) for n, m in net.named_modules()] == before


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(2, 2), "wrap it in nn.Sequential"),
        (nn.Sequential(nn.ReLU()), "no Conv2d or Linear"),
        (lowbit.prepare(nn.Sequential(nn.Linear(2, 2))), "prepared already"),
        (5, "prepare got 5, allowed is a model"),
    ],
)
def test_models_that_cannot_be_prepared(net, message):
    with pytest.raises(ValueError, match=message):
        lowbit.prepare(net)


def _spoiled(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        net.head.weight[0, 0] = torch.nan
    return net


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (_spoiled, {}, "head: the weight holds NaN"),
        (lambda n: n, {"activation": {"method": "uniform", "bits": 3, "levels": "midrise"}}, r"block\.\S+: uniform's"),
        (lambda n: n, {"example": torch.zeros(2, 3, 8, 8)}, "cannot take a batch"),
        (lambda n: n, {"example": torch.full((2, 1, 8, 8), torch.nan)}, "stem: the input holds NaN"),
        (lambda n: n, {"add": "abc:2"}, "add is abc:2, whose values are sums of 2 scales; additions take"),
        (lambda n: torch.nn.utils.weight_norm(n.head) and n, {}, "head: its weight is no Parameter but computed"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_after_an_error_the_model_is_as_it_was(change, settings, message, x):
    net = change(Net())
    before = {n: (m, type(m), dict(vars(m)), list(m._modules.items())) for n, m in net.named_modules()}
    state = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=message):
        lowbit.prepare(net, **settings)
    for name, (module, kind, attributes, children) in before.items():
        now = net.get_submodule(name)
        assert now is module and type(now) is kind and list(now._modules.items()) == children
        assert vars(now).keys() == attributes.keys()
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0, equal_nan=True)
    if "example" in settings or "activation" in settings:
        lowbit.convert(lowbit.prepare(net, example=x), x)


class Branch(nn.Module):
    """fx cannot follow a branch on data."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.a(x))
        return self.b(y if y.sum() > 0 else -y)


def test_an_untraceable_model_is_prepared_module_by_module():
    x = torch.randn(8, 4)
    model = lowbit.prepare(Branch(), example=x)
    model(x).sum().backward()
    assert model.eval()(x).shape == (8, 2)
    assert [type(m).__name__ for m in model.children()] == ["QuantLinear", "QuantBatchNorm1d", "QuantLinear"]
    assert "not traced" in str(lowbit.summary(model)) and "TraceError" in str(lowbit.summary(model))
    with pytest.raises(
        lowbit.LowbitError, match=r"convert cannot follow the model's forward \(TraceError: symbolically"
    ):
        lowbit.convert(model, x)


def test_nan_stays_nan_while_training(x):
    model = lowbit.prepare(Net(), example=x)
    assert model(torch.full_like(x, float("nan"))).isnan().all()


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_eval_gradients_equal_frozen_batchnorm(kind):
    """In eval the exact integers are shown, but the gradient is that of training with frozen statistics."""
    torch.manual_seed(0)
    if kind is nn.BatchNorm1d:
        net = nn.Sequential(nn.Linear(6, 5), kind(5), nn.ReLU(), nn.Linear(5, 3))
        x = torch.randn(16, 6)
    else:
        net = nn.Sequential(nn.Conv2d(1, 5, 3), kind(5), nn.ReLU(), nn.Conv2d(5, 3, 3))
        x = torch.randn(4, 1, 7, 7)
    model = lowbit.prepare(net, weight="lsq:4", activation="lsq:4", first="same", last="same", example=x)
    gradients = []
    for training in (True, False):
        model.train(training)
        model[1].eval()
        model.zero_grad()
        model(x).square().sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
    for name, frozen in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], frozen, rtol=1e-4, atol=1e-4)
