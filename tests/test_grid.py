import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbit.grid import GRIDS, Codebook, Grid, Levels, Planes, Uniform, quantize

scale = st.floats(2.0**-20, 2.0**13, width=32)


def all_codes(grid: Grid) -> np.ndarray:
    low, high = grid.code_range
    return np.arange(low, high + 1)


@st.composite
def uniforms(draw: st.DrawFn) -> Uniform:
    bits = draw(st.integers(1, 8))
    kind = draw(st.sampled_from(["unsigned", "signed", "odd", "zero", "narrow"]))
    step = np.float32(draw(scale))
    if kind == "odd":
        return Uniform(bits=bits, scale=step, odd=True)
    if kind == "zero":
        return Uniform(bits=bits, scale=step, zero=draw(st.integers(0, 2**bits - 1)))
    if kind == "narrow" and bits > 1:
        top = 2 ** (bits - 1) - 1
        return Uniform(bits=bits, scale=step, signed=True, low=-top, high=top)
    return Uniform(bits=bits, scale=step, signed=kind == "signed")


@given(uniforms())
def test_quantize_returns_each_levels_own_code(grid: Uniform) -> None:
    codes = all_codes(grid)
    assert np.array_equal(quantize(grid.values(codes), grid), codes)


@given(uniforms(), st.lists(st.floats(-(2.0**20), 2.0**20, width=32), min_size=1, max_size=30))
def test_quantize_takes_a_nearest_level(grid: Uniform, numbers: list[float]) -> None:
    x = np.array(numbers, np.float32)
    levels = grid.values(all_codes(grid)).astype(np.float64)
    distance = np.abs(levels[:, None] - x)
    chosen = np.abs(grid.values(quantize(x, grid)) - x.astype(np.float64))
    # the float32 quotient may fall on the other side of a tie: by 2^-24 of itself, times a step
    assert (chosen <= distance.min(0) + 2**-22 * (np.abs(x) + float(grid.scale))).all()


@given(uniforms(), st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=30))
def test_quantize_is_monotone_and_inside(grid: Uniform, numbers: list[float]) -> None:
    codes = quantize(np.sort(np.array(numbers, np.float32)), grid)
    low, high = grid.code_range
    assert (np.diff(codes) >= 0).all() and codes.min() >= low and codes.max() <= high


def test_ties_go_to_the_even_code() -> None:
    x = np.array([-1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert quantize(x, Uniform(bits=4, signed=True, scale=1)).tolist() == [-2, 0, 0, 2, 2]
    # odd: v = x / step - 0.5 is a tie where x is a multiple of the step
    assert quantize(np.array([-2, 0, 2], np.float32), Uniform(bits=3, odd=True, scale=1)).tolist() == [2, 4, 4]


def test_quantize_divides() -> None:
    """x / s and x * (1 / s) fall on different sides of some ties."""
    s = np.float32(0.3)
    x = (np.arange(1, 4000, dtype=np.float32) / 2) * s
    by_reciprocal = np.rint(x * (np.float32(1) / s))
    assert (by_reciprocal != np.rint(x / s)).any()
    assert np.array_equal(quantize(x, Uniform(bits=16, scale=s)), np.rint(x / s))


def test_values_round_each_operation() -> None:
    grid = Planes(bits=3, scales=[0.1, 0.3, 1e-8])
    a, b, c = grid.scales
    assert grid.values(np.array([7]))[0] == (a + b) + c
    assert grid.values(np.array([0]))[0] == (-a + -b) + -c
    shifted = Uniform(bits=2, scale=0.3, offset=-0.7)
    assert shifted.values(np.array([2]))[0] == np.float32(2) * np.float32(0.3) + np.float32(-0.7)


@pytest.mark.parametrize(
    ("grid", "values"),
    [
        (Uniform(bits=2, scale=0.5), [0, 0.5, 1, 1.5]),
        (Uniform(bits=2, scale=0.5, signed=True), [-1, -0.5, 0, 0.5]),
        (Uniform(bits=2, scale=0.5, zero=1), [-0.5, 0, 0.5, 1]),
        (Uniform(bits=2, scale=0.5, odd=True), [-1.5, -0.5, 0.5, 1.5]),
        (Uniform(bits=2, scale=0.5, signed=True, low=-1, high=1), [-0.5, 0, 0.5]),
        (Uniform(bits=2, scale=0.5, offset=-1), [-1, -0.5, 0, 0.5]),
        (Planes(bits=1, scales=[0.5]), [-0.5, 0.5]),
        (Planes(bits=2, scales=[0.5, 2]), [-2.5, -1.5, 1.5, 2.5]),
        (Levels(bits=2, scale=0.5, table=(-1, 0, 1)), [-0.5, 0, 0.5]),
        (Levels(bits=3, scale=0.25, table=(-4, -2, -1, 0, 1, 2, 4)), [-1, -0.5, -0.25, 0, 0.25, 0.5, 1]),
        (Codebook(bits=2, table=[-0.75, 0, 0.5]), [-0.75, 0, 0.5]),
    ],
    ids=lambda value: value.describe() if isinstance(value, Grid) else "",
)
def test_levels_of_each_kind(grid: Grid, values: list[float]) -> None:
    codes = all_codes(grid)
    assert grid.values(codes).tolist() == values
    if grid.kind != "codebook" and getattr(grid, "offset", None) is None:  # these keep 0 by a real number, not a unit
        assert grid.has_zero == (0 in values)
    assert len(grid.unit_table()) == len(grid.term_scales()) == grid.terms
    assert grid.units(codes).dtype == np.int32 and grid.max_unit == abs(grid.unit_table()).max()
    assert grid.values(codes[None]).shape == (1, len(codes))


def test_channels_come_from_axis_zero() -> None:
    codes = np.array([[[0, 1]], [[1, 0]]])
    assert Uniform(bits=1, scale=[1, 10]).values(codes).tolist() == [[[0, 1]], [[10, 0]]]
    assert Uniform(bits=1, scale=[1, 10], offset=[5, 7]).values(codes).tolist() == [[[5, 6]], [[17, 7]]]
    planes = Planes(bits=1, scales=[[1, 10]])
    assert planes.channels == 2 and planes.values(codes).tolist() == [[[-1, 1]], [[10, -10]]]
    book = Codebook(bits=1, table=[[1, 3], [2, 4]])
    assert book.channels == 2 and book.values(codes).tolist() == [[[1, 2]], [[4, 3]]]


def test_same_compares_numbers_bit_for_bit() -> None:
    a = Uniform(bits=2, scale=0.5)
    assert a.same(Uniform(bits=2, scale=np.float32(0.5)))
    assert not a.same(Uniform(bits=2, scale=np.nextafter(np.float32(0.5), np.float32(1))))
    assert not a.same(Uniform(bits=2, scale=0.5, zero=1)) and not a.same(Planes(bits=1, scales=[0.5]))
    assert not a.same(Uniform(bits=2, scale=0.5, offset=0.0))


def test_grids_are_known_by_kind() -> None:
    assert {kind: grid.__name__ for kind, grid in GRIDS.items()} == {
        "uniform": "Uniform", "planes": "Planes", "levels": "Levels", "codebook": "Codebook",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Uniform(bits=0, scale=1), r"1 to 16 bits, got 0"),
        (lambda: Uniform(bits=17, scale=1), r"1 to 16 bits, got 17"),
        (lambda: Uniform(bits=2, scale=np.nan), r"Uniform\.scale must be finite and not negative"),
        (lambda: Uniform(bits=2, scale=-1), r"Uniform\.scale must be finite and not negative"),
        (lambda: Uniform(bits=2, scale=[[1]]), r"scalar or one value a channel, got shape \(1, 1\)"),
        (lambda: Uniform(bits=2, scale=1, offset=np.inf), r"Uniform\.offset must be finite"),
        (lambda: Uniform(bits=2, scale=[1, 2], offset=0), r"offset has shape \(\), its scale \(2,\)"),
        (lambda: Uniform(bits=2, scale=1, low=-1), r"codes -1\.\.3 do not fit 2 bits \(0\.\.3\)"),
        (lambda: Uniform(bits=2, scale=1, low=2, high=1), r"codes 2\.\.1 do not fit"),
        (lambda: Uniform(bits=2, scale=1, odd=True, signed=True), r"odd grid has unsigned codes"),
        (lambda: Uniform(bits=2, scale=1, odd=True, zero=1), r"odd grid has unsigned codes"),
        (lambda: Uniform(bits=2, scale=1, zero=2**17), r"Uniform\.zero is 131072"),
        (lambda: Planes(bits=2, scales=[1]), r"Planes of 2 bits need 2 \(1 to 8\) scales, got shape \(1,\)"),
        (lambda: Planes(bits=9, scales=[1] * 9), r"Planes of 9 bits"),
        (lambda: Planes(bits=1, scales=[np.nan]), r"Planes\.scales must be finite"),
        (lambda: Levels(bits=2, scale=1, table=(0,)), r"take 2 to 4 entries, got 1"),
        (lambda: Levels(bits=1, scale=1, table=(0, 1, 2)), r"take 2 to 2 entries, got 3"),
        (lambda: Levels(bits=2, scale=1, table=(0, 0, 1)), r"must ascend without repeats"),
        (lambda: Levels(bits=2, scale=1, table=(1, 0)), r"must ascend without repeats"),
        (lambda: Levels(bits=2, scale=1, table=(0, 2**16)), r"within \+-2\^15"),
        (lambda: Codebook(bits=1, table=[1, 2, 3]), r"takes 1 to 2 levels, got \(3,\)"),
        (lambda: Codebook(bits=2, table=[1, np.inf]), r"Codebook\.table must be finite"),
    ],
)
def test_impossible_grids_are_refused(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(
    "grid",
    [
        Levels(bits=2, scale=1, table=(-1, 0, 1)),
        Codebook(bits=1, table=[0, 1]),
        Planes(bits=2, scales=[1, 2]),
        Uniform(bits=2, scale=[1, 2]),
        Uniform(bits=2, scale=1, offset=1),
    ],
)
def test_grids_without_arithmetic_encoding(grid: Grid) -> None:
    with pytest.raises(ValueError, match="no arithmetic encoding for activations on"):
        quantize(np.zeros(3, np.float32), grid)


def test_sign_of_zero_and_infinity() -> None:
    x = np.array([-np.inf, -0.0, 0.0, np.inf], np.float32)
    assert quantize(x, Planes(bits=1, scales=[1])).tolist() == [0, 1, 1, 1]
    assert quantize(x, Uniform(bits=3, scale=1, signed=True)).tolist() == [-4, 0, 0, 3]
