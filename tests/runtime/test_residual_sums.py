"""Residual sums, which take the place of what they add to where nobody reads it later."""

from __future__ import annotations

import numpy as np
import pytest
from runtime.programs import Builder, check, weight_of

from lowbit.grid import Codebook, Uniform
from lowbit.program import Program
from lowbit.runtime.engine import Engine, available

CHANNELS = 32
SAME = {"stride": (1, 1), "groups": 1, "pad_mode": "zeros", "padding": (1, 1), "dilation": (1, 1)}


def residual(seed: int, size: int, blocks: int, reread: bool = False, first: bool = False) -> Program:
    """Blocks of one convolution and a sum. reread: the first block's sum is added once more at the end."""
    rng = np.random.default_rng(seed)
    builder = Builder(rng, (CHANNELS, size, size))

    def conv(name: str) -> str:
        codes = builder.add("quantize", (name,), grid=Uniform(bits=2, scale=0.5))
        weight = weight_of(rng, (CHANNELS, CHANNELS, 3, 3), Uniform(bits=2, scale=0.05, signed=True))
        acc = builder.add("conv", (codes or "",), weight=weight, attrs=SAME)
        return builder.rescale(acc or "") or ""

    sums = [conv("input")]
    for _ in range(blocks):
        pair = (sums[-1], conv(sums[-1]))
        sums.append(builder.add("add", pair if first else pair[::-1]) or "")
    if reread:
        sums.append(builder.add("add", (conv(sums[-1]), sums[1])) or "")
    assert all(sums)
    return builder.program()


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_in_place_and_not(isa: str, threads: int) -> None:
    for seed, reread in enumerate((False, True, False, True)):
        program = residual(seed, int(7 + 4 * seed), 3, reread, first=seed > 1)
        x = np.random.default_rng(seed).normal(0, 1, (2, *program.input_shape)).astype(np.float32)
        check(program, x, isa, threads)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bits", [0, 2])
def test_float_layers_around_a_sum(isa: str, layers: int, bits: int) -> None:
    """Weights of floats or of codes; a block of one layer adds the very values that the layer reads."""
    rng = np.random.default_rng(layers)
    builder = Builder(rng, (CHANNELS, 9, 9))
    name = builder.affine("input") or ""
    for _ in range(3):
        branch = name
        for _ in range(layers):
            weight = rng.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
            rest: dict = {"arrays": {"bias": np.zeros(CHANNELS, np.float32)}}
            if bits:
                rest["weight"] = weight_of(rng, weight.shape, Uniform(bits=bits, scale=0.05, signed=True))
            else:
                rest["arrays"]["weight"] = weight
            branch = builder.add("float_conv", (branch,), attrs=SAME, **rest) or ""
        name = builder.add("add", (branch, name)) or ""
    engine = Engine(builder.program(), isa=isa)
    x = rng.normal(0, 1, (2, CHANNELS, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(engine.run(x), engine.trace(x)[0])


@pytest.mark.parametrize("isa", available())
def test_layers_that_unpack_as_they_go(isa: str) -> None:
    """A codebook of more than 64 values is executed by `direct`, whose addend must live until then."""
    rng = np.random.default_rng(0)
    builder = Builder(rng, (8, 11, 11))
    name = builder.affine("input") or ""
    grid = Codebook(bits=7, table=np.sort(rng.normal(0, 1, 100)).astype(np.float32))
    for _ in range(3):
        branch = name
        for _ in range(2):
            codes = builder.add("quantize", (branch,), grid=Uniform(bits=8, scale=0.1)) or ""
            weight = weight_of(rng, (8, 8, 3, 3), grid)
            branch = builder.rescale(builder.add("conv", (codes,), weight=weight, attrs=SAME) or "") or ""
        name = builder.add("add", (branch, name)) or ""
    program = builder.program()
    assert any("direct" in kernel for kernel in Engine(program, isa=isa).kernels().values())
    check(program, rng.normal(0, 1, (2, 8, 11, 11)).astype(np.float32), isa)


def test_a_chain_keeps_one_tensor_of_floats() -> None:
    size = 64
    floats = 4 * CHANNELS * size * size
    # codes in and out are bytes, a quarter of the floats each; without the shared place it is 2.5 times and more
    assert Engine(residual(0, size, 4), isa="scalar").arena_bytes < 2 * floats
    assert Engine(residual(0, size, 4, reread=True), isa="scalar").arena_bytes > 2 * floats
