"""torchvision's resnet18 and mobilenet_v2, random weights: prepared, trained a step, converted, run exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lowbit
from lowbit.data.torchvision_import import import_torchvision
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available

CASES = [
    pytest.param("resnet18", {"weight": "lsq:2", "activation": "lsq:2", "add": None}, id="resnet18"),
    pytest.param("mobilenet_v2", {"weight": "lsq:4", "activation": "lsq:4", "add": "lsq:8"}, id="mobilenet_v2"),
    pytest.param(
        "resnet18",
        {"weight": "twn", "activation": "pact:4", "add": "affine:8", "first": "minmax:8"},
        id="resnet18-mixed",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_known_networks(name, settings, tmp_path):
    torch.manual_seed(0)
    net = getattr(import_torchvision("models"), name)(num_classes=10)
    float_keys = set(net.state_dict())
    x = torch.randn(2, 3, 64, 64)
    model = lowbit.prepare(net, example=x, **settings)
    assert {k for k in set(model.state_dict()) - float_keys if "quantizer" not in k} == set()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    model(x).square().mean().backward()
    optimizer.step()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    with torch.no_grad():
        expected = model(x).numpy()
        assert np.array_equal(model(x[1:]).numpy(), expected[1:])
        assert np.array_equal(model(x.to(memory_format=torch.channels_last)).numpy(), expected)
    program = lowbit.convert(model, x)
    assert program.exact and lowbit.summary(model).to_dict()["totals"]["exact"]
    program.save(tmp_path / "net.lowbit")
    output, values = reference.run(program, x.numpy(), trace=True)
    assert np.array_equal(output, expected)
    for isa in available():
        engine = Engine(program, threads=2, isa=isa)
        assert np.array_equal(engine.run(x.numpy()), expected), isa
        _, traced = engine.trace(x[:1].numpy())
        for op in program.ops:
            value = values[op.output][:, :1] if op.kind in ("conv", "linear") else values[op.output][:1]
            assert np.array_equal(traced[op.output], value), f"{isa}: {op.output}"
    assert np.array_equal(lowbit.runtime.load(tmp_path / "net.lowbit").run(x.numpy()), expected)
