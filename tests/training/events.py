"""Reads TensorBoard's events back, checking lengths and checksums."""

import struct

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c


def events(folder):
    """(step, {tag: value}) of every event with values, of the folder's one file."""
    (path,) = folder.iterdir()
    assert ".tfevents." in path.name
    data, found = path.read_bytes(), []
    while data:
        length = struct.unpack("<Q", data[:8])[0]
        assert struct.unpack("<I", data[8:12])[0] == masked_crc32c(data[:8])
        body, data = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[:4])[0] == masked_crc32c(body)
        data = data[4:]
        event = Event.FromString(body)
        if event.summary.value:
            found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
    return found
