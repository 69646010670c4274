"""How threads share a step: parts that cover it once, of sizes that are worth it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbit.runtime import _kernels


@given(pixels=st.integers(1, 60_000), blocks=st.integers(1, 130), grain=st.integers(1, 300), threads=st.integers(2, 40))
def test_every_pixel_of_every_channel_is_in_one_part(pixels, blocks, grain, threads):
    found = _kernels.parts(pixels, blocks, grain, threads)
    assert 1 <= len(found) <= 2 * threads
    by_channels = found[0][3] < blocks
    assert all(first < stop and low < high for first, stop, low, high in found)
    edges = [(low, high) if by_channels else (first, stop) for first, stop, low, high in found]
    whole = [(first, stop) if by_channels else (low, high) for first, stop, low, high in found]
    assert set(whole) == {(0, pixels if by_channels else blocks)}
    assert [edges[0][0], edges[-1][1]] == [0, blocks if by_channels else pixels]
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    # 32 channels are the bits of one word, rows of an image the tiles of one part.
    assert all(first % (2 if by_channels else grain) == 0 for first, _ in edges)


@pytest.mark.parametrize(
    ("pixels", "blocks", "grain", "sizes"),
    [
        (56 * 56, 4, 56, [21, 21, 7, 7]),  # rows
        (28 * 28, 8, 28, [10, 11, 3, 4]),
        (14 * 14, 16, 14, [7, 7]),  # quarters would unpack weights for too few pixels
        (7 * 7, 32, 12, [12, 12, 4, 4]),  # channels, as few pixels would unpack all weights twice
        (1, 256, 12, [96, 96, 32, 32]),
        (7 * 7, 1, 12, [2, 3]),  # pixels where there are no channels to share
        (1, 1, 12, [1]),
    ],
)
def test_two_threads(pixels, blocks, grain, sizes):
    found = _kernels.parts(pixels, blocks, grain, 2)
    if found[0][3] < blocks:
        assert [high - low for _, _, low, high in found] == sizes
    else:
        assert [-(-(stop - first) // grain) for first, stop, _, _ in found] == sizes
