"""An episode that is over: what it left to the trace, to the memories and to what comes after it.

Whoever has that need not run the episode: the rest of a run cannot tell the difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from engine.listeners import Inbox, Live
from engine.messages import Envelope, EpisodeEnded, EpisodeFailed, EpisodeStarted, Message
from engine.records import Record

Left: TypeAlias = tuple[str, Record[Any]]
"""What an episode left for a memory, which is named first."""

_decode = msgspec.json.Decoder(Envelope[Message]).decode


@dataclass(frozen=True, slots=True)
class Closed:
    """What an episode came to: its *lines* of the trace, and its largest time, the *clock*.

    *ended* says how the visit ended; None if the episode *failed*, which leaves no *records*.
    """

    lines: bytes
    clock: int
    failed: bool
    ended: EpisodeEnded | None
    records: Sequence[Left]

    def tell(self, ears: dict[type, list[Inbox]]) -> None:
        """Let those who listen hear it, in canonical order."""
        if not ears:
            return
        for envelope in map(_decode, self.lines.splitlines()):
            for ear in ears.get(type(envelope.message), ()):
                ear.hear(Live(envelope.episode, envelope.time, envelope.message))


Known: TypeAlias = Callable[[int, EpisodeStarted], Closed | None]
"""What came of an episode, by its number, that starts so; None if it is to be run."""

Keep: TypeAlias = Callable[[int, Closed], None]
"""Takes what came of an episode that was run."""


def nothing_known(_: int, __: EpisodeStarted) -> None:
    """Know of no episode."""


def keep_nothing(_: int, __: Closed) -> None:
    """Keep nothing."""


def closed_of(envelopes: Sequence[Envelope[Message]], lines: bytes, left: Sequence[Left]) -> Closed:
    """Return what an episode with these *envelopes*, in *lines*, and these records came to."""
    failed = any(isinstance(one.message, EpisodeFailed) for one in envelopes)
    ends = [one.message for one in envelopes if isinstance(one.message, EpisodeEnded)]
    ended = None if failed or not ends else ends[0]
    return Closed(lines, max(one.time for one in envelopes), failed, ended, left)
