"""How often Python looks for garbage in circles while something runs here.

Messages, calls and trajectories are no garbage until their episode is closed, and next to nothing
of ours is in a circle. Whoever looks for that after every 700 new objects walks through all that
waits for a reply again and again: at 5,000 calls in flight the cost of a call doubled, and a look
after 100,000 was still a fifth of it at 10,000 (tests/bench/test_bench_engine.py).
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeAlias

Thresholds: TypeAlias = tuple[int, int, int]

RARELY: Thresholds = (400_000, 12, 12)
"""New objects until the young are looked through, and how many such looks until the older are.

Circles of a user's own may come to so many objects before they are found: some 100 MB.
"""


@dataclass(eq=False)
class _Collector:
    """The collector of this process, which is not ours alone: runs in threads overlap."""

    users: int = 0
    before: Thresholds = RARELY
    lock: Lock = field(default_factory=Lock)

    def take(self) -> None:
        with self.lock:
            self.users += 1
            if self.users == 1:
                self.before = gc.get_threshold()
                # Whoever collects never (0), or more rarely, has reasons.
                if 0 < self.before[0] < RARELY[0]:
                    gc.set_threshold(*RARELY)

    def give_back(self) -> None:
        with self.lock:
            self.users -= 1
            # What somebody else has set in the meantime is to stay.
            if not self.users and gc.get_threshold() == RARELY:
                gc.set_threshold(*self.before)


_collector = _Collector()


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Let circles be looked for rarely until all who asked for that have ended.

    Then the setting is what it was before the first of them.
    """
    _collector.take()
    try:
        yield
    finally:
        _collector.give_back()
