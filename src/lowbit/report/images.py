"""Images as addresses that a page holds itself."""

from __future__ import annotations

import base64
import struct
import zlib

from torch import Tensor


def address(image: Tensor) -> str:
    """A PNG of uint8 [1 or 3, h, w], gray or red, green and blue, as an address.

    Example:
        >>> import torch
        >>> address(torch.zeros(1, 2, 2, dtype=torch.uint8))[:22]
        'data:image/png;base64,'
    """
    channels, height, width = image.shape
    rows = b"".join(b"\0" + bytes(row.flatten().tolist()) for row in image.permute(1, 2, 0))
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
