"""Read MNIST's IDX files: a big-endian header, then unsigned bytes.

Source: the format's description beside the MNIST data (LeCun, Cortes, Burges). The header is 0, 0, the type
(8 for unsigned bytes), the number of dimensions, and each dimension as an unsigned 32-bit number.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowbit.errors import InvalidInput

UNSIGNED_BYTE = 8
# More than any IDX data set holds; a header that asks for more is damaged.
MOST_BYTES = 1 << 31


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, which may be compressed with gzip (a name ending in .gz).

    Args:
        path: the file.
        dimensions: how many the file must have: 1 for labels, 3 for images [N, H, W].

    Raises:
        InvalidInput: the file is not IDX, is of another type or rank, or is shorter or longer than it says.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        >>> read_idx(path, dimensions=1)
        array([7, 8, 9], dtype=uint8)
    """
    header_size = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            header = file.read(header_size)
            if header[:4] != magic:
                raise InvalidInput(
                    f"{path}: the file begins with {header[:4].hex(' ') or 'nothing'}; an IDX file of "
                    f"unsigned bytes with {dimensions} dimensions begins with {magic.hex(' ')}, so fetch "
                    "the file again"
                )
            if len(header) < header_size:
                raise InvalidInput(f"{path}: the file ends inside its header; fetch it again")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise InvalidInput(f"{path}: the header asks for {size} bytes of data; fetch the file again")
            # One more byte than needed shows a file that is too long, without reading all of it.
            body = file.read(size + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InvalidInput(f"{path}: damaged gzip data ({error}); fetch the file again") from error
    if len(body) != size:
        given = f"more than {size}" if len(body) > size else str(len(body))
        raise InvalidInput(
            f"{path}: {given} bytes of data given; the header {shape} asks for {size}, so fetch the file again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
