from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

def simd_features() -> dict[str, bool]: ...
def isa_present(isa: int) -> bool: ...
def choose_layer(
    isa: int,
    shape: Sequence[int],
    units: Array,
    x_planes: Sequence[int],
    ones: bool,
    codebook: bool,
    budget: int,
) -> tuple[str, int]: ...
def check_dot8(isa: int, seed: int) -> bool: ...
def check_bits(isa: int, seed: int) -> bool: ...
def check_layer(isa: int, seed: int) -> bool: ...
def check_floats(isa: int, seed: int) -> bool: ...
def check_network(isa: int, seed: int, threads: int) -> list[int]: ...
def check_tile8(isa: int, seed: int) -> bool: ...
def peak(isa: int, arithmetic: int) -> float: ...
def uniform_forward(x: int, y: int, count: int, s: float, low: float, high: float, threads: int, /) -> None: ...
def half_wave_forward(x: int, y: int, count: int, s: float, high: float, threads: int, /) -> None: ...
def sign_forward(x: int, y: int, count: int, threads: int, /) -> None: ...
def lsq_backward(
    g: int, x: int, dx: int, count: int, s: float, low: float, high: float, threads: int, /
) -> tuple[float, float]: ...
def clip_backward(
    g: int, x: int, dx: int, count: int, low: float, high: float, threads: int, /
) -> tuple[float, float]: ...

class Epilogue:
    floats: int
    image: int
    codes: int
    planes: int
    acc: int
    plane_count: int
    plane_words: int
    def __init__(self, channels: int, pixels: int) -> None: ...
    def rescale(self, coefficients: Array, bias: Array | None) -> None: ...
    def affine(self, scale: Array, shift: Array) -> None: ...
    def clip(self, low: float, high: float) -> None: ...
    def hardswish(self) -> None: ...
    def leaky(self, slope: float) -> None: ...
    def add(self, value: int) -> None: ...
    def keep_floats(self) -> None: ...
    def sign(self) -> None: ...
    def dequantize(self, scale: float) -> None: ...
    def quantize(self, step: float, before: float, after: float, low: float, high: float) -> None: ...
    def threshold_int(self, thresholds: Array, descending: Array) -> None: ...
    def threshold_float(self, thresholds: Array, descending: Array) -> None: ...

class Plan:
    def __init__(self, isa: int, threads: int) -> None: ...
    @property
    def arena_bytes(self) -> int: ...
    def value(self, bytes: int, role: int) -> int: ...
    def layer(
        self,
        name: str,
        kind: str,
        window: Sequence[int],
        channels: Sequence[int],
        packed: Array,
        bits: int,
        units: Array,
        ones: bool,
        inputs: Sequence[tuple[int, int, int, int, int]],
        epilogue: Epilogue,
    ) -> None: ...
    def direct(
        self,
        name: str,
        window: Sequence[int],
        channels: Sequence[int],
        packed: Array,
        bits: int,
        units: Array,
        ones: bool,
        input: int,
        input_units: Array,
        codebook: bool,
        epilogue: Epilogue,
    ) -> None: ...
    def float_layer(
        self,
        name: str,
        window: Sequence[int],
        channels: Sequence[int],
        packed: Array,
        bits: int,
        units: Array,
        scales: Array,
        offsets: Array,
        input: int,
        epilogue: Epilogue,
    ) -> None: ...
    def weight_only(
        self,
        name: str,
        window: Sequence[int],
        channels: Sequence[int],
        packed: Array,
        bits: int,
        units: Array,
        input: int,
        epilogue: Epilogue,
    ) -> None: ...
    def map(
        self,
        name: str,
        source: int,
        inputs: Sequence[int],
        terms: int,
        table: Array,
        bytes: Array,
        epilogue: Epilogue,
    ) -> None: ...
    def image(self, name: str, input: int, epilogue: Epilogue) -> None: ...
    def pool(
        self,
        name: str,
        value: int,
        maximum: bool,
        codes: bool,
        count_pad: bool,
        divisor: float,
        window: Sequence[int],
        units: Array,
        scales: Array,
        epilogue: Epilogue,
    ) -> None: ...
    def concat(
        self,
        name: str,
        inputs: Sequence[int],
        channels: Sequence[int],
        pixels: int,
        element: int,
        output: int,
    ) -> None: ...
    def lookup(self, name: str, input: int, table: Array, channels: int, pixels: int, output: int) -> None: ...
    def transpose(self, name: str, input: int, channels: int, pixels: int, element: int, output: int) -> None: ...
    def copy(self, name: str, input: int, bytes: int, pixels: int, output: int) -> None: ...
    def split(
        self,
        name: str,
        input: int,
        table: Array,
        channels: int,
        pixels: int,
        group: int,
        planes: int,
        output: int,
    ) -> None: ...
    def gain(self, name: str, y: int, k: int, map: Array, channels: int, pixels: int, output: int) -> None: ...
    def magnitude(
        self, name: str, x: int, channels: int, window: Sequence[int], factor: float, output: int
    ) -> None: ...
    def join(self) -> None: ...
    def finish(self, keep: bool, input_bytes: int, output_bytes: int, images: int) -> None: ...
    def output(self, shape: Sequence[int]) -> Array: ...
    def run(self, x: Array, y: Array) -> int: ...
    def run_bytes(self, x: Array, y: Array) -> int: ...
    def export_values(
        self,
        x: Array,
        y: Array,
        values: Sequence[tuple[int, int, int, int, int, int]],
        targets: Sequence[Array],
    ) -> None: ...
    def profile(self, x: Array, y: Array, repeats: int) -> list[list[int]]: ...
    def steps(self) -> list[tuple[str, str, int, int]]: ...
