"""The visits of a run, one by one: how those that ended did, and where the others stand.

Of a run that has not come to its end the trace tells of episodes that ended, as far as they are
written; of the others the journal tells that they began, and at which step they are. Who has not
come yet is known from the configuration, where users do not come back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import fsum
from typing import Literal, TypeAlias, TypeVar, cast

import msgspec

from agents.making import Agent
from engine.errors import ConfigError, DataError, RunDirectoryError, TraceError
from engine.messages import (
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    Message,
    ModelFailed,
    UserResponded,
    number,
)
from sim.config.stages import read_course
from sim.metrics.failures import FailuresFollower, why
from sim.runs.journaled import VisitCalls, Visitor, read_calls
from sim.runs.recorded import is_imported
from sim.runs.visitors import numbered
from storage.datasets import open_environment
from storage.runs import RunDirectory
from storage.traces import read_episodes, read_head, whole_size

Standing: TypeAlias = Literal["finished", "running", "stopped", "unfinished"]
"""Where a run stands; *unfinished* is one of which it cannot be told whether it is running."""

State: TypeAlias = Literal["finished", "failed", "running", "stopped", "waiting"]
"""Where a visit stands: *running* also where that cannot be told of its run."""

M = TypeVar("M")

_HEARD = (
    *(EpisodeStarted, UserResponded, EpisodeEnded, EpisodeSettled),
    *(EpisodeFailed, HandlerFailed, ModelFailed),
)


class Visited(msgspec.Struct, frozen=True, kw_only=True):
    """A visit and its *episode*, None where its number cannot be known yet.

    *length* counts the steps that the user answered; of a visit that is under way, those that are
    known to have begun. *reward* is the sum over the steps answered, None where none is known.
    *reason* is why it ended: the quit rule's, or `limit`; *failure* why it failed, or what is being
    tried again.
    """

    episode: int | None
    user: int
    session: int
    state: State
    length: int = 0
    reward: float | None = None
    reason: str | None = None
    failure: str | None = None


def standing_of(directory: RunDirectory) -> Standing:
    """Return where the run stands; whether it is being written is known on Linux alone."""
    # First: a run may come to its end in between.
    busy = None if directory.finished else directory.busy
    if directory.finished:
        return "finished"
    return "unfinished" if busy is None else "running" if busy else "stopped"


@dataclass(frozen=True)
class Visits:
    """All *ended* visits of a run that are written, the *open* ones, and those to come.

    *unknown* says why it is not known who is *waiting*, and which numbers open visits have.
    """

    standing: Standing
    ended: tuple[Visited, ...]
    open: tuple[Visited, ...] = ()
    waiting: tuple[Visited, ...] = ()
    unknown: str = ""

    def counts(self) -> Counter[str]:
        """Return how many visits there are of each state."""
        return Counter(one.state for one in (*self.ended, *self.open, *self.waiting))


@dataclass(frozen=True)
class Unended:
    """A run that has not come to its end: who visits in which episode, and what calls tell."""

    directory: RunDirectory

    @cached_property
    def _planned(self) -> tuple[Agent, list[Visitor] | None]:
        settings, proven = self.directory.read_proven()
        config = read_course(settings, proven=proven).config
        trace = self.directory.trace
        digest = read_head(trace).environment if whole_size(trace) else ""
        return config.cast, numbered(config, open_environment(config.environment, digest))

    @property
    def agent(self) -> Agent:
        """Its agent; raises ConfigError, RunDirectoryError or DataError if it is not here."""
        return self._planned[0]

    @property
    def visitors(self) -> list[Visitor] | None:
        """Who visits, by episode; None where users come back. Raises the same."""
        return self._planned[1]

    def calls(self, episode: int) -> tuple[Visitor, VisitCalls]:
        """Return who visits in an *episode*, and the calls of it that are journaled.

        Raises ConfigError if there is no such episode, if it has not begun, or if nobody can know
        yet whose it is; JournalError for damage.
        """
        visitors = self.visitors
        if visitors is None:
            what = f"episode {episode} is not written yet, and users come back: whose it is"
            hint = "make it again from the journal with --replayed"
            raise ConfigError(f"{what} depends on how other visits end", hint=hint)
        if episode >= len(visitors):
            hint = f"the run has 0 to {len(visitors) - 1}"
            raise ConfigError(f"there is no episode {episode}", hint=hint)
        visitor = visitors[episode]
        calls = read_calls(self.directory.journal, visitor.__eq__).get(visitor, VisitCalls())
        if not calls.begun:
            what = f"the journal has nothing of episode {episode} (user {visitor[0]})"
            hint = "it has not begun, or no call of it has been answered yet: see billp show RUN"
            raise ConfigError(what, hint=hint)
        return visitor, calls


def visits_of(directory: RunDirectory) -> Visits:
    """Return the visits of a run; raises FileErrors for damage."""
    standing = standing_of(directory)
    # The trace before the journal: what passes from one to the other in between is seen twice.
    ended = tuple(_ended(directory))
    if standing == "finished" or is_imported(directory):
        return Visits("finished", ended)
    known = {(one.user, one.session) for one in ended}
    calls = read_calls(directory.journal, lambda visitor: visitor not in known)
    begun = {visitor: one for visitor, one in calls.items() if one.begun}
    try:
        run = Unended(directory)
        agent, visitors = run.agent, run.visitors
    except (ConfigError, DataError, RunDirectoryError) as error:
        return Visits(standing, ended, _open(standing, begun, None, {}), (), str(error))
    unknown = "" if visitors is not None else "users come back, as visits end"
    numbers = {visitor: episode for episode, visitor in enumerate(visitors or ())}
    waiting = tuple(
        Visited(episode=episode, user=visitor[0], session=visitor[1], state="waiting")
        for visitor, episode in numbers.items()
        if visitor not in known and visitor not in begun
    )
    return Visits(standing, ended, _open(standing, begun, agent, numbers), waiting, unknown)


def _ended(directory: RunDirectory) -> Iterator[Visited]:
    """Yield the visits that the trace holds whole."""
    trace = directory.trace
    if not whole_size(trace):
        return
    read_head(trace)
    for episode, envelopes in read_episodes(trace, _HEARD):
        told = _Told(envelopes)
        if is_whole(envelopes):
            if not told.all(EpisodeStarted):
                raise TraceError(f"{trace}: episode {episode} does not begin with EpisodeStarted")
            yield told.visited(episode)


def is_whole(envelopes: Sequence[Envelope[Message]]) -> bool:
    """Tell whether an episode came to its end; a crash may have cut off the last one of a run."""
    return any(isinstance(one.message, EpisodeSettled | EpisodeFailed) for one in envelopes)


@dataclass(frozen=True)
class _Told:
    envelopes: Sequence[Envelope[Message]]

    def all(self, kind: type[M]) -> list[M]:
        return [e.message for e in self.envelopes if isinstance(e.message, kind)]

    def visited(self, episode: int) -> Visited:
        """Return how the visit ended."""
        started, responses = self.all(EpisodeStarted)[0], self.all(UserResponded)
        failed = bool(self.all(EpisodeFailed))
        left = [response.reason or "left" for response in responses if response.left]
        ended = left[0] if left else "limit" if self.all(EpisodeEnded) else None
        return Visited(
            episode=episode,
            user=started.user,
            session=started.session,
            state="failed" if failed else "finished",
            length=len(responses),
            reward=number(fsum(response.reward for response in responses)),
            reason=ended,
            failure=self._why() if failed else None,
        )

    def _why(self) -> str:
        follower = FailuresFollower({})
        for envelope in self.envelopes:
            follower(cast("Envelope[object]", envelope))
        return "; ".join(why(failure) for failure in follower.result())


def _open(
    standing: Standing,
    begun: Mapping[Visitor, VisitCalls],
    agent: Agent | None,
    numbers: Mapping[Visitor, int],
) -> tuple[Visited, ...]:
    """Return the visits that began and are not written, in the order of their numbers."""
    state: State = "stopped" if standing == "stopped" else "running"
    found = (
        Visited(
            episode=numbers.get(visitor),
            user=visitor[0],
            session=visitor[1],
            state=state,
            length=0 if agent is None else calls.steps(agent),
            failure=trouble(calls) or None,
        )
        for visitor, calls in begun.items()
    )
    return tuple(sorted(found, key=lambda one: (one.episode is None, one.episode or 0, one.user)))


def trouble(calls: VisitCalls) -> str:
    """Return in words which calls of a visit failed or are tried again; empty if none."""
    failed = [
        f"{_call(call.role, call.step)} failed ({call.error})"
        for call in calls.ended
        if call.error is not None
    ]
    tried = [
        f"{_call(one.role, one.step)} is tried again ({one.error}, attempt {one.attempt})"
        for one in calls.tried
    ]
    return "; ".join([*failed, *tried])


def _call(role: str, step: int) -> str:
    return f"the {role}'s call at step {step}"
