"""Files that are either whole or not there: written beside their place, then renamed.

An interrupt (Ctrl-C) that arrives while a file is being written waits until the file is in its place.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lowbit.errors import InvalidInput


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold back Ctrl-C until the block has ended, then let it act.

    Outside the main thread signals do not arrive, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if arrived:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, renamed to `path` when the block ends well and removed when it does not.

    Args:
        path: the final place; its folder must exist.

    Raises:
        InvalidInput: the folder is missing or cannot be written, or `path` is a folder.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with replacing(f"{folder}/a.txt") as place:
        ...     _ = place.write_text("whole")
        >>> Path(f"{folder}/a.txt").read_text()
        'whole'
    """
    final = Path(path)
    require_writable(final)
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    with interrupts_wait():
        try:
            yield temporary
            os.replace(temporary, final)
        except OSError as error:
            what = error.strerror or error
            raise InvalidInput(
                f"{final}: cannot be written ({what}); make room there or choose another place"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file, or leave what was there.

    Raises:
        InvalidInput: as `replacing`.
    """
    with replacing(path) as place:
        place.write_text(text, encoding="utf-8")


def require_writable(path: str | Path) -> None:
    """Fail early where a file could not be written later.

    Raises:
        InvalidInput: the folder is missing or cannot be written, or `path` is a folder.
    """
    final = Path(path)
    folder = final.parent
    if final.is_dir():
        raise InvalidInput(f"{final}: is a folder; give the name of a file")
    if not folder.is_dir():
        raise InvalidInput(f"{final}: there is no folder {folder}; create it or choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"{final}: the folder {folder} cannot be written; choose another place")


def make_folder(path: str | Path) -> Path:
    """Create a folder and those above it, and check that files can be written there.

    Raises:
        InvalidInput: it cannot be made or written.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{folder}: cannot be created ({error.strerror or error}); choose another place") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"{folder}: cannot be written; choose another place")
    return folder
