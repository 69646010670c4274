"""Surrogate gradients written from the published formulas, in numpy float64, independent of the library's code.

A reference gets the numbers of a quantizer after its forward pass (`State`), the input x and the gradient g of the
value, and returns dL/dx as "x" and dL/dp for every trained parameter p by its name. A method without an entry has
the default: 1 for weights; for activations 1 from the lowest to the highest level and 0 outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What a formula may know: width, role and sign, parameters and buffers by name, the lowest and highest level."""

    bits: int
    role: str
    signed: bool
    channel: bool
    numbers: Mapping[str, Array]
    lowest: Array
    highest: Array
    training: bool = False


Reference = Callable[[State, Array, Array], dict[str, Array | None]]
"""A parameter that gets no gradient in this mode has None."""


def _along(value: Array, x: Array) -> Array:
    return value.reshape(-1, *(1,) * (x.ndim - 1)) if value.ndim else value


def _sum_like(total: Array, value: Array) -> Array:
    return total.reshape(len(value), -1).sum(1) if value.ndim else total.sum()


def identity(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    return {"x": g}


def inside_levels(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    return {"x": g * ((x >= _along(state.lowest, x)) & (x <= _along(state.highest, x)))}


def default(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    return identity(state, x, g) if state.role in ("weight", "gradient") else inside_levels(state, x, g)


def htanh(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    return {"x": g * (np.abs(x) <= 1)}


def lsq(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Esser 2020, Eq. 2-3: count is the elements a step covers; for activations, the features of one sample."""
    s = state.numbers["scale"]
    n = 2 ** (state.bits - 1) if state.signed else 0
    p = 2 ** (state.bits - 1) - 1 if state.signed else 2**state.bits - 1
    v = x / _along(s, x)
    inside = (v > -n) & (v < p)
    ds = np.where(inside, np.round(v) - v, np.where(v <= -n, -n, p))
    samples = len(x) if state.role != "weight" and x.ndim > 1 else 1
    count = x.size / samples / max(s.size, 1)
    return {"x": g * inside, "scale": _sum_like(g * ds, s) / np.sqrt(count * p)}


def pact(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Choi 2018, Eq. 3, with the symmetric form where activations can be negative."""
    a = state.numbers["alpha"]
    if not state.signed:
        return {"x": g * ((x >= 0) & (x < a)), "alpha": np.asarray((g * (x >= a)).sum())}
    return {"x": g * (np.abs(x) < a), "alpha": np.asarray((g * np.sign(x) * (np.abs(x) >= a)).sum())}


def dorefa(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Zhou 2016: weights through tanh with a constant maximum; one bit straight through; activations on [0, 1]."""
    if state.role not in ("weight", "gradient"):
        return {"x": g * ((x >= 0) & (x <= 1))}
    if state.bits == 1 or state.role == "gradient":
        return {"x": g}
    t = np.tanh(x)
    largest = np.abs(t).reshape(len(t), -1).max(1) if state.channel else np.abs(t).max()
    return {"x": g * (1 - t**2) / _along(largest, x)}


def abc(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Lin 2017, Eq. 4 and 8: weights sum alpha_i; activations a window of width 1 about each threshold."""
    if state.role == "weight":
        shifts = np.linspace(-1, 1, state.bits) if state.bits > 1 else np.zeros(1)
        slopes = []
        for w in x.reshape(len(x), -1) if state.channel else x.reshape(1, -1):
            bases = np.stack([np.where(w - w.mean() + u * w.std() >= 0, 1.0, -1.0) for u in shifts], 1)
            slopes.append(np.linalg.lstsq(bases, w, rcond=None)[0].sum())
        return {"x": g * _along(np.array(slopes) if state.channel else np.array(slopes[0]), x)}
    v, beta = state.numbers["shift"], state.numbers["beta"]
    windows = [(x + s >= 0) & (x + s <= 1) for s in v]
    planes = [np.where(x + s >= 0.5, 1.0, -1.0) for s in v]
    return {
        "x": g * sum(b * w for b, w in zip(beta, windows, strict=True)),
        "beta": np.array([(g * plane).sum() for plane in planes]),
        "shift": np.array([b * (g * w).sum() for b, w in zip(beta, windows, strict=True)]),
    }


def lq(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Zhang 2018, Eq. 6: activations are cut above the largest level only."""
    return {"x": g if state.role == "weight" else g * (x <= state.highest)}


def hwgq(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Cai 2017: 1 on the positive half up to the highest level."""
    return {"x": g * ((x > 0) & (x <= state.highest))}


def ttq(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Zhu 2017, Eq. 7-8, with the threshold of 0.05 max|w|."""
    size = np.abs(x).reshape(len(x), -1).max(1) if state.channel else np.abs(x).max()
    limit, wp, wn = _along(0.05 * size, x), state.numbers["positive"], state.numbers["negative"]
    low, high = x < -limit, x > limit
    factor = np.where(high, _along(wp, x), np.where(low, _along(wn, x), 1))
    return {"x": g * factor, "positive": _sum_like(g * high, wp), "negative": -_sum_like(g * low, wn)}


def dqdnn(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Uhlich 2020, parametrisation by step and range; q is the value, clipped at a multiple of the step."""
    d, m = state.numbers["step"], state.numbers["limit"]
    top = d * np.round(m / d)
    q = np.clip(d * np.round(x / d), -top if state.signed else 0, top)
    inside = (np.abs(x) <= m) & (x >= (-m if state.signed else 0))
    beyond = (np.abs(x) > m) & (state.signed | (x > 0))
    dd, dm = (g * inside * (q - x) / d).sum(), (g * beyond * np.sign(x)).sum()
    return {"x": g * inside, "step": np.asarray(dd), "limit": np.asarray(dm)}


def bitpruning(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Nikolić 2020: the width receives g times what one more bit changes; in eval there is no such path."""
    n, groups = state.numbers["width"], x.reshape(len(x) if state.channel else 1, -1)
    if not state.training:
        return {"x": g, "width": None}
    difference = 0.0
    for sign, bits in ((1, np.floor(n) + 1), (-1, np.floor(n))):
        if state.role == "weight":
            lo, hi = groups.min(1, keepdims=True), groups.max(1, keepdims=True)
            step = (hi - lo) / (2**bits - 1)
            q = lo + step * np.round((groups - lo) / step)
        else:
            lo, hi = state.numbers["range.lo"], state.numbers["range.hi"]
            step = (hi - lo) / (2**bits - 1)
            zero = np.clip(np.round(-lo / step), 0, 2**bits - 1)
            q = step * (np.clip(np.round(groups / step) + zero, 0, 2**bits - 1) - zero)
        difference = difference + sign * q
    return {"x": g, "width": np.asarray((g.reshape(groups.shape) * difference).sum())}


def sigmoid(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """Yang 2019, Eq. 7-10, in the product form; q is soft in training and hard in eval."""
    a, b, t, c = (state.numbers[name] for name in ("scale", "slope", "temperature", "biases"))
    gaps = {1: [2], 2: [1, 1], 3: [2, 1, 1, 1, 1, 2]}.get(state.bits, [1] * (2**state.bits - 2))
    first = {1: -1, 2: -1, 3: -4}.get(state.bits, 1 - 2 ** (state.bits - 1))
    if state.role != "weight":
        gaps, first = [1] * (2**state.bits - 1), 0
    h, units = np.zeros_like(x), np.full_like(x, float(first))
    for gap, bias in zip(gaps, c, strict=True):
        with np.errstate(over="ignore"):
            share = 1 / (1 + np.exp(-t * (b * x - bias)))
        part = a * gap * share
        h += t / (a * gap) * part * (a * gap - part)
        units += gap * (share if state.training else (b * x >= bias))
    return {"x": g * b * h, "slope": np.asarray((g * x * h).sum()), "scale": np.asarray((g * units).sum())}


def mixture(state: State, x: Array, g: Array) -> dict[str, Array | None]:
    """The default: min-max parts, each straight through, times shares whose float32 sum is 1 but for rounding."""
    return {"x": g * state.numbers["fixed"].sum() if state.training else g}


REFERENCES: dict[str, Reference] = {
    "abc": abc,
    "lq": lq,
    "xnor": lambda state, x, g: {"x": g} if state.role == "weight" else htanh(state, x, g),
    "bitpruning": bitpruning,
    "dorefa": dorefa,
    "dqdnn": dqdnn,
    "hwgq": hwgq,
    "sigmoid": sigmoid,
    "tbn": htanh,
    "ttq": ttq,
    "minmax": identity,
    "mixture": mixture,
    "sign": htanh,
    "lsq": lsq,
    "pact": pact,
    "pact-sawb": lambda state, x, g: identity(state, x, g) if state.role == "weight" else pact(state, x, g),
}


def reference(method: str) -> Reference:
    """The formula of a method."""
    return REFERENCES.get(method, default)


def state_of(quantizer: Any, lowest: Array, highest: Array) -> State:
    """Read a quantizer's numbers."""
    numbers = {name: t.detach().double().numpy().copy() for name, t in quantizer.state_dict().items()}
    signed = bool(quantizer.signed)
    return State(
        quantizer.bits, quantizer.role, signed, quantizer.channel, numbers, lowest, highest, quantizer.training
    )
