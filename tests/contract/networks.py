"""converted == eval model == reference == engine on one small convolutional and one linear network."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from contract.cases import Case
from torch import Tensor, nn

import lowbit
from lowbit.errors import ConversionError
from lowbit.layers import WeightLayer
from lowbit.quantizers import Quantizer
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine


def convolutional(signed: bool) -> tuple[nn.Module, Tensor]:
    """3x3 with padding, depthwise, 1x1 and linear, 5x5 images; no layer reads negative data unless `signed`."""
    between, x = (nn.Identity() if signed else nn.ReLU6()), torch.randn(3, 2, 5, 5)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, padding=1), nn.BatchNorm2d(4), between,
        nn.Conv2d(4, 3, 1), nn.Hardtanh() if signed else nn.ReLU(), nn.Flatten(), nn.Linear(75, 3),
    )  # fmt: skip
    return net, x if signed else x.relu()


def linear(signed: bool) -> tuple[nn.Module, Tensor]:
    x = torch.randn(4, 7)
    return nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)), x if signed else x.relu()


def _prepared(case: Case, net: nn.Module, x: Tensor) -> nn.Module:
    method = f"{case.method}:{case.bits}" + ("@channel" if case.channel else "@tensor")
    roles: dict[str, str | None] = {"weight": "affine:4", "activation": "affine:4", "output": None, case.role: method}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*its sign is always")  # of no importance to exactness
        model = lowbit.prepare(net, **roles, first="same", last="same")  # type: ignore[arg-type]
    return lowbit.calibrate(model, [x, 2 * x])


def _widest(model: nn.Module, role: str) -> int:
    """Bits of the widest grid in a role."""
    layers = [m for m in model.modules() if isinstance(m, WeightLayer)]
    if role in ("weight", "gradient"):
        return max(m.weight_quantizer.grid(m.weight).bits for m in layers if m.weight_quantizer is not None)
    quantizers = [m.input_quantizer if role == "activation" else m.output_quantizer for m in layers]
    return max(q.grid().bits for q in quantizers if q is not None)


def check_converted_equals_the_eval_model(case: Case) -> None:
    if case.bits > 8 and case.role != "gradient":
        return
    if case.role == "output" and not case.signed:
        return  # W x + b is signed
    for build in (convolutional, linear):
        torch.manual_seed(0)
        net, x = build(case.signed)
        model = _prepared(case, net, x)
        model.train()
        model(x).square().mean().backward()  # running statistics move; nothing may depend on a fresh calibration
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p -= 0.01 * p.grad
        soft = [q for q in model.modules() if isinstance(q, Quantizer) and q.unfinished() > 1e-3]
        if soft and _widest(model, case.role) <= 8:
            with pytest.raises(ConversionError, match="still mixes"):
                lowbit.convert(model, x)
        for q in soft:
            q.harden()
            assert q.unfinished() == 0
        model.eval()
        if _widest(model, case.role) > 8:  # a width that training moved
            with pytest.raises(ConversionError, match=r"at most 8 bits|more than the 8 bits"):
                lowbit.convert(model, x)
            continue
        program = lowbit.convert(model, x)
        with torch.no_grad():
            expected = model(x).numpy()
        assert np.array_equal(reference.run(program, x.numpy()), expected)
        assert np.array_equal(Engine(program).run(x.numpy()), expected)
