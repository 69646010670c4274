"""Images become codes or planes on every instruction set, and what is not finite is found wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest
from runtime.programs import check

from lowbit.bench.layers import Shape, layer_program
from lowbit.errors import InvalidInput
from lowbit.runtime.engine import Engine, available

# Whole words of 32 channels and parts of them, whole lanes of 16 pixels and parts, more than the 64 taken at once.
SHAPES = [Shape(3, 7), Shape(5, 3), Shape(20, 5), Shape(33, 5), Shape(64, 4), Shape(70, 9)]


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", [(1, 1), (1, 2), (2, 2), (4, 4)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_of_an_image(isa, bits, shape):
    x = np.random.default_rng(0).normal(0.4, 1, (2, shape.channels, shape.size, shape.size)).astype(np.float32)
    check(layer_program(shape, *bits), x, isa)


@pytest.mark.skipif("avx512" not in available(), reason="this processor has no avx512")
@pytest.mark.parametrize("channels", [5, 20, 33, 64, 70])
def test_one_bit_is_kept_in_planes(channels):
    """Or the two tests beside this one would not try them."""
    kernels = Engine(layer_program(Shape(channels, 5), 1, 1), isa="avx512").kernels()
    assert [name.partition("_")[0] for name in kernels.values()] == ["image", "bits", "bits"]


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("bits", [(1, 1), (1, 2), (4, 4)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_not_finite_is_found_wherever_it_stands(isa, bits, shape):
    engine = Engine(layer_program(shape, *bits), isa=isa)
    image = np.full((1, shape.channels, shape.size, shape.size), -np.finfo(np.float32).max, np.float32)
    engine.run(image)  # finite, if only just
    for place in (0, image.size // 2, image.size - 1, *range(0, image.size, 37)):
        for value in (np.nan, -np.nan, np.inf, -np.inf):
            x = image.copy()
            x.flat[place] = value
            with pytest.raises(InvalidInput, match="input row 0 holds NaN"):
                engine.run(x)
