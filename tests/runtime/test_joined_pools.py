"""A convolution and the pools behind it, which share steps and go strip by strip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from runtime.programs import Builder, bits_of, check
from torch.nn import functional as F

from lowbit.grid import Uniform
from lowbit.runtime import reference
from lowbit.runtime.engine import available


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("pools", [1, 2, 3])
def test_pools_in_a_row(isa, pools):
    """One pool joins the layer; the next ones, which read that pool, do not."""
    for seed in range(10):
        rng = np.random.default_rng(10 * pools + seed)
        builder = Builder(rng, (int(rng.choice([3, 17, 32])), 16, int(rng.integers(9, 20))))
        codes = builder.to_codes("input", Uniform(bits=int(rng.integers(1, 4)), scale=0.3)) or ""
        while not (name := builder.layer(codes, Uniform(bits=2, scale=0.1, signed=True)) or ""):
            pass
        name = builder.rescale(name) or ""
        for _ in range(pools):
            while not (pooled := builder.pool(name) or ""):
                pass
            name = pooled
        x = rng.normal(0, 1, (2, *builder.shape)).astype(np.float32)
        check(builder.program(), x, isa, threads=int(rng.integers(1, 4)))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("threads", [1, 3])
def test_several_strips(isa, threads):
    """A megabyte between layer and pool: strips that overlap, start above the image and end below it."""
    rng = np.random.default_rng(threads)
    for kernel, stride, padding in ((3, 2, 1), (2, 2, 0), (3, 1, 1), (5, 3, 2)):
        builder = Builder(rng, (4, 70, 60))
        codes = builder.to_codes("input", Uniform(bits=2, scale=0.3)) or ""
        while not (acc := builder.layer(codes, Uniform(bits=2, scale=0.1, signed=True), out=68) or ""):
            pass
        attrs = {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (padding,) * 2, "ceil": 0,
                 "dilation": (1, 1)}  # fmt: skip
        assert builder.add("max_pool", (builder.rescale(acc) or "",), attrs=attrs)
        x = rng.normal(0, 1, (2, *builder.shape)).astype(np.float32)
        check(builder.program(), x, isa, threads=threads)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (3, 3)])
def test_of_equal_zeros_the_first_stays(isa, kernel):
    """Zeros have a sign, and torch keeps the one that it meets first."""
    rng = np.random.default_rng(0)
    for channels in (3, 16, 70):
        builder = Builder(rng, (channels, 9, 9))
        attrs = {"kernel": kernel, "stride": (2, 1), "padding": (1, 1), "ceil": 0, "dilation": (1, 1)}
        assert builder.add("max_pool", ("input",), attrs=attrs)
        x = rng.choice(np.array([0.0, -0.0, -1.0], np.float32), (2, channels, 9, 9))
        check(builder.program(), x, isa)
        expected = F.max_pool2d(torch.from_numpy(x), kernel, (2, 1), (1, 1)).numpy()
        np.testing.assert_array_equal(bits_of(reference.run(builder.program(), x)), bits_of(expected))
