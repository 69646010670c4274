"""The log of a run for TensorBoard, beside the CSV: ``tensorboard --logdir RUN`` (or a folder of runs).

Made of tensorboardX's messages. A training that starts or resumes writes the rows so far into a new file and
removes the older one, then appends: no step is there twice, and what an interruption tore off is replaced.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from lowbit.atomic import interrupts_wait, make_folder, replacing
from lowbit.training.log import Row

FOLDER = "tensorboard"
TAGS = {
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "train_accuracy": "accuracy/train",
    "test_accuracy": "accuracy/test",
    "lr": "lr",
    "seconds": "seconds",
}
"""Columns of the log and their names in TensorBoard; what a procedure logs is ``procedure/NAME``."""


class EventLog:
    """The events file of a run.

    Args:
        folder: of the run.
        rows: of the epochs that have finished already.

    Raises:
        InvalidInput: the folder cannot be written.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        place = make_folder(folder / FOLDER)
        older = list(place.glob("events.out.tfevents.*"))
        self.path = place / f"events.out.tfevents.{time.time_ns()}.lowbit"
        left = sum(row["seconds"] for row in rows)
        records = [_record(Event(wall_time=time.time(), file_version="brain.Event:2"))]
        for row in rows:
            left -= row["seconds"]
            records.append(_record(_event(row, time.time() - left)))
        with interrupts_wait():
            with replacing(self.path) as temporary:
                temporary.write_bytes(b"".join(records))
            for path in older:
                path.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        """Append an epoch."""
        with interrupts_wait(), self.path.open("ab") as file:
            file.write(_record(_event(row, time.time())))


def _event(row: Row, when: float) -> Event:
    values = [
        Summary.Value(tag=TAGS.get(name, f"procedure/{name}"), simple_value=float(value))
        for name, value in row.items()
        if name not in ("epoch", "step") and isinstance(value, (int, float))
    ]
    return Event(wall_time=when, step=row["step"], summary=Summary(value=values))


def _record(event: Event) -> bytes:
    """Length, its checksum, the event, its checksum: one record of TensorFlow's format."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
    return length + sums[0] + data + sums[1]
