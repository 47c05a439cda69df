"""NumPy arrays on disk, read only if the file holds all that its head claims."""

import math
import os
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from storage.reading import open_regular

_HEADS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(path: Path) -> NDArray[Any]:
    """Return the array in the file at *path*; raises OSError or ValueError.

    Memory is asked for by what the head says: it is believed only as far as there are bytes.
    """
    with open_regular(path) as file:
        try:
            read_head = _HEADS.get(npy.read_magic(file))
            if read_head is None:
                raise ValueError("it is of another version of the format")
            shape, _, kind = read_head(file)
            if kind.hasobject or kind.itemsize == 0:
                raise ValueError(f"it holds {kind}")
            claimed = math.prod(shape) * kind.itemsize
            found = os.fstat(file.fileno()).st_size - file.tell()
            if min(shape, default=0) < 0 or claimed != found:
                raise ValueError(f"its head claims {claimed:,} bytes, it holds {found:,}")
            file.seek(0)
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        except (EOFError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
            raise ValueError(f"it is no array: {error or type(error).__name__}") from error
    return array
