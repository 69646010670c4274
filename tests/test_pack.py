import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbit.pack import _BLOCK, largest, pack, packed_bytes, unpack

bits_and_codes = st.integers(1, 16).flatmap(
    lambda bits: st.tuples(st.just(bits), st.lists(st.integers(0, 2**bits - 1), max_size=70))
)


@given(bits_and_codes)
def test_unpack_undoes_pack(case: tuple[int, list[int]]) -> None:
    bits, codes = case
    packed = pack(np.array(codes, np.int64), bits)
    assert packed.dtype == np.uint8 and packed.size == packed_bytes(len(codes), bits)
    assert unpack(packed, bits, len(codes)).tolist() == codes


@given(bits_and_codes)
def test_layout_is_one_little_endian_number(case: tuple[int, list[int]]) -> None:
    """Code i occupies bits i * bits and up of the whole array read as one integer; the rest is 0."""
    bits, codes = case
    number = sum(code << (i * bits) for i, code in enumerate(codes))
    assert int.from_bytes(pack(np.array(codes, np.int64), bits).tobytes(), "little") == number


@given(bits_and_codes)
def test_any_shape_and_integer_type(case: tuple[int, list[int]]) -> None:
    bits, codes = case
    array = np.array(codes, np.int64)
    if codes and len(codes) % 2 == 0:
        array = array.reshape(2, -1)
    for dtype in (np.int32, np.int64, np.uint16):
        assert np.array_equal(pack(array.astype(dtype), bits), pack(array, bits))
        assert np.array_equal(pack(np.asfortranarray(array.astype(dtype)), bits), pack(array, bits))


@pytest.mark.parametrize("bits", [1, 3, 5, 7, 8, 11, 16])
@pytest.mark.parametrize("count", [_BLOCK - 1, _BLOCK, _BLOCK + 1, 2 * _BLOCK + 13])
def test_blocks_meet_without_a_seam(bits: int, count: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 2**bits, count)
    packed = pack(codes, bits)
    assert packed.size == packed_bytes(count, bits)
    assert np.array_equal(unpack(packed, bits, count), codes)
    assert largest(packed, bits, count) == codes.max()


def test_largest_sees_every_code() -> None:
    for where in (0, 5, _BLOCK, _BLOCK + 7):
        codes = np.zeros(_BLOCK + 8, np.int64)
        codes[where] = 6
        assert largest(pack(codes, 3), 3, codes.size) == 6


@pytest.mark.parametrize(("codes", "bits"), [([4], 2), ([-1], 2), ([0, 1, 2], 1), ([65536], 16)])
def test_codes_that_do_not_fit_are_refused(codes: list[int], bits: int) -> None:
    with pytest.raises(ValueError, match=rf"codes span {min(codes)}\.\.{max(codes)}, but {bits} bits hold 0\.\."):
        pack(np.array(codes), bits)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=rf"5 codes of 3 bits take 2 bytes, got {size}"):
        unpack(np.zeros(size, np.uint8), 3, 5)


def test_no_codes_take_no_bytes() -> None:
    assert pack(np.zeros(0, np.int64), 4).size == 0 and unpack(np.zeros(0, np.uint8), 4, 0).size == 0
