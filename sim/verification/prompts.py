"""prompts.zst against the journal: whether each text makes the request whose digest it bears.

Texts may lack only where a process ended before it had written them: before the mark of another.
"""

from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.models.model import ChatMessage, Sampling, call_seed, request_digest
from engine.calls import Call
from engine.errors import FileError
from engine.text import counted
from sim.config.stages import Course
from sim.runs.models import samplings_of
from storage.journal import CallEnded
from storage.prompt_texts import Gap, PromptText, read_parts

_UNSEEN = -1


@dataclass(eq=False)
class Asked:
    """The calls of a journal for which there should be texts, in order: 25 bytes of each.

    What a role *said* in place of its model, nobody asked.
    """

    seed: int
    names: MutableSequence[int] = field(default_factory=lambda: array("Q"))
    seeds: MutableSequence[int] = field(default_factory=lambda: array("Q"))
    roles: MutableSequence[int] = field(default_factory=lambda: array("L"))
    _roles: dict[str, int] = field(default_factory=dict)

    def __call__(self, ended: CallEnded) -> None:
        """Take the next call."""
        if ended.finish == "said" and not ended.attempts:
            return
        call = Call(0, ended.user, ended.session, ended.step, ended.role, ended.occurrence)
        self.names.append(_name(ended.request))
        self.seeds.append(call_seed(self.seed, call))
        self.roles.append(self._roles.setdefault(ended.role, len(self._roles)))

    def role(self, place: int) -> str:
        """Return who asked."""
        return list(self._roles)[self.roles[place]]


def _name(request: str) -> int:
    """Return 64 bits that stand for the digest of a request, whatever is in its place."""
    return int.from_bytes(blake2b(request.encode(), digest_size=8).digest(), "big")


def check_prompts(path: Path, asked: Asked, course: Course, *, finished: bool) -> str:
    """Compare the texts at *path* with what was *asked*, and say what there is.

    Raises FileError for a text that does not agree with its digest, for one that nobody asked, and
    for a call without a text where no process was cut off.
    """
    texts = _Texts(path, asked, [samplings_of(stage.config) for stage in course.stages])
    texts.read()
    # The next process may still leave its mark; and one that keeps none leaves none.
    texts.check_end(open_end=not (finished and course.config.prompts))
    return texts.told()


@dataclass(eq=False)
class _Texts:
    """Reads the texts of a run, process after process."""

    path: Path
    asked: Asked
    samplings: Sequence[Mapping[str, Sampling]]
    count: int = 0
    process: int = 0
    _strange: str = ""
    _lost: bool = False
    _unasked: int = 0
    _torn: int = 0
    _order: NDArray[np.int64] = field(init=False)
    _names: NDArray[np.uint64] = field(init=False)
    _seen: NDArray[np.int64] = field(init=False)
    _has_text: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        names = np.array(self.asked.names, np.uint64)
        self._order = np.argsort(names, kind="stable")
        self._names = names[self._order]
        self._seen = np.full(len(names), _UNSEEN)
        self._has_text = np.zeros(len(names), np.bool_)

    def read(self) -> None:
        """Read all, and note which calls have a text."""
        for part in read_parts(self.path):
            match part:
                case Gap.RESUMED:
                    self._resume()
                case Gap.LOST:
                    self._torn += not self._lost
                    self._lost = True
                case _:
                    for text in part:
                        self._take(text)

    def _resume(self) -> None:
        """Take the mark of another process: what the one before it left may be odd."""
        self.process += 1
        self._lost, self._strange = False, ""

    def _take(self, text: PromptText) -> None:
        self.count += 1
        places = self._places(text.request)
        if not len(places):
            # A machine that dies may cost the journal more than the texts.
            self._unasked += 1
            self._strange = self._strange or text.request
            return
        if not self._agrees(text, int(places[0])):
            what = f"the text of the request {text.request!r} does not agree with its digest"
            raise FileError(f"{self.path}: {what}")
        self._has_text[places] = True
        if len(places) == 1:  # a call that had failed asks the same again: which is it then?
            self._seen[places] = self.process

    def _places(self, request: str) -> NDArray[np.int64]:
        name = np.uint64(_name(request))
        first, last = (int(np.searchsorted(self._names, name, side)) for side in ("left", "right"))
        return self._order[first:last]

    def _agrees(self, text: PromptText, place: int) -> bool:
        messages = (
            ChatMessage(role="system", content=text.system),
            ChatMessage(role="user", content=text.text),
        )
        role, seed = self.asked.role(place), self.asked.seeds[place]
        drawn = [stage[role] for stage in self.samplings if role in stage]
        digests = (request_digest(one, messages, seed, text.schema) for one in drawn)
        return text.request in digests

    def check_end(self, *, open_end: bool) -> None:
        """Raise FileError for what no other process explains."""
        if not open_end and self._lost:
            raise FileError(f"{self.path}: holds bytes that are no text")
        if not open_end and self._strange:
            raise FileError(f"{self.path}: holds the text of {self._strange!r}, which nobody asked")
        missing = self._missing(self.process + open_end)
        if missing:
            raise FileError(f"{self.path}: there is no text of {missing:,} calls in the journal")

    def _missing(self, last: int) -> int:
        """Return how many calls have no text and stand between two of the same process."""
        unseen = self._seen == _UNSEEN
        before = np.maximum.accumulate(np.where(unseen, 0, self._seen))
        after = np.where(unseen, last, self._seen)[::-1]
        after = np.minimum.accumulate(after)[::-1]
        return int(np.count_nonzero(~self._has_text & (before >= after)))

    def told(self) -> str:
        """Return what there is."""
        lacking = int(np.count_nonzero(~self._has_text))
        what = counted(self.count, "text")
        if lacking:
            what += f", none of {lacking:,} calls: inherited, or a process was cut off"
        if self._unasked:
            what += f", {self._unasked:,} of calls that a crash cost"
        return what + (f", {self._torn:,} torn" if self._torn else "")
