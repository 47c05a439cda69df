"""NumPy arrays on disk, read only if the file holds all that its head claims."""

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.reading import open_regular

# NumPy reads a head as Python, which may be anything; what it writes itself always looks like this.
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '[<|][biuf][1248]', 'fortran_order': (?:False|True), "
    rb"'shape': \(((?:[0-9]{1,18}(?:, [0-9]{1,18})*,?)?)\), \} *\n",
    re.DOTALL,
)
_LONGEST_HEAD = 512


def read_array(path: Path) -> NDArray[Any]:
    """Return the array of numbers in the file at *path*; raises OSError or ValueError.

    Memory is asked for by what the head says: it is believed only as far as there are bytes.
    """
    with open_regular(path) as file:
        head = _HEAD.match(file.read(_LONGEST_HEAD))
        if head is None:
            raise ValueError("it is no array of numbers as NumPy saves them")
        kind = np.dtype(head[0].partition(b"'descr': '")[2][:3].decode())
        claimed = math.prod(map(int, re.findall(rb"[0-9]+", head[1]))) * kind.itemsize
        found = os.fstat(file.fileno()).st_size - head.end()
        if claimed != found:
            raise ValueError(f"its head claims {claimed:,} bytes, it holds {found:,}")
        file.seek(0)
        try:
            array: NDArray[Any] = np.load(file, allow_pickle=False)
        except MemoryError as error:
            raise ValueError(f"it does not fit into memory: {found:,} bytes") from error
    return array
