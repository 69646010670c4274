"""Profiles: the steps of a network with kernels, times, operations, and shares of measured peaks."""

import json

import numpy as np
import pytest
from runtime.programs import Builder

from lowbit.bench.layers import Shape, layer_program
from lowbit.errors import InvalidInput
from lowbit.grid import Uniform
from lowbit.program import Program
from lowbit.runtime import _kernels
from lowbit.runtime.engine import ISAS, Engine, available
from lowbit.runtime.profile import ARITHMETIC, Profile, StepProfile, arithmetic, peak, with_shares

SHAPE = Shape(64, 8)


def profile(bits: tuple[int, int], isa: str) -> Profile:
    program = layer_program(SHAPE, *bits)
    x = np.random.default_rng(0).random((2, *program.input_shape), dtype=np.float32)
    return Engine(program, isa=isa).profile(x, repeats=5, peaks=True)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", [(1, 1), (2, 2), (8, 8)], ids=str)
def test_steps_say_what_they_cost(isa, bits):
    found = profile(bits, isa)
    layer = next(step for step in found if "conv" in step.kinds)
    assert layer.ops == 2 * SHAPE.macs
    assert layer.bytes >= SHAPE.channels**2 * 9 * bits[0] / 8
    assert layer.ns > 0
    assert layer.gops == pytest.approx(layer.ops / layer.ns)
    assert layer.share is not None
    assert layer.share > 0
    assert all(step.share is None for step in found if not step.ops)
    assert found.isa == isa


@pytest.mark.parametrize("isa", available())
def test_peaks_are_measured_for_what_the_set_has(isa):
    found = {kind: peak(ISAS[isa], kind) for kind in ARITHMETIC}
    assert (found["tiles"] > 0) == (isa == "amx")
    assert (found["nibbles"] > 0) == (isa not in ("scalar", "neon"))
    assert all(value > 0.1 for kind, value in found.items() if kind not in ("tiles", "nibbles"))
    assert found == {kind: peak(ISAS[isa], kind) for kind in ARITHMETIC}  # once a process


def test_wider_registers_reach_more():
    sets = [name for name in ("scalar", "avx2", "avx512") if name in available()]
    bytes_ = [peak(ISAS[name], "bytes") for name in sets]
    assert bytes_ == sorted(bytes_)


def test_a_share_counts_products_of_planes(monkeypatch):
    monkeypatch.setattr(_kernels, "peak", lambda isa, kind: 1000.0)
    peak.cache_clear()
    try:
        kernels = {"bits_and2x2_8x16_avx512vpopcntdq": 0.4, "bits_mask1x1_4x16_avx2": 0.1, "nibbles2_4x32_avx2": 0.2,
                   "map_float": None}  # fmt: skip
        steps = [StepProfile(name="", kinds=(), kernel=k, ns=10, ops=1000, bytes=0) for k in kernels]
        found = with_shares(Profile(steps=tuple(steps), isa="avx2"), 1)
        assert [step.share for step in found] == pytest.approx(list(kernels.values()))
        assert found.peaks == {"bits": 1000.0, "nibbles": 1000.0}
    finally:
        peak.cache_clear()


def test_kernel_names_tell_the_arithmetic():
    for bits in ((1, 1), (2, 2), (3, 2), (8, 8), (4, 8)):
        for isa in available():
            kernel = profile(bits, isa)[1].kernel
            kind, products = arithmetic(kernel)
            assert (kind in ARITHMETIC, products >= 1) == (True, True), kernel


def test_text_and_json_hold_the_same_steps():
    found = profile((2, 2), "scalar")
    data = json.loads(json.dumps(found.to_dict()))
    assert [step["kernel"] for step in data["steps"]] == [step.kernel for step in found]
    assert data["ms"] == pytest.approx(sum(step["ms"] for step in data["steps"]))
    assert set(data["peaks"]) <= set(ARITHMETIC)
    text = str(found)
    assert all(step.kernel in text for step in found)
    assert "% of peak" in text
    assert len(found[:2]) == 2
    plain = Engine(layer_program(SHAPE, 2, 2)).profile(np.zeros((1, 64, 8, 8), np.float32), repeats=1)
    assert "% of peak" not in str(plain)
    assert plain.peaks == {}


def test_wrong_settings():
    engine = Engine(layer_program(SHAPE, 2, 2))
    with pytest.raises(InvalidInput, match="repeats is 0, allowed is a whole number from 1"):
        engine.profile(np.zeros((1, 64, 8, 8), np.float32), repeats=0)
    with pytest.raises(InvalidInput, match=r"repeats is 1\.5, allowed is a whole number from 1"):
        engine.profile(np.zeros((1, 64, 8, 8), np.float32), repeats=1.5)
    with pytest.raises(InvalidInput, match="input row 0 holds NaN"):
        engine.profile(np.full((1, 64, 8, 8), np.nan, np.float32), repeats=1)
    for batch in (0, -1, 2.5):
        with pytest.raises(InvalidInput, match=f"batch is {batch}, allowed is a whole number from 1"):
            engine.kernels(batch=batch)
    with pytest.raises(InvalidInput, match="input has shape"):
        engine.profile(np.zeros((1, 64, 8, 9), np.float32))


def linear_program(inputs: int, outputs: int) -> Program:
    builder = Builder(np.random.default_rng(0), (inputs,))
    codes = builder.to_codes("input", Uniform(bits=2, scale=0.3)) or ""
    builder.rescale(builder.layer(codes, Uniform(bits=2, scale=1, signed=True), out=outputs) or "")
    return builder.program()


@pytest.mark.parametrize("isa", available())
def test_inputs_that_go_together_are_timed_together(isa):
    program = linear_program(200, 130)
    engine = Engine(program, isa=isa)
    x = np.random.default_rng(0).random((70, 200), dtype=np.float32)
    single, few, many = (engine.profile(x[:n], repeats=3) for n in (3, 5, 70))
    assert (single.images, few.images, many.images) == (1, 5, 64)
    for found in (single, few, many):
        layer = next(step for step in found if "linear" in step.kinds)
        assert layer.ops == 2 * 200 * 130 * found.images
        assert f"{found.images} inputs" in str(found) or found.images == 1
        assert found.to_dict()["images"] == found.images
        shown = engine.kernels(batch=found.images)
        assert {step.kernel for step in found} == set(shown.values())
    # Weights are read once for all of them.
    sizes = [sum(step.bytes for step in found) for found in (few, many)]
    assert sizes[0] < sizes[1] < sizes[0] * 64 / 5


@pytest.mark.skipif("amx" not in available(), reason="this processor has no matrix tiles")
def test_kernels_of_a_batch_are_those_that_run_it():
    engine = Engine(linear_program(256, 64), isa="amx")
    one, many = engine.kernels(), engine.kernels(batch=32)
    assert not any("96x16" in kernel for kernel in one.values())
    assert any(kernel.startswith("tile8_u8s8_96x16") for kernel in many.values())


def test_images_are_timed_one_at_a_time():
    found = Engine(layer_program(SHAPE, 2, 2)).profile(np.zeros((8, 64, 8, 8), np.float32), repeats=1)
    assert found.images == 1
