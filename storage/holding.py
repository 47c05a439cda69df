"""Whether a process holds a lock, asked without taking it: who looks is in nobody's way."""

import os
from pathlib import Path

_LOCKS = Path("/proc/locks")


def is_held(path: Path) -> bool | None:
    """Tell whether a process of this machine has the file at *path* locked.

    None where that cannot be told: Linux alone says so, and of some file systems not even Linux.
    """
    try:
        place = path.stat()
        held = _LOCKS.read_text().split("\n")
    except FileNotFoundError:
        return None if path.exists() else False
    except OSError:
        return None
    device = f"{os.major(place.st_dev):02x}:{os.minor(place.st_dev):02x}"
    places = {tuple(_place_of(line).rsplit(":", 1)) for line in held if " FLOCK " in line}
    if (device, str(place.st_ino)) in places:
        return True
    # Laid over another, a file system may have a device of its own.
    return None if any(inode == str(place.st_ino) for _, inode in places) else False


def _place_of(line: str) -> str:
    """Return the device and the inode of a line, as in `1: FLOCK ADVISORY WRITE 7 fe:00:46 0 EOF`.

    A line in which somebody waits for a lock tells of no holder of its own.
    """
    fields = line.split()
    return fields[5] if len(fields) == 8 else ":"
