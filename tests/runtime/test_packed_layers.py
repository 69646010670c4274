"""Layers on packed weights, batches as pixels, and results: what the matrix tiles brought."""

from __future__ import annotations

import numpy as np
import pytest
from runtime.programs import Builder, bits_of, check

from lowbit.bench.layers import Shape, layer_program
from lowbit.grid import Uniform
from lowbit.program import Op, Program
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", [(1, 1), (2, 2), (4, 8)])
def test_batches_of_images_without_space(isa, bits):
    """Many images are the pixels of one: whole passes, parts of one, and what is left."""
    rng = np.random.default_rng(sum(bits))
    builder = Builder(rng, (70,))
    name = "input"
    for out in (40, 2048, 33):
        codes = builder.to_codes(name, Uniform(bits=bits[1], scale=0.3)) or ""
        while not (name := builder.layer(codes, Uniform(bits=bits[0], scale=1, signed=bits[0] > 1), out=out) or ""):
            pass
    builder.rescale(name)
    engines = [Engine(builder.program(), isa=isa, threads=threads) for threads in (1, 2)]
    for batch in (1, 3, 4, 17, 64, 65, 150):
        x = rng.normal(0, 1, (batch, 70)).astype(np.float32)
        expected = reference.run(builder.program(), x)
        for engine in engines:
            np.testing.assert_array_equal(engine.run(x), expected)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("signed", [False, True])
def test_large_weights_are_taken_in_parts(isa, signed):
    """Bytes that no cache keeps from one tile of pixels to the next; the last part is a smaller one."""
    rng = np.random.default_rng(signed)
    builder = Builder(rng, (720,))
    codes = builder.to_codes("input", Uniform(bits=8, scale=0.02, signed=signed)) or ""
    builder.rescale(builder.layer(codes, Uniform(bits=8, scale=1, signed=signed), out=1000) or "")
    x = rng.normal(0, 1, (20, 720)).astype(np.float32)
    expected = reference.run(builder.program(), x)
    for threads in (1, 2):
        engine = Engine(builder.program(), isa=isa, threads=threads)
        np.testing.assert_array_equal(engine.run(x), expected)


@pytest.mark.parametrize("isa", available())
def test_random_programs_on_batches_of_images_without_space(isa):
    """Operations of every kind that sees pixels alone, on fewer images than one pass takes and on more."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        builder = Builder(rng, (int(rng.integers(1, 80)),))
        for _ in range(int(rng.integers(1, 12))):
            builder.grow()
        program = builder.program()
        batch = int(rng.choice([4, 5, 16, 63, 64, 70, 129]))
        x = rng.normal(0, 1, (batch, *builder.shape)).astype(np.float32)
        y = Engine(program, isa=isa, threads=int(rng.integers(1, 3))).run(x)
        np.testing.assert_array_equal(bits_of(y), bits_of(reference.run(program, x)), err_msg=str(seed))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("shape", [(6,), (6, 1, 1), (1, 2, 3)])
def test_an_output_that_is_the_input(isa, shape):
    """A step that copies moves the images that are there, not as many as one pass could take."""
    op = Op(kind="flatten", name="f", inputs=("input",), output="y")
    engine = Engine(Program(ops=(op,), input_shape=shape, output="y"), isa=isa)
    for batch in (1, 4, 64, 65):
        x = np.random.default_rng(batch).normal(0, 1, (batch, *shape)).astype(np.float32)
        np.testing.assert_array_equal(engine.run(x), x.reshape(batch, 6))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("w_bits", [1, 2, 3, 8])
def test_windows_on_packed_weights(isa, w_bits):
    """Strides, dilations, paddings of all modes, groups and channels around the 64 that one step takes."""
    for seed in range(12):
        rng = np.random.default_rng(100 * w_bits + seed)
        channels = int(rng.choice([3, 16, 33, 64, 65, 130]))
        builder = Builder(rng, (channels, int(rng.integers(5, 20)), int(rng.integers(5, 40))))
        codes = builder.to_codes("input", Uniform(bits=int(rng.integers(1, 9)), scale=0.2)) or ""
        while not (acc := builder.layer(codes, Uniform(bits=w_bits, scale=1, signed=w_bits > 1))):
            pass
        builder.rescale(acc)
        x = rng.normal(0, 1, (2, *builder.shape)).astype(np.float32)
        check(builder.program(), x, isa, threads=int(rng.integers(1, 3)))


@pytest.mark.parametrize(
    ("isa", "shape", "bits", "kernel"),
    [
        ("avx2", Shape(64, 8), (1, 1), "nibbles1"),
        ("avx2", Shape(64, 8), (2, 1), "nibbles2"),
        ("avx2", Shape(64, 8), (2, 2), "nibbles2"),
        ("avx2", Shape(64, 8), (2, 3), "dot8"),
        ("avx2", Shape(64, 8), (4, 2), "dot8"),
        ("avx2", Shape(64, 0), (1, 1), "bits"),
        ("avx2", Shape(64, 0), (2, 2), "nibbles2"),
        ("avx512bw", Shape(64, 8), (2, 2), "nibbles2"),
        ("avx512", Shape(64, 8), (1, 1), "bits"),
    ],
)
def test_products_of_few_bits_are_looked_up_where_nothing_is_faster(isa, shape, bits, kernel):
    if isa not in available():
        pytest.skip(f"this processor has no {isa}")
    kernels = Engine(layer_program(shape, *bits), isa=isa).kernels()
    assert [name for name in kernels.values() if name.startswith(f"{kernel}_")], kernels


def test_results_outlive_later_runs():
    """The memory of a result is taken again only when nobody holds it, views included."""
    builder = Builder(np.random.default_rng(4), (8, 64, 64))
    codes = builder.to_codes("input", Uniform(bits=2, scale=0.2)) or ""
    builder.rescale(builder.layer(codes, Uniform(bits=2, scale=1, signed=True), out=40) or "")
    engine = Engine(builder.program())
    x = np.random.default_rng(5).normal(0, 1, (2, 8, 64, 64)).astype(np.float32)
    first = engine.run(x)
    kept = first[1:]
    copy = kept.copy()
    del first
    for _ in range(3):
        engine.run(x + 1)
    np.testing.assert_array_equal(kept, copy)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(64,), (192,), (4096,), (128, 3, 5), (65,)])
def test_floats_whose_channels_are_alike(isa, bits, shape):
    """They are taken as one run of numbers, whose codes or planes must land where pixels would put them."""
    rng = np.random.default_rng(bits)
    builder = Builder(rng, shape)
    floats = "input"
    if len(shape) == 3:  # a value of floats in the middle, which has its channels side by side
        parts = rng.random((2, shape[0]), np.float32)
        floats = builder.add("affine", ("input",), arrays={"scale": parts[0], "shift": parts[1]}) or ""
    codes = builder.to_codes(floats, Uniform(bits=bits, scale=0.3)) or ""
    second = builder.to_codes(floats, Uniform(bits=3, scale=0.2)) or ""  # so that the floats are kept
    for name in (codes, second):
        while not (acc := builder.layer(name, Uniform(bits=1, scale=1), out=33)):
            pass
        builder.rescale(acc)
    for threads in (1, 2):
        for batch in (1, 3, 7, 66):
            check(builder.program(), rng.normal(0, 1, (batch, *shape)).astype(np.float32), isa, threads)
