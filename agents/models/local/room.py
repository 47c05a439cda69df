"""Whether a model fits into memory: what it takes, and what there is."""

import os
from collections.abc import Iterator
from pathlib import Path

from agents.models.local.gguf import Weights
from engine.errors import ConfigError

_KILOBYTE = 1_024
_GROUP = Path("/sys/fs/cgroup")


def needed(weights: Weights, tokens: int) -> int:
    """Return the bytes that *weights* take with a context of so many *tokens* over all slots.

    The file, and keys and values of each token in each layer, two bytes a number. What is computed
    with takes some more, which depends on the machine.
    """
    return weights.size + tokens * weights.token_bytes


def check_room(
    weights: Weights, slots: int, context: int, available: int | None, cached: int = 0
) -> None:
    """Raise ConfigError if *slots* of a *context* need more than is *available*, in bytes.

    So many bytes more are for prompts that are *cached*.
    """
    need = needed(weights, slots * context) + cached
    if available is None or need <= available:
        return
    what = f"{weights.path.name} needs {size_of(need)} of memory, {size_of(available)} are free"
    hint = f"fewer slots ({slots}) or less context ({context:,} tokens each)"
    raise ConfigError(f"{what}: {hint}", hint="--set local.slots=1 --set local.context=2048")


def available() -> int | None:
    """Return the bytes of memory that are free for us, None where the system does not say."""
    return min(_told(), default=None)


def _told() -> Iterator[int]:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * _KILOBYTE
    most, used = _lines(_GROUP / "memory.max"), _lines(_GROUP / "memory.current")
    if most and used and most[0].isdecimal():  # the word `max` is none
        yield max(0, int(most[0]) - int(used[0]))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []


def processors() -> int:
    """Return how many threads compute unless told: all processors that we may use but one.

    One is left to billp itself: threads that wait for each other at every layer are ten times as
    slow where one of them has to share its processor.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return max(1, count - 1)


def size_of(count: int) -> str:
    """Return how people write a number of bytes."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
