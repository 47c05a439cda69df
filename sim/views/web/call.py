"""A call of a model: what was asked word for word, what came back, and what that took."""

from dataclasses import dataclass
from shlex import quote
from typing import TypeVar

from engine.calls import Call
from engine.errors import BillpError, TraceError
from engine.messages import Envelope, EpisodeStarted, Message
from sim.analysis.prompts import DiffLine, diff_lines, is_exact, prompts_of, whole
from sim.analysis.steps import Asking, asked_in
from sim.config.stages import read_course
from sim.views.web.opened import Opened
from sim.views.web.page import Asked, Page
from storage.journal import CallEnded, read_journal
from storage.prompt_texts import PromptText

T = TypeVar("T")


@dataclass(frozen=True)
class CallFacts:
    """A call, how it *ended* by the journal, and its *prompt*.

    *how* says where the prompt is from, or why it is not there. *changes* are what differs from the
    prompt of the call *before*, of the same role; None if there was none, or it is not known.
    """

    run: str
    episode: int
    call: Asking
    ended: CallEnded | None
    prompt: PromptText | None
    how: str
    before: Asking | None
    changes: tuple[DiffLine, ...] | None
    command: str


@dataclass(frozen=True)
class CallsFacts:
    """All calls of an episode, each with how it ended; *unknown* says why that is not known."""

    run: str
    episode: int
    calls: tuple[tuple[Asking, CallEnded | None], ...]
    unknown: str


def call_page(asked: Asked) -> Page:
    """Return the page of a call."""
    looked = _Looked(asked)
    place = asked.number("n")
    calls = looked.calls
    call = next((one for one in calls if one.n == place), None)
    if call is None:
        raise TraceError(f"envelope {place} of episode {looked.episode} is not a call")
    earlier = [one for one in calls if one.role == call.role and _key(one) < _key(call)]
    before = max(earlier, key=_key, default=None)
    prompt, how = looked.prompt(call)
    other = looked.prompt(before)[0] if before else None
    at = f"{looked.episode}:{call.step} --prompt {quote(call.role)}"
    facts = CallFacts(
        run=asked.run,
        episode=looked.episode,
        call=call,
        ended=looked.ended(call)[0],
        prompt=prompt,
        how=how,
        before=before,
        changes=diff_lines(whole(other), whole(prompt)) if other and prompt else None,
        command=f"billp show {quote(str(looked.opened.directory.path))} {at}",
    )
    return Page("call.html", facts)


def calls_page(asked: Asked) -> Page:
    """Return the page of all calls of an episode."""
    looked = _Looked(asked)
    found = [(call, looked.ended(call)) for call in looked.calls]
    unknown = next((why for _, (_, why) in found if why), "")
    told = tuple((call, ended) for call, (ended, _) in found)
    return Page("calls.html", CallsFacts(asked.run, looked.episode, told, unknown))


def _key(call: Asking) -> tuple[int, int]:
    return call.step, call.occurrence


class _Looked:
    """An episode whose calls are looked at."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.opened = Opened(asked.directory)
        self.episode = asked.number("k")
        self.envelopes: list[Envelope[Message]] = asked.ledger.read(self.episode)
        self.calls = asked_in(self.envelopes)

    def identity(self, call: Asking) -> Call:
        """Return what a call is known by."""
        started = self.envelopes[0].message
        if not isinstance(started, EpisodeStarted):
            raise TraceError(f"episode {self.episode} does not begin with EpisodeStarted")
        who = (started.user, started.session)
        return Call(self.episode, *who, call.step, call.role, call.occurrence)

    def ended(self, call: Asking) -> tuple[CallEnded | None, str]:
        """Return how a call ended, or why that is not known."""
        journal = self.opened.directory.journal
        if not journal.exists():
            return None, "the run has no journal"
        key = (journal, journal.stat().st_size)
        try:
            ends = self.asked.kept.journals.get(key, lambda: read_journal(journal))
            at = self.identity(call)
            found = ends.get((at.user, at.session, at.step, at.role, at.occurrence))
        except BillpError as error:
            return None, str(error)
        return found, "" if found else "the journal does not have it"

    def prompt(self, call: Asking) -> tuple[PromptText | None, str]:
        """Return what was asked, and where it is from; or why that is not known."""
        directory = self.opened.directory
        wanted = frozenset(one.request for one in self.calls)
        world, why = self.opened.world_kept(self.asked.kept)
        found = self.asked.kept.prompts.get(
            (directory.trace, self.episode, wanted),
            lambda: prompts_of(directory, self.episode, wanted, world, why),
            keep=lambda prompts: not prompts.unknown,
        )
        text = found.texts.get(call.request)
        if text is None:
            return None, found.unknown
        return text, self._proof(text, call, again=found.again)

    def _proof(self, text: PromptText, call: Asking, *, again: bool) -> str:
        if again:
            return "made again, and the digest is that of the trace"
        try:
            settings, proven = self.opened.directory.read_proven()
            exact = is_exact(text, self.identity(call), read_course(settings, proven=proven))
        except BillpError:
            exact = False
        if exact:
            return "as the run kept it, and its digest is that of the trace"
        return "as the run kept it; whether it is what was asked cannot be checked here"
