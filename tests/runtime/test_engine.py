"""The native engine against the normative interpreter: every value of random programs, tolerance zero."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lowbit.errors import InvalidInput, InvalidProgram, UnknownName
from lowbit.grid import Codebook, Grid, Levels, Planes, Uniform
from lowbit.infer import PAD_MODES, RULES, Value, acc_terms
from lowbit.program import Op, Program, Weight
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available

Rng = np.random.Generator


def bits_of(x: np.ndarray) -> np.ndarray:
    """Floats as integers, so that -0.0 differs from 0.0."""
    return x.view(np.int32) if x.dtype == np.float32 else x


def check(program: Program, x: np.ndarray, isa: str, threads: int = 1) -> None:
    engine = Engine(program, isa=isa, threads=threads)
    expected, values = reference.run(program, x, trace=True)
    _, traced = engine.trace(x)
    assert traced.keys() == values.keys()
    for op in program.ops:
        got, want = traced[op.output], values[op.output]
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(bits_of(got), bits_of(want), err_msg=f"{op} {engine.kernels()[op.output]}")
    np.testing.assert_array_equal(bits_of(engine.run(x)), bits_of(expected), err_msg=f"fused {engine.kernels()}")


# -- random parts ------------------------------------------------------------------------------------------------


def scale_of(rng: Rng, channels: int | None = None) -> np.ndarray:
    return np.exp(rng.normal(-2, 1, () if channels is None else (channels,))).astype(np.float32)


def activation_grid(rng: Rng, bits: int | None = None, arithmetic: bool = False) -> Grid:
    bits = int(rng.integers(1, 9)) if bits is None else bits
    kind = rng.integers(0, 6 if arithmetic else 9)
    if kind <= 2:
        return Uniform(bits=bits, scale=scale_of(rng))
    if kind == 3:
        return Uniform(bits=bits, scale=scale_of(rng), signed=True, zero=int(rng.integers(-3, 4)))
    if kind == 4:
        return Uniform(bits=bits, scale=scale_of(rng), odd=True)
    if kind == 5:
        return Planes(bits=1, scales=scale_of(rng, 1))
    if kind == 6:
        planes = int(rng.integers(1, 4))
        return Planes(bits=planes, scales=scale_of(rng, planes))
    return Levels(bits=max(bits, 3), scale=scale_of(rng), table=table_of(rng, max(bits, 3)))


def table_of(rng: Rng, bits: int) -> list[int]:
    tables = [
        (-1, 0, 1),
        (-2, -1, 0, 1, 2),
        (-4, -2, -1, 0, 1, 2, 4),
        (-8, 0, 8),
        (0, 1),
        (-300, -7, 5, 290),
        (3, 7, 9),
    ]
    fitting = [t for t in tables if len(t) <= 2**bits]
    return list(fitting[rng.integers(0, len(fitting))])


def weight_grid(rng: Rng, out: int, bits: int | None = None) -> Grid:
    bits = int(rng.integers(1, 9)) if bits is None else bits
    channels = out if rng.integers(0, 2) else None
    kind = rng.integers(0, 10)
    if kind <= 2:
        return Uniform(bits=bits, scale=scale_of(rng, channels), signed=True)
    if kind == 3:
        return Uniform(bits=bits, scale=scale_of(rng, channels), odd=True)
    if kind == 4:
        low = -(2 ** (bits - 1))
        return Uniform(bits=bits, scale=scale_of(rng, channels), signed=True, low=min(0, low + 1))
    if kind == 5:
        scale = scale_of(rng, channels)
        return Uniform(bits=bits, scale=scale, offset=rng.normal(0, 1, scale.shape), zero=int(rng.integers(0, 9)))
    if kind == 6:
        planes = int(rng.integers(1, 4))
        shape = (planes,) if channels is None else (planes, out)
        return Planes(bits=planes, scales=rng.normal(0, 1, shape))
    if kind == 7:
        levels = int(rng.integers(1, 2 ** min(bits, 3) + 1))
        shape = (levels,) if channels is None else (levels, out)
        return Codebook(bits=bits, table=rng.normal(0, 1, shape))
    return Levels(bits=max(bits, 2), scale=scale_of(rng, channels), table=table_of(rng, max(bits, 2)))


def weight_of(rng: Rng, shape: tuple[int, ...], grid: Grid) -> Weight:
    low, high = grid.code_range
    return Weight.from_codes(rng.integers(low, high + 1, shape), grid)


def thresholds_of(rng: Rng, value: Value, grid: Grid) -> dict[str, np.ndarray]:
    low, high = grid.code_range
    rows = value.shape[0] if rng.integers(0, 2) else 1
    if value.kind == "acc":
        t = np.sort(rng.integers(-60, 60, (rows, high - low)), axis=1).astype(np.int32)
    else:
        t = np.sort(rng.normal(0, 2, (rows, high - low)), axis=1).astype(np.float32)
    falling = rng.integers(0, 2, rows).astype(np.uint8)
    t = np.where(falling[:, None].astype(bool), t[:, ::-1], t)
    return {"thresholds": np.ascontiguousarray(t), "descending": falling}


class Builder:
    """Grows a valid program op by op: a drawn operation that breaks a rule is drawn again."""

    def __init__(self, rng: Rng, shape: tuple[int, ...], dtype: str = "float32") -> None:
        self.rng, self.shape, self.dtype, self.ops = rng, shape, dtype, []
        self.values = {"input": Value("float" if dtype == "float32" else "bytes", shape)}

    def add(self, kind: str, inputs: tuple[str, ...], **rest) -> str | None:
        op = Op(kind=kind, name=f"m{len(self.ops)}", inputs=inputs, output=f"v{len(self.ops)}", **rest)
        try:
            value = RULES[kind][0](op, *(self.values[name] for name in inputs))
        except Exception as error:
            if type(error).__name__ != "_Fault":
                raise
            return None
        if value.size > 200000:
            return None
        self.ops.append(op)
        self.values[op.output] = value
        return op.output

    def layer(self, name: str, grid: Grid | None = None, out: int | None = None) -> str | None:
        rng, value = self.rng, self.values[name]
        prefix = "float_" if value.kind == "float" else ""
        rest: dict = {}
        if len(value.shape) == 1:
            shape: tuple[int, ...] = (out or int(rng.integers(1, 40)), value.shape[0])
            kind = "linear"
        else:
            channels = value.shape[0]
            groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
            groups = int(rng.choice([1, 1, groups, channels]))
            outer = int(rng.choice([1, 2, 3, 16, 17])) if groups > 1 else out or int(rng.integers(1, 70))
            kernel = tuple(int(k) for k in rng.choice([1, 2, 3, 3, 5], 2))
            shape = (groups * outer, channels // groups, *kernel)
            mode = PAD_MODES[rng.choice([0, 0, 0, 1, 2, 3])]
            kind, rest["attrs"] = "conv", {
                "stride": tuple(int(s) for s in rng.integers(1, 3, 2)), "groups": groups, "pad_mode": mode,
                "padding": tuple(int(s) for s in rng.integers(0, 3, 2)),
                "dilation": tuple(int(s) for s in rng.choice([1, 1, 2], 2)),
            }  # fmt: skip
        grid = grid or weight_grid(rng, shape[0])
        weight = weight_of(rng, shape, grid)
        if prefix and rng.integers(0, 2):
            rest["arrays"] = {"weight": rng.normal(0, 1, shape).astype(np.float32)}
        else:
            rest["weight"] = weight
        if prefix:
            rest.setdefault("arrays", {})["bias"] = rng.normal(0, 1, shape[0]).astype(np.float32)
        return self.add(prefix + kind, (name,), **rest)

    def rescale(self, name: str) -> str | None:
        channels = self.values[name].shape[0]
        arrays = {"bias": self.rng.normal(0, 1, channels).astype(np.float32)} if self.rng.integers(0, 2) else {}
        return self.add("rescale", (name,), arrays=arrays)

    def affine(self, name: str) -> str | None:
        channels = self.values[name].shape[0]
        parts = self.rng.normal(0, 1, (2, channels)).astype(np.float32)
        return self.add("affine", (name,), arrays={"scale": parts[0], "shift": parts[1]})

    def activation(self, name: str) -> str | None:
        function = str(self.rng.choice(["relu", "relu6", "hardtanh", "hardswish", "leaky_relu"]))
        attrs: dict = {"function": function}
        attrs |= {"low": -0.7, "high": 1.1} if function == "hardtanh" else {}
        attrs |= {"slope": 0.01} if function == "leaky_relu" else {}
        return self.add("activation", (name,), attrs=attrs)

    def pool(self, name: str) -> str | None:
        rng, kernel = self.rng, tuple(int(k) for k in self.rng.integers(1, 4, 2))
        attrs = {
            "kernel": kernel,
            "stride": tuple(int(s) for s in rng.integers(1, 4, 2)),
            "ceil": int(rng.integers(0, 2)),
            "padding": tuple(int(rng.integers(0, k // 2 + 1)) for k in kernel),
        }
        if rng.integers(0, 2):
            return self.add(
                "max_pool", (name,), attrs=attrs | {"dilation": tuple(int(d) for d in rng.choice([1, 1, 2], 2))}
            )
        attrs |= {"count_pad": int(rng.integers(0, 2)), "divisor": int(rng.choice([0, 0, 5]))}
        return self.add("avg_pool", (name,), attrs=attrs)

    def to_codes(self, name: str, grid: Grid | None = None) -> str | None:
        rng = self.rng
        if self.values[name].kind == "float" and rng.integers(0, 2):
            return self.add("quantize", (name,), grid=grid or activation_grid(rng, arithmetic=True))
        grid = grid or activation_grid(rng, int(rng.integers(1, 5)))
        return self.add("threshold", (name,), grid=grid, arrays=thresholds_of(rng, self.values[name], grid))

    def grow(self, exact: bool = True) -> None:
        """One more operation on a random value, mostly the newest."""
        rng, names = self.rng, list(self.values)
        name = names[-1] if rng.integers(0, 4) else names[rng.integers(0, len(names))]
        value = self.values[name]
        if value.kind == "bytes":
            grid = activation_grid(rng)
            low, high = grid.code_range
            table = rng.integers(0, high - low + 1, (value.shape[0], 256)).astype(np.uint8)
            self.add("lookup", (name,), grid=grid, arrays={"table": table})
        elif value.kind == "acc":
            (self.to_codes if rng.integers(0, 3) == 0 and acc_terms(value) == 1 else self.rescale)(name)
        elif value.kind == "codes":
            draw = rng.integers(0, 10)
            if draw < 6:
                self.layer(name)
            else:
                self.shared(name, int(draw))
        else:
            draw = rng.integers(0, 12)
            if draw < 4:
                self.to_codes(name)
            elif draw < 6:
                self.affine(name)
            elif draw < 8:
                self.activation(name)
            elif draw == 8 and not exact:
                self.layer(name)
            else:
                self.shared(name, int(draw) - 3)

    def shared(self, name: str, draw: int) -> None:
        rng, value = self.rng, self.values[name]
        same = [n for n, v in self.values.items() if v.kind == value.kind and v.shape[1:] == value.shape[1:]]
        other = same[rng.integers(0, len(same))]
        image = len(value.shape) == 3
        if draw == 6:
            self.add("add", (name, other))
        elif draw == 7:
            self.add("concat", (name, other) if rng.integers(0, 2) else (name,))
        elif draw == 8 and image:
            self.pool(name)
        elif image and rng.integers(0, 3) == 0:
            self.add("mean", (name,), attrs={"keep": int(rng.integers(0, 2))})
        elif rng.integers(0, 3) == 0:
            self.add("flatten", (name,))
        elif value.kind == "codes":
            self.add("dequantize", (name,))

    def program(self) -> Program:
        """The program so far, ending in its newest float value."""
        for name in reversed(self.values):
            if self.values[name].kind == "float":
                return Program(ops=tuple(self.ops), input_shape=self.shape, input_dtype=self.dtype, output=name)
        name = next(reversed(self.values))
        if self.values[name].kind == "codes":
            name = self.add("dequantize", (name,)) or ""
        else:
            name = self.rescale(name) or ""
        return Program(ops=tuple(self.ops), input_shape=self.shape, input_dtype=self.dtype, output=name)


def random_program(seed: int, length: int = 12) -> tuple[Program, np.ndarray, Rng]:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 20)),) if rng.integers(0, 5) == 0 else tuple(
        int(n) for n in (rng.choice([1, 2, 3, 8, 16, 33, 64]), rng.integers(1, 9), rng.integers(1, 9)))  # fmt: skip
    dtype = "uint8" if rng.integers(0, 5) == 0 else "float32"
    builder = Builder(rng, shape, dtype)
    for _ in range(length):
        builder.grow()
    batch = int(rng.integers(1, 6))
    if dtype == "uint8":
        x = rng.integers(0, 256, (batch, *shape)).astype(np.uint8)
    else:
        x = rng.normal(0, 1, (batch, *shape)).astype(np.float32)
    return builder.program(), x, rng


# -- tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", available())
def test_random_programs(isa):
    for seed in range(80):
        program, x, rng = random_program(seed)
        check(program, x, isa, threads=int(rng.integers(1, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("block", range(8))
def test_many_random_programs(isa, block):
    for seed in range(1000 + 300 * block, 1300 + 300 * block):
        program, x, rng = random_program(seed, length=int(np.random.default_rng(seed).integers(1, 30)))
        check(program, x, isa, threads=int(rng.integers(1, 4)))


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("w_bits", range(1, 9))
def test_every_pair_of_bits(isa, w_bits):
    rng = np.random.default_rng(w_bits)
    for a_bits in range(1, 9):
        for draw in range(2):
            builder = Builder(rng, (int(rng.choice([3, 32, 48, 65])), 6, 5))
            codes = builder.to_codes("input", activation_grid(rng, a_bits, arithmetic=True))
            signed = bool(rng.integers(0, 2))
            grid = Uniform(bits=w_bits, scale=0.1, signed=signed) if draw else None
            while not (acc := builder.layer(codes, grid)):
                pass
            builder.rescale(acc)
            x = rng.normal(0, 1, (2, *builder.shape)).astype(np.float32)
            check(builder.program(), x, isa)


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("inputs", [1, 7, 8])
def test_threshold_edges(isa, inputs):
    """Accumulators exactly at a threshold, one below and one above it, rising and falling."""
    rng = np.random.default_rng(inputs)
    builder = Builder(rng, (inputs,))
    codes = builder.add("quantize", ("input",), grid=Uniform(bits=8, scale=1, signed=True))
    acc = builder.layer(codes, Uniform(bits=3, scale=1, signed=True), out=24)
    x = rng.integers(-40, 40, (5, inputs)).astype(np.float32)
    values = reference.run(Program(ops=(*builder.ops, Op(kind="rescale", name="r", inputs=(acc,), output="y")),
                                   input_shape=(inputs,), output="y"), x, trace=True)[1][acc][0]  # fmt: skip
    for falling in (0, 1):
        t = np.sort(np.stack([values[0] - 1, values[0], values[1] + 1], axis=1), axis=1).astype(np.int32)
        t = np.ascontiguousarray(t[:, ::-1] if falling else t)
        arrays = {"thresholds": t, "descending": np.full(24, falling, np.uint8)}
        coded = Op(kind="threshold", name="t", inputs=(acc,), output="c", grid=Uniform(bits=2, scale=1), arrays=arrays)
        out = Op(kind="dequantize", name="d", inputs=("c",), output="y")
        check(Program(ops=(*builder.ops, coded, out), input_shape=(inputs,), output="y"), x, isa)


@pytest.mark.parametrize("isa", available())
def test_quantize_ties_extremes_and_zeros(isa):
    half = np.arange(-600, 600, dtype=np.float32) / 2
    x = np.concatenate([half, np.nextafter(half, np.float32(9e9)), [0.0, -0.0, 3e38, -3e38, 1e-45, 2**24, -(2**23)]])
    x = x.astype(np.float32)[None]
    grids = (
        Uniform(bits=8, scale=1, signed=True),
        Uniform(bits=3, scale=1.7, zero=3),
        Uniform(bits=4, scale=0.5, odd=True),
        Uniform(bits=2, scale=1e-38),
        Uniform(bits=8, scale=3e38, odd=True),
        Planes(bits=1, scales=[2.0]),
        Uniform(bits=8, scale=1, zero=30000),
    )
    for grid in grids:
        ops = (Op(kind="quantize", name="q", inputs=("input",), output="c", grid=grid),
               Op(kind="dequantize", name="d", inputs=("c",), output="y"))  # fmt: skip
        with np.errstate(over="ignore"):
            check(Program(ops=ops, input_shape=x.shape[1:], output="y"), x, isa)


@pytest.mark.parametrize("isa", available())
def test_float_layers_stay_within_their_bound(isa):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        builder = Builder(rng, (int(rng.choice([1, 3, 16, 20])), 5, 6) if seed % 2 else (int(rng.integers(1, 300)),))
        while not builder.layer("input"):
            pass
        program, op = builder.program(), builder.ops[-1]
        x = rng.normal(0, 1, (3, *builder.shape)).astype(np.float32)
        w = op.arrays["weight"] if op.weight is None else op.weight.grid.values(op.weight.codes())
        magnitude = Op(
            kind=op.kind, name="", inputs=("input",), output="y", attrs=op.attrs, arrays={"weight": np.abs(w)}
        )
        total = reference.run(Program(ops=(magnitude,), input_shape=builder.shape, output="y"), np.abs(x))
        k = math.prod(w.shape[1:])
        bias = np.abs(op.arrays["bias"]).reshape(-1, *(1,) * (total.ndim - 2))
        error = np.abs(Engine(program, isa=isa).run(x) - reference.run(program, x))
        assert (error <= 2 * k * 2.0**-24 * total + 2.0**-23 * (total + bias)).all()


@pytest.mark.parametrize("isa", available())
@pytest.mark.parametrize("shape", [(600,), (48, 14, 13)])
def test_one_image_on_several_threads(isa, shape):
    """Large enough that layers are split: by output channels (linear) and by pixels (convolution)."""
    rng = np.random.default_rng(len(shape))
    for weight, activation in ((2, 2), (1, 1), (8, 8)):
        builder = Builder(rng, shape)
        codes = builder.to_codes("input", Uniform(bits=activation, scale=0.3))
        while not (acc := builder.layer(codes, Uniform(bits=weight, scale=1, signed=weight > 1), out=501)):
            pass
        builder.rescale(builder.layer(builder.to_codes(acc, Uniform(bits=2, scale=1)) or "", out=500) or "")
        x = rng.normal(0, 1, (2, *shape)).astype(np.float32)
        expected = reference.run(builder.program(), x)
        for threads in (2, 3):
            np.testing.assert_array_equal(Engine(builder.program(), isa=isa, threads=threads).run(x), expected)


def test_concurrent_runs():
    programs = [random_program(seed) for seed in (3, 5, 8)]
    for program, x, _ in programs:
        engine, expected = Engine(program, threads=2), reference.run(program, x)
        with ThreadPoolExecutor(6) as pool:
            for result in pool.map(engine.run, [x] * 60):
                np.testing.assert_array_equal(bits_of(result), bits_of(expected))


def small() -> Program:
    rng = np.random.default_rng(0)
    builder = Builder(rng, (2, 4, 4))
    builder.rescale(
        builder.layer(builder.to_codes("input", Uniform(bits=2, scale=1)), Uniform(bits=2, scale=1, signed=True)) or ""
    )
    return builder.program()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 2, 4, 4)), "input is float64"),
        (np.zeros((1, 2, 4, 5), np.float32), r"input has shape \[1, 2, 4, 5\]"),
        (np.zeros((0, 2, 4, 4), np.float32), "no rows"),
        (np.full((3, 2, 4, 4), np.nan, np.float32), "input row 0 holds NaN"),
        (
            np.stack([np.zeros((2, 4, 4)), np.full((2, 4, 4), np.inf)]).astype(np.float32),
            "input row 1 holds NaN or inf",
        ),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(InvalidInput, match=message):
        Engine(small()).run(x)


def test_strided_and_foreign_input():
    x = np.random.default_rng(1).normal(0, 1, (4, 4, 4, 2)).astype(np.float32)
    engine = Engine(small())
    expected = reference.run(small(), x.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(engine.run(x.transpose(0, 3, 1, 2)), expected)
    raw = np.zeros(4 * 32 * 4 + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(4, 2, 4, 4)
    unaligned[:] = x.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(engine.run(unaligned), expected)


def test_settings():
    with pytest.raises(UnknownName, match=r"Known: .*scalar"):
        Engine(small(), isa="sse9")
    for threads in (0, 257, 1.5):
        with pytest.raises(ValueError, match=r"allowed is an integer 1\.\.256"):
            Engine(small(), threads=threads)
    with pytest.raises(InvalidProgram, match="max_arena_mb"):
        Engine(small(), max_arena_mb=0)
    engine = Engine(small(), threads=2, isa="scalar")
    assert (engine.isa, engine.threads) == ("scalar", 2)
    assert set(engine.kernels()) == {op.output for op in small().ops}
    rows = engine.profile(np.zeros((1, 2, 4, 4), np.float32), repeats=3)
    assert sum(len(row.kinds) for row in rows) >= len(small().ops)


def test_environment_chooses_the_isa(monkeypatch):
    monkeypatch.setenv("LOWBIT_ISA", "scalar")
    assert Engine(small()).isa == "scalar"


def test_import_is_light():
    heavy = ("torch", "onnxruntime", "pandas", "scipy")
    code = f"import sys, lowbit.runtime.engine; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert out.stdout.strip() == "[]"
