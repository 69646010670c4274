"""Saving and loading: whole files or none, and what the file says of itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lowbit import file, runtime
from lowbit.errors import InvalidProgram
from lowbit.grid import Levels, Uniform
from lowbit.program import Op, Program, Weight


def program(scale: float = 0.5) -> Program:
    codes = np.arange(12).reshape(3, 4) % 3
    weight = Weight.from_codes(codes, Levels(bits=2, scale=[0.1, 0.2, 0.3], table=(-1, 0, 1)))
    ops = (
        Op(kind="quantize", name="l", inputs=("input",), output="x", grid=Uniform(bits=3, scale=scale, zero=2)),
        Op(kind="linear", name="l", inputs=("x",), output="a", weight=weight),
        Op(kind="rescale", name="l", inputs=("a",), output="y", arrays={"bias": np.ones(3, np.float32)}),
    )
    return Program(ops=ops, input_shape=(4,), output="y", source={"model": "made"})


X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)


def test_round_trip_is_the_same_file(tmp_path):
    path = tmp_path / "net.lowbit"
    program().save(path)
    first = path.read_bytes()
    loaded = file.load(path)
    loaded.save(path)
    assert path.read_bytes() == first
    assert np.array_equal(runtime.reference.run(loaded, X), runtime.reference.run(program(), X))
    assert np.array_equal(runtime.load(path).run(X), runtime.reference.run(program(), X))


def test_it_is_a_safetensors_file_whose_json_speaks(tmp_path):
    path = tmp_path / "net.lowbit"
    program().save(str(path))
    with safe_open(str(path), "numpy") as opened:
        record = json.loads(opened.metadata()["lowbit"])
        assert set(opened.keys()) == {"a.weight", "a.weight_grid.scale", "y.bias"}
    assert record["format"] == 1 and [op["kind"] for op in record["ops"]] == ["quantize", "linear", "rescale"]


def test_an_invalid_program_is_not_written(tmp_path):
    broken = Program(ops=program().ops[:2], input_shape=(4,), output="a")
    with pytest.raises(InvalidProgram, match="output 'a' is not a float value"):
        broken.save(tmp_path / "net.lowbit")
    assert not list(tmp_path.iterdir())


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize(
    "fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device"), MemoryError()]
)
def test_a_broken_off_save_keeps_the_old_file(step, fault, tmp_path, monkeypatch):
    path = tmp_path / "net.lowbit"
    program().save(path)
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise fault

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(fault)):
        program(0.25).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and left(tmp_path) == ["net.lowbit"]
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(fault)):
        program().save(tmp_path / "new.lowbit")
    assert left(tmp_path) == ["net.lowbit"]


def test_a_full_disk_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "net.lowbit"
    program().save(path)
    before, opened = path.read_bytes(), os.fdopen

    def full(handle, mode):
        stream = opened(handle, mode)

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *args):
                stream.close()

            def write(self, data):
                stream.write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

        return Full()

    monkeypatch.setattr(os, "fdopen", full)
    with pytest.raises(OSError, match="No space left"):
        program(0.25).save(path)
    assert path.read_bytes() == before and left(tmp_path) == ["net.lowbit"]


def test_a_real_interrupt_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "net.lowbit"
    program().save(path)
    before, sync = path.read_bytes(), os.fsync

    def interrupted(handle):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        sync(handle)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        program(0.25).save(path)
    assert path.read_bytes() == before and left(tmp_path) == ["net.lowbit"]


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    """Not even a chance to clean up: the old file is whole all the same."""
    path = tmp_path / "net.lowbit"
    program().save(path)
    before = path.read_bytes()
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_file import program
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
program(0.25).save({str(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == before


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError):
        program().save(tmp_path / "missing" / "net.lowbit")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        program().save(tmp_path / "file" / "net.lowbit")
    with pytest.raises(OSError, match=r"."):
        program().save("/proc/net.lowbit")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        program().save(tmp_path / "folder")
    assert left(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("place", ["", "."])
def test_a_folder_is_no_file(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file") as caught:
        program().save(place)
    assert caught.value.filename == "." and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        program().save(tmp_path / "net.lowbit")
    tmp_path.chmod(0o700)
    assert left(tmp_path) == []


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        runtime.load(tmp_path / "missing.lowbit")
    with pytest.raises(IsADirectoryError):
        runtime.load(tmp_path)
    empty = tmp_path / "empty.lowbit"
    empty.write_bytes(b"")
    with pytest.raises(InvalidProgram, match=r"empty.lowbit: is not a .lowbit file, or is cut off"):
        runtime.load(empty)
    other = tmp_path / "other.lowbit"
    save_file({"a": np.zeros(3, np.float32)}, str(other))
    with pytest.raises(InvalidProgram, match=r"other.lowbit: is a safetensors file without a lowbit program"):
        runtime.load(other)
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InvalidProgram, match=r"other.lowbit: is"):
        runtime.load(other)


def test_versions_and_checksums_are_named(tmp_path):
    path = tmp_path / "net.lowbit"
    data = file.to_bytes(program())
    path.write_bytes(data.replace(b'\\"format\\":1', b'\\"format\\":9'))
    with pytest.raises(InvalidProgram, match=r"has format 9, this lowbit reads up to 1; install a newer lowbit"):
        file.load(path)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InvalidProgram, match="does not match its checksum: the file is damaged"):
        file.load(path)
    path.write_bytes(data[:-1])
    with pytest.raises(InvalidProgram, match="is damaged or not a"):
        file.load(path)


def test_the_mode_of_a_new_file_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        program().save(tmp_path / "net.lowbit")
    finally:
        os.umask(before)
    assert (tmp_path / "net.lowbit").stat().st_mode & 0o777 == 0o640
