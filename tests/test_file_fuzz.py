"""2,000 damaged files, half of them with a repaired checksum so that the validators behind it are reached.

Loading may refuse (`InvalidProgram`, `OSError`); what it accepts must run in the reference and the engine.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import signal
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_programs import bytes_and_floats, every_integer_operation

from lowbit import file
from lowbit.errors import InvalidInput, InvalidProgram
from lowbit.runtime import reference
from lowbit.runtime.engine import Engine, available

Json = Any
HOSTILE: list[Json] = [
    None, True, False, 0, -1, 1, 2, 7, 8, 9, 16, 17, 255, 256, 2**15, 2**24, 2**31 - 1, 2**31, 2**63, -(2**63), 10**30,
    10**400, 0.0, -0.0, 0.5, 1e-45, 3e38, 1e39, 1e308, "", "0", "input", "zeros", "uniform", "\ud800", "x" * 5000, [],
    {}, [[]], [1, 2], [[1], [2]], [0], [2**31], ["input"], [{"a": 1}], {"tensor": "nothing"}, {"tensor": 3},
    {"kind": "planes"},
]  # fmt: skip


GOODS = [file.to_bytes(every_integer_operation()), file.to_bytes(bytes_and_floats())]
GOOD = GOODS[0]


# -- taking a file apart and putting it together -----------------------------------------------------------------


def parts(data: bytes) -> tuple[dict[str, Any], Json, bytes]:
    """Safetensors header, the program's JSON, and the tensors' bytes."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    return header, json.loads(header["__metadata__"]["lowbit"]), data[8 + size :]


def arrays(header: dict[str, Any], body: bytes) -> dict[str, Any]:
    """Tensors of a header that may lie, as the checksum reads them."""
    kinds = {"U8": np.uint8, "I32": np.int32, "F32": np.float32, "I8": np.int8, "F64": np.float64, "I64": np.int64}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = entry["data_offsets"]
            found[name] = np.frombuffer(body[start:stop], kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def together(header: dict[str, Any], record: Json, body: bytes, repair: bool) -> bytes:
    if repair:
        # a header may lie so much that its file has no checksum
        with contextlib.suppress(KeyError, ValueError, TypeError, AttributeError):
            record["checksum"] = file.checksum(record, arrays(header, body))
    header = {**header, "__metadata__": {"lowbit": json.dumps(record)}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


# -- damage ------------------------------------------------------------------------------------------------------


def truncated(rng: random.Random, repair: bool) -> bytes:
    good = rng.choice(GOODS)
    data = good[: rng.randrange(len(good))]
    return data + bytes(rng.randrange(40)) if rng.random() < 0.3 else data


def flipped(rng: random.Random, repair: bool) -> bytes:
    data = bytearray(rng.choice(GOODS))
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    try:
        return together(*parts(bytes(data)), repair) if repair else bytes(data)
    except (ValueError, KeyError, TypeError, struct.error, IndexError):
        return bytes(data)


def flipped_tensors(rng: random.Random, repair: bool) -> bytes:
    header, record, body = parts(rng.choice(GOODS))
    data = bytearray(body)
    for _ in range(rng.choice([1, 4, 100])):
        data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
    return together(header, record, bytes(data), repair)


def places(record: Json) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found = []
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in list(items):
        found.append((record, key))
        found += places(value)
    return found


def mutated(rng: random.Random, repair: bool) -> bytes:
    """A field replaced, dropped, renamed, repeated or swapped."""
    header, record, body = parts(rng.choice(GOODS))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        container, key = rng.choice(places(record))
        way = rng.randrange(6)
        value = container[key]
        if way == 0 and isinstance(container, dict):
            container[rng.choice(["", "bits", "unknown", "grid", "weight"])] = container.pop(key)
        elif way == 1:
            del container[key]
        elif way == 2:
            other, other_key = rng.choice(places(record))
            container[key] = copy.deepcopy(other[other_key])
        elif way == 3 and isinstance(container, list):
            container.insert(rng.randrange(len(container) + 1), copy.deepcopy(value))
        elif way == 4 and type(value) in (int, float):
            container[key] = rng.choice([value + 1, value - 1, -value, value * 2, value * 1000, value / 3, str(value)])
        else:
            container[key] = copy.deepcopy(rng.choice(HOSTILE))
    return together(header, record, body, repair)


def lying_header(rng: random.Random, repair: bool) -> bytes:
    header, record, body = parts(rng.choice(GOODS))
    names = [n for n in header if n != "__metadata__"]
    entry = header[rng.choice(names)]
    way = rng.randrange(6)
    if way == 0:
        entry["dtype"] = rng.choice(
            ["U8", "I32", "F32", "F64", "I64", "BF16", "F16", "BOOL", "F8_E4M3", "U64", "", "X", 3]
        )
    elif way == 1:
        entry["shape"] = rng.choice(
            [[], [0], [-1], [2**40], [2**63], [1.5], ["a"], [1] * 70, entry["shape"][::-1], None]
        )
    elif way == 2:
        entry["data_offsets"] = rng.choice(
            [[0, 2**40], [5, 1], [0, 0], [-1, 4], [2**64, 2**64], [], [0], "x", [0, len(body)]]
        )
    elif way == 3:
        other = header[rng.choice(names)]
        entry["data_offsets"], other["data_offsets"] = other["data_offsets"], entry["data_offsets"]
    elif way == 4:
        a, b = rng.choice(names), rng.choice(names)
        header[a], header[b] = header[b], header[a]
    else:
        del header[rng.choice(names)]
    return together(header, record, body, repair)


def wrong_dtype(rng: random.Random, repair: bool) -> bytes:
    """Bytes that fit another type of tensor."""
    header, record, body = parts(rng.choice(GOODS))
    entry = header[rng.choice([n for n in header if n != "__metadata__" and header[n]["dtype"] != "U8"])]
    if rng.random() < 0.5:
        entry["dtype"] = {"F32": "I32", "I32": "F32"}[entry["dtype"]]
    else:
        entry["dtype"], entry["shape"] = "U8", [4 * int(np.prod(entry["shape"]))]
    return together(header, record, body, repair)


def long_length(rng: random.Random, repair: bool) -> bytes:
    good = rng.choice(GOODS)
    size = rng.choice([0, 1, 2**20, 2**20 + 1, 2**31, 2**62, 2**64 - 1, len(good), rng.randrange(len(good))])
    return struct.pack("<Q", size) + good[8:]


def nested(rng: random.Random, repair: bool) -> bytes:
    header, record, body = parts(rng.choice(GOODS))
    depth, kind = rng.choice([20, 300, 900, 950, 985, 990, 995, 1000, 5000, 50000]), rng.randrange(2)
    text = "[" * depth + "]" * depth if kind else '{"a":' * depth + "1" + "}" * depth
    key = rng.choice(["source", "ops", "output", "more"])
    record[key] = "NESTED"
    if repair and depth < 500:
        record[key] = json.loads(text)
        return together(header, record, body, repair)
    header["__metadata__"] = {"lowbit": json.dumps(record).replace('"NESTED"', text)}
    made = json.dumps(header).encode()
    return struct.pack("<Q", len(made)) + made + body


def no_numbers(rng: random.Random, repair: bool) -> bytes:
    """NaN and Infinity, in the JSON and in tensors."""
    header, record, body = parts(rng.choice(GOODS))
    if rng.random() < 0.5:
        name = rng.choice([n for n in header if n != "__metadata__" and header[n]["dtype"] == "F32"])
        start, stop = header[name]["data_offsets"]
        values = np.frombuffer(body[start:stop], np.float32).copy()
        values[rng.randrange(len(values))] = rng.choice([np.nan, np.inf, -np.inf, 3e38, -1.0, 0.0, 1e-45])
        return together(header, record, body[:start] + values.tobytes() + body[stop:], repair)
    container, key = rng.choice([p for p in places(record) if type(p[0][p[1]]) in (int, float)])
    container[key] = rng.choice([float("nan"), float("inf"), float("-inf")])
    return together(header, record, body, repair)


def other_version(rng: random.Random, repair: bool) -> bytes:
    header, record, body = parts(rng.choice(GOODS))
    record["format"] = rng.choice([0, 2, 99, -1, "1", 1.0, None, True, [1], 2**70])
    return together(header, record, body, repair)


def huge_shape(rng: random.Random, repair: bool) -> bytes:
    header, record, body = parts(rng.choice(GOODS))
    huge = rng.choice([2**15, 2**20, 2**24, 2**24 + 1, 2**31, 2**62])
    way = rng.randrange(3)
    if way == 0:
        record["input"]["shape"] = [rng.choice([1, 2, huge]) for _ in range(rng.choice([1, 3, 3, 3, 4]))]
    elif way == 1:
        shape = rng.choice([op for op in record["ops"] if "weight" in op])["weight"]["shape"]
        shape[rng.randrange(len(shape))] = huge
    else:
        op = rng.choice([op for op in record["ops"] if "padding" in op.get("attrs", {})])
        op["attrs"][rng.choice(["padding", "kernel", "stride", "dilation"])] = [huge, rng.choice([1, huge])]
    return together(header, record, body, repair)


DAMAGE: list[Callable[[random.Random, bool], bytes]] = [
    truncated, flipped, flipped_tensors, mutated, mutated, mutated, mutated, lying_header, wrong_dtype, long_length,
    nested, no_numbers, other_version, huge_shape,
]  # fmt: skip


# -- what must hold ----------------------------------------------------------------------------------------------


class _TooSlow(Exception):
    """A file took more than its time."""


def attempt(path: Path, seed: int = 0, limit: float = 5.0) -> str:
    """Load and, if accepted, run on the instruction set and threads that `seed` chooses.

    Returns:
        "refused", "ran", or "too large" to run here.
    """

    def late(*_: Any) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        try:
            loaded = file.load(path)
        except (InvalidProgram, OSError) as error:
            return "refused" if str(error) else "refused without a word"
        if max(v.size for v in file.infer(loaded).values()) > 2**16:
            return "too large"
        x = np.linspace(-2, 2, int(np.prod(loaded.input_shape)), dtype=np.float32).reshape(1, *loaded.input_shape)
        x = x.astype(loaded.input_dtype)
        with np.errstate(all="ignore"):
            expected = reference.run(loaded, x)
        try:
            sets = available()
            got = Engine(loaded, isa=sets[seed % len(sets)], threads=1 + seed % 2).run(x)
        except (InvalidProgram, InvalidInput):
            return "refused"
        if not loaded.exact:
            expected = Engine(loaded, isa="scalar").run(x)
        if np.isfinite(expected).all():
            np.testing.assert_array_equal(got, expected)
        return "ran"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def damaged(seed: int) -> bytes:
    rng = random.Random(seed)
    return rng.choice(DAMAGE)(rng, seed % 2 == 0)


@pytest.mark.parametrize("block", range(4))
def test_damaged_files(block, tmp_path):
    outcomes: dict[str, int] = {}
    for seed in range(500 * block, 500 * block + 500):
        path = tmp_path / "damaged.lowbit"
        path.write_bytes(damaged(seed))
        try:
            outcome = attempt(path, seed)
        except Exception as error:
            error.add_note(f"damaged file of seed {seed}")
            raise
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) <= {"refused", "ran", "too large"}
    assert outcomes["refused"] > 300 and outcomes["ran"] > 5, outcomes


@pytest.mark.parametrize("good", GOODS, ids=["integers", "bytes and floats"])
def test_an_undamaged_file_runs(good, tmp_path):
    path = tmp_path / "good.lowbit"
    path.write_bytes(good)
    for seed in range(2 * len(available())):
        assert attempt(path, seed) == "ran"
    path.write_bytes(together(*parts(good), repair=True))
    assert attempt(path) == "ran"


def test_repaired_files_reach_the_validators(tmp_path):
    """Without this the repaired half might only prove that the checksum works."""
    messages = set()
    for seed in range(0, 400, 2):
        path = tmp_path / "damaged.lowbit"
        path.write_bytes(mutated(random.Random(seed), True))
        try:
            file.load(path)
        except InvalidProgram as error:
            messages.add(str(error).split("damaged.lowbit: ")[1][:40])
    assert sum("checksum" in m for m in messages) == 0 and len(messages) > 60
    assert any(m.startswith("operation") for m in messages)


# -- memory ------------------------------------------------------------------------------------------------------

REPEATED = {
    "lists": "[]", "objects": "{}", "entries": '{"a":0}', "deep": '[{"a":[[0]]}]', "numbers": "1e1", "texts": '"ab"',
    "records": '{"kind":"","name":"","inputs":[],"output":""}',
}  # fmt: skip


def swollen(unit: str, key: str) -> bytes:
    """A file whose JSON takes as much memory as its text can."""
    header, record, body = parts(GOOD)
    record[key] = "SWOLLEN"
    text = json.dumps(json.dumps(record).replace('"SWOLLEN"', "[" + "%s" + "]"))
    quoted = json.dumps(unit)[1:-1]
    rest = json.dumps({**header, "__metadata__": {}})[:-1].replace(
        '"__metadata__": {}', '"__metadata__": {"lowbit": %s}'
    )
    room = file.MAX_HEADER - len(rest) - len(text) - 10
    repeats = ",".join([quoted] * (room // (len(quoted) + 1)))
    made = (rest % text.replace("%s", repeats) + "}").encode()
    return struct.pack("<Q", len(made)) + made + body


@pytest.mark.parametrize("unit", REPEATED)
@pytest.mark.parametrize("key", ["ops", "source"])
def test_memory_of_swollen_headers(unit, key, tmp_path):
    path = tmp_path / "swollen.lowbit"
    path.write_bytes(swollen(REPEATED[unit], key))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidProgram):
            file.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 4 * path.stat().st_size + 16 * 2**20


def test_memory_of_damaged_files(tmp_path):
    path = tmp_path / "damaged.lowbit"
    path.write_bytes(GOOD)
    file.load(path)  # imports
    for seed in range(0, 2000, 10):
        path.write_bytes(damaged(seed))
        tracemalloc.start()
        try:
            file.load(path)
        except (InvalidProgram, OSError):
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak <= 4 * path.stat().st_size + 16 * 2**20, f"seed {seed}"


GROWTH = """
import sys
from lowbit import file
from lowbit.errors import InvalidProgram
def peak(): return 1024 * int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
file.load(sys.argv[1])
worst = 0
for path in sys.argv[2:]:
    before = peak()
    try: file.load(path)
    except (InvalidProgram, OSError): pass
    worst = max(worst, peak() - before)
print(worst)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_resident_memory(tmp_path):
    """Whatever Python or Rust allocates: the process grows by less than the bound."""
    good, names, largest = tmp_path / "good.lowbit", [], 0
    good.write_bytes(GOOD)
    for seed in range(100):
        data = swollen(list(REPEATED.values())[seed], "ops") if seed < len(REPEATED) else damaged(seed)
        path = tmp_path / f"{seed}.lowbit"
        path.write_bytes(data)
        names.append(str(path))
        largest = max(largest, len(data))
    out = subprocess.run([sys.executable, "-c", GROWTH, str(good), *names], capture_output=True, text=True, check=True)
    assert int(out.stdout) <= 4 * largest + 16 * 2**20
