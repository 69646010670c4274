"""Random programs of everything the engine executes, and the comparison with the interpreter."""

from __future__ import annotations

import numpy as np

from lowbit.grid import Codebook, Grid, Levels, Planes, Uniform
from lowbit.infer import PAD_MODES, RULES, Value, acc_terms
from lowbit.program import Op, Program, Weight
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine

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
