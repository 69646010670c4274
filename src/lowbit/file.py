"""The `.lowbit` file: a safetensors file whose metadata holds the program as JSON.

Tensors are the packed weights, per-channel scales and the arrays of the operations. The metadata key `lowbit` holds

    {"format": 1, "input": {"shape", "dtype"}, "output", "source", "ops": [...], "checksum"}

with numbers inline and arrays by tensor name. The checksum is the SHA-256 of the JSON without that field and of all
tensors in order of name. Loading checks everything before any kernel sees it, and allocates little before that.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidProgram
from lowbit.grid import GRIDS, Grid
from lowbit.infer import infer
from lowbit.program import FORMAT_VERSION, Op, Program, Weight

if TYPE_CHECKING:
    from pathlib import Path

Arrays = dict[str, NDArray[Any]]
KEY = "lowbit"
MAX_HEADER = 2**20
"""Largest safetensors header accepted, in bytes: parsed numbers and texts take up to ten times their text."""
MAX_CONTAINERS = 2**14
"""Most lists and objects in the JSON: each takes up to 250 bytes, thirty times its text. An operation has some ten."""
_DTYPES = ("uint8", "int32", "float32")
_OP_KEYS = {"kind", "name", "inputs", "output", "attrs", "arrays", "grid", "weight"}


def replace_file(path: str | Path, data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename: an older file stays whole until then.

    Raises:
        OSError: if the folder is missing or not writable, or the disk is full; nothing is left behind.
    """
    import tempfile  # here: who only loads and runs a file waits neither for it nor for pathlib
    from pathlib import Path

    path = Path(path)
    if path.is_dir():  # also "", which is the current one
        raise IsADirectoryError(errno.EISDIR, "is a folder; give the name of a file", str(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:  # name the file that was asked for, not the temporary one
        raise OSError(
            error.errno, f"{error.strerror}; choose a folder that exists and can be written", str(path)
        ) from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:  # also Ctrl-C: leave no half-written file
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# -- saving ------------------------------------------------------------------------------------------------------


def _grid_json(grid: Grid, prefix: str, arrays: Arrays) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": grid.kind}
    for f in fields(grid):
        value = getattr(grid, f.name)
        if isinstance(value, np.ndarray) and value.ndim:
            arrays[f"{prefix}.{f.name}"] = value
            record[f.name] = {"tensor": f"{prefix}.{f.name}"}
        elif isinstance(value, np.ndarray):
            record[f.name] = float(value)  # float32 -> float64 -> text -> float32 is the identity
        elif value is not None:
            record[f.name] = list(value) if isinstance(value, tuple) else value
    return record


def _op_json(op: Op, arrays: Arrays) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": op.kind, "name": op.name, "inputs": list(op.inputs), "output": op.output}
    if op.attrs:
        record["attrs"] = {k: list(v) if isinstance(v, tuple) else v for k, v in op.attrs.items()}
    if op.arrays:
        record["arrays"] = {key: f"{op.output}.{key}" for key in op.arrays}
        arrays.update({f"{op.output}.{key}": value for key, value in op.arrays.items()})
    if op.grid is not None:
        record["grid"] = _grid_json(op.grid, f"{op.output}.grid", arrays)
    if op.weight is not None:
        arrays[f"{op.output}.weight"] = op.weight.packed
        grid = _grid_json(op.weight.grid, f"{op.output}.weight_grid", arrays)
        record["weight"] = {"tensor": f"{op.output}.weight", "shape": list(op.weight.shape), "grid": grid}
    return record


def checksum(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of the JSON without its checksum, and of every tensor's name, type, shape and bytes."""
    body = {k: v for k, v in record.items() if k != "checksum"}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        digest.update(f"\n{name} {a.dtype} {list(a.shape)}\n".encode())
        digest.update(a.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def to_bytes(program: Program) -> bytes:
    """The contents of a `.lowbit` file.

    Raises:
        InvalidProgram: if the program breaks a rule.
    """
    from safetensors.numpy import save as save_tensors

    infer(program)
    arrays: Arrays = {}
    ops = [_op_json(op, arrays) for op in program.ops]
    record: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "input": {"shape": list(program.input_shape), "dtype": program.input_dtype},
        "output": program.output,
        "source": dict(program.source),
        "ops": ops,
    }
    record["checksum"] = checksum(record, arrays)
    contiguous = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    return save_tensors(contiguous, metadata={KEY: json.dumps(record, separators=(",", ":"))})


def save(program: Program, path: str | Path) -> None:
    """Write a `.lowbit` file; see `Program.save`."""
    replace_file(path, to_bytes(program))


# -- loading -----------------------------------------------------------------------------------------------------


class _Fault(Exception):
    """What is wrong with the file; `load` adds its path."""


def _get(record: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(record, dict):
        raise _Fault(f"{where} is {type(record).__name__}, not an object")
    value = record.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Fault(f"{where}.{key} is missing or of the wrong type")
    if isinstance(value, str) and not _is_text(value):
        raise _Fault(f"{where}.{key} is no text: it holds half a character (a lone surrogate)")
    return value


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8; JSON escapes can make what cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tensor(name: Any, arrays: Arrays, where: str) -> NDArray[Any]:
    if not isinstance(name, str) or name not in arrays:
        raise _Fault(f"{where} names no tensor of the file")
    return arrays[name]


def _grid(record: Any, arrays: Arrays, where: str) -> Grid:
    kind = _get(record, "kind", str, where)
    if kind not in GRIDS:
        raise _Fault(f"{where} has the unknown kind {kind!r}; known are {', '.join(GRIDS)}")
    known = {f.name for f in fields(GRIDS[kind])}
    values: dict[str, Any] = {}
    for key, value in record.items():
        if key == "kind":
            continue
        if key not in known:
            raise _Fault(f"{where} has the unknown key {key!r}")
        if isinstance(value, dict):
            value = _tensor(value.get("tensor"), arrays, f"{where}.{key}")
            if value.dtype != np.float32:
                raise _Fault(f"{where}.{key} is {value.dtype}, not float32")
        elif key == "table" and isinstance(value, list):
            if not all(type(v) is int and abs(v) < 2**31 for v in value):
                raise _Fault(f"{where}.table must hold integers")
        elif key in ("bits", "zero", "low", "high"):
            if type(value) is not int or abs(value) > 2**31:
                raise _Fault(f"{where}.{key} must be an integer")
        elif key == "patterns" and isinstance(value, list):
            if not all(type(v) is int and 0 <= v < 256 for v in value):
                raise _Fault(f"{where}.patterns must hold integers from 0 to 255")
        elif key in ("signed", "odd", "zero_one"):
            if not isinstance(value, bool):
                raise _Fault(f"{where}.{key} must be true or false")
        elif not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 1e39:
            raise _Fault(f"{where}.{key} must be a number")
        values[key] = value
    try:
        return GRIDS[kind](**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise _Fault(f"{where}: {error}") from None


def _op(record: Any, arrays: Arrays, where: str) -> Op:
    kind, name = _get(record, "kind", str, where), _get(record, "name", str, where)
    if set(record) - _OP_KEYS:
        raise _Fault(f"{where} has unknown keys {sorted(set(record) - _OP_KEYS)}")
    inputs = _get(record, "inputs", list, where)
    if not all(isinstance(i, str) for i in inputs):
        raise _Fault(f"{where}.inputs must be names")
    attrs = _get(record, "attrs", dict, where) if "attrs" in record else {}
    named = _get(record, "arrays", dict, where) if "arrays" in record else {}
    weight = None
    if "weight" in record:
        w = _get(record, "weight", dict, where)
        shape = _get(w, "shape", list, f"{where}.weight")
        if not all(type(n) is int and 0 < n <= 2**24 for n in shape):
            raise _Fault(f"{where}.weight.shape must hold positive integers")
        packed = _tensor(w.get("tensor"), arrays, f"{where}.weight")
        weight = Weight(packed=packed, shape=tuple(shape), grid=_grid(w.get("grid"), arrays, f"{where}.weight.grid"))
    return Op(
        kind=kind,
        name=name,
        inputs=tuple(inputs),
        output=_get(record, "output", str, where),
        attrs={k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()},
        arrays={k: _tensor(v, arrays, f"{where}.arrays.{k}") for k, v in named.items()},
        grid=_grid(record["grid"], arrays, f"{where}.grid") if "grid" in record else None,
        weight=weight,
    )


def _read(path: str) -> tuple[str, Arrays]:
    """Metadata text and tensors of a safetensors file."""
    from safetensors import SafetensorError, safe_open

    with open(path, "rb") as stream:
        start = stream.read(8)
    if len(start) < 8 or struct.unpack("<Q", start)[0] > min(MAX_HEADER, os.path.getsize(path) - 8):
        raise _Fault("is not a .lowbit file, or is cut off: its header is incomplete or too long")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(KEY)
            if text is None:
                raise _Fault("is a safetensors file without a lowbit program")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, AttributeError, TypeError, ValueError, OSError) as error:  # also of types numpy lacks
        raise _Fault(f"is damaged or not a .lowbit file: {error}") from None
    return text, arrays


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def load(path: str | Path) -> Program:
    """Read and check a `.lowbit` file.

    Args:
        path: the file.

    Returns:
        A valid `Program`.

    Raises:
        FileNotFoundError, PermissionError, IsADirectoryError: as the system says.
        InvalidProgram: for a damaged or hostile file, or one of a newer format, saying what is wrong.
    """
    path = os.fsdecode(path)
    try:
        return _load(path)
    except _Fault as fault:
        raise InvalidProgram(f"{path}: {fault}") from None
    except InvalidProgram as error:
        raise InvalidProgram(f"{path}: {error}") from None


def _load(path: str) -> Program:
    text, arrays = _read(path)
    if text.count("[") + text.count("{") > MAX_CONTAINERS:
        raise _Fault(f"holds more than {MAX_CONTAINERS} lists and objects")
    try:
        record = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise _Fault(f"holds damaged JSON: {error}") from None
    version = _get(record, "format", int, "file")
    if not 1 <= version <= FORMAT_VERSION:
        raise _Fault(f"has format {version}, this lowbit reads up to {FORMAT_VERSION}; install a newer lowbit")
    if _get(record, "checksum", str, "file") != checksum(record, arrays):
        raise _Fault("does not match its checksum: the file is damaged")
    for name, a in arrays.items():
        if a.dtype not in _DTYPES:
            raise _Fault(f"tensor {name} is {a.dtype}, allowed are {', '.join(_DTYPES)}")
    entry = _get(record, "input", dict, "file")
    shape = _get(entry, "shape", list, "input")
    source = _get(record, "source", dict, "file")
    if not all(isinstance(v, str) and _is_text(k + v) for k, v in source.items()):
        raise _Fault("source must hold texts")
    program = Program(
        ops=tuple(_op(r, arrays, f"ops[{i}]") for i, r in enumerate(_get(record, "ops", list, "file"))),
        input_shape=tuple(shape),
        input_dtype=_get(entry, "dtype", str, "input"),
        output=_get(record, "output", str, "file"),
        source=source,
    )
    infer(program)
    return program
