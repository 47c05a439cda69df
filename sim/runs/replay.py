"""Replay: a recorded run again, with nobody called and every byte compared."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from typing import Any, TypedDict, Unpack

import msgspec

from agents.embeddings import Embedder, HashingEmbedder
from agents.models.access import Access, prompt_text
from agents.models.model import ChatRequest
from agents.models.recorded import Replayed
from agents.models.remote.embedder import RecordedEmbedder
from engine.arrivals import Visit
from engine.errors import BillpError, ConfigError, TraceError
from engine.messages import EpisodeStarted
from engine.records import Log
from sim.config.stages import Point, place
from sim.runs.assembly import Excerpt, Wrap, assemble
from sim.runs.divergence import Difference, EndOfRecordError, TraceCheck, TraceDivergenceError
from sim.runs.excerpts import Prefix
from sim.runs.listeners import NO_LISTENERS, Listener, Listeners, listeners_of
from sim.runs.loop import first_error, in_event_loop, in_their_loop
from sim.runs.lost import Nobody, check_embedded, check_journaled
from sim.runs.models import samplings
from sim.runs.past import Past, past_before
from sim.runs.recorded import RecordedRun, check_head, check_step, open_recorded
from storage.environments import Environment
from storage.journal import CallEnded
from storage.memory import Memory
from storage.prompt_texts import PromptText, read_prompts
from storage.traces import before_step, digest_of, episode_of, read_episode
from storage.vectors import read_vectors

_KEPT = 1_000  # texts of changed prompts
_AFTER_ALL = 1 << 40  # a step after all steps


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a replay: *envelopes* agreed, and what differs, in canonical order.

    *whole* says that the trace was replayed to its end; *finished* that the run had come to its
    own. *prompts* are the old text, if it was kept, and the new one of each prompt that differs, by
    the old request's digest. *publishers* are the agent's roles by the types of their messages.
    """

    run: str
    digest: str
    envelopes: int
    seconds: float
    whole: bool
    finished: bool
    differences: tuple[Difference, ...]
    prompts: dict[str, tuple[PromptText | None, PromptText]]
    listeners: dict[str, Any]
    publishers: dict[str, str]

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


class EnoughError(BillpError):
    """Raised when all that was to be replayed is replayed."""


class Playing(TypedDict, total=False):
    """How a run is replayed: all of this may be left out.

    The first difference ends it, unless *every* one is wanted. *episode* replays one episode alone,
    *start* begins with one: those before it are taken as they are recorded. *until* stops after a
    step, (episode, step). *concurrency* bounds the episodes at work. *wrap*
    puts something around each handler. *environment* is that of the run, if it is elsewhere.
    """

    every: bool
    episode: int | None
    start: int | None
    until: Point | None
    concurrency: int | None
    environment: Environment | None
    listeners: Mapping[str, Listener] | Listeners
    wrap: Wrap | None


def replay(
    run: PathLike[str] | str, *, uvloop: bool | None = None, **how: Unpack[Playing]
) -> Replay:
    """Run the run in directory *run* again on its recorded replies, and compare all with its trace.

    No model is called and no key is needed; for *how* see `Playing`. Raises FileErrors and
    DataError for what cannot be replayed, ConfigError for what cannot be asked and ServiceError if
    calls or vectors were lost. Where an event loop runs, await `replay_async`.
    """
    with _playing(run, how) as play:
        return in_event_loop(play, twin="replay_async", uvloop=uvloop)


async def replay_async(run: PathLike[str] | str, **how: Unpack[Playing]) -> Replay:
    """Do what `replay` does, inside an event loop that runs already."""
    with _playing(run, how) as play, in_their_loop():
        return await play()


@contextmanager
def _playing(run: PathLike[str] | str, how: Playing) -> Iterator[Callable[[], Awaitable[Replay]]]:
    """Yield what replays a run, or the part of it that is asked for."""
    episode, until, concurrency = how.get("episode"), how.get("until"), how.get("concurrency")
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1, got {concurrency}")
    if episode is not None and until is not None and until[0] != episode:
        raise ConfigError(f"episode {episode} alone never comes to {place(until)}")
    start = how.get("start")
    if start is not None and episode is not None:
        raise ConfigError(f"episode {episode} alone does not begin with episode {start}")
    if start is not None and until is not None and until[0] < start:
        raise ConfigError(f"{place(until)} comes before episode {start}")
    recorded = open_recorded(run, how.get("environment"))
    check_head(recorded.directory.trace)
    player = _Player(
        recorded,
        every=how.get("every", False),
        listeners=listeners_of(how.get("listeners", {})),
        wrap=how.get("wrap"),
    )
    with closing(player.check):
        if episode is not None:
            player.alone(episode)
        if start is not None:
            player.begin(start)
        if until is not None:
            player.until(until)
        yield partial(player.play, concurrency)


def prompt_of(
    run: PathLike[str] | str,
    at: Point,
    role: str,
    *,
    occurrence: int = 0,
    environment: Environment | None = None,
) -> ChatRequest:
    """Return the request of a call of a recorded run, made again; raises ConfigError if none is."""
    requests = requests_of(run, at[0], environment=environment)
    return request_at(requests, at, role, occurrence=occurrence)


def requests_of(
    run: PathLike[str] | str, episode: int, *, environment: Environment | None = None
) -> list[ChatRequest]:
    """Return all requests of an episode of a recorded run, made again.

    Of a run that kept no memories those of the episodes before it may come first.
    """
    player = _Player(open_recorded(run, environment), collect=True)
    with closing(player.check):
        player.alone(episode)
        in_event_loop(partial(player.play, None))
    return player.requests


def request_at(
    requests: Iterable[ChatRequest], at: Point, role: str, *, occurrence: int = 0
) -> ChatRequest:
    """Return that of *requests* which a role made at a point; raises ConfigError if none is."""
    seen = {
        (request.call.step, request.call.role, request.call.occurrence): request
        for request in requests
        if request.call.episode == at[0]
    }
    request = seen.get((at[1], role, occurrence))
    if request is None:
        roles = sorted({name for step, name, _ in seen if step == at[1]})
        there = f"those of {', '.join(roles)} were made there" if roles else "none was made there"
        raise ConfigError(f"there is no call of {role!r} at {at[0]}:{at[1]}", hint=there)
    return request


@dataclass(eq=False)
class _Player:
    """Plays a recorded run, or a part of it, beside its trace."""

    recorded: RecordedRun
    every: bool = False
    listeners: Listeners = NO_LISTENERS
    wrap: Wrap | None = None
    collect: bool = False
    requests: list[ChatRequest] = field(default_factory=list)
    check: TraceCheck = field(init=False)
    _nobody: Nobody = field(default_factory=Nobody)
    _excerpt: Excerpt | None = None
    _past: Past = field(default_factory=Past)
    _passed: int = 0
    _stop: Callable[[bytes], bytes | None] = lambda _: None
    _changed: dict[str, PromptText] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.check = TraceCheck(self.recorded.directory.trace, every=self.every)

    def alone(self, episode: int) -> None:
        """Play one episode alone, with the memories that it saw."""
        trace = self.recorded.directory.trace
        started = read_episode(trace, episode)[0].message
        if not isinstance(started, EpisodeStarted):
            raise TraceError(f"{trace}: episode {episode} does not begin with EpisodeStarted")
        if not self._has_memories():
            # What it saw is known only from the episodes before it.
            self.begin(episode)
            self._stop = partial(_up_to, (episode, _AFTER_ALL))
            return
        self.check.skip_to(episode)
        self._nobody.move(episode)
        self._excerpt = excerpt_of(self.recorded, episode, started)

    def begin(self, episode: int) -> None:
        """Begin with an episode: take those before it as they are recorded, if that is known."""
        self._past = past_before(self.recorded, episode)

    def _has_memories(self) -> bool:
        """Tell whether the memories were kept; else what an episode saw is made anew."""
        agent = self.recorded.course.config.cast
        kept = self.recorded.directory.memory.exists() or not agent.memories
        return self.recorded.finished and kept

    def until(self, point: Point) -> None:
        """Stop after the step at *point*; raises ConfigError if there is none."""
        check_step(self.recorded.directory.trace, point)
        self._stop = partial(_up_to, point)

    def write(self, lines: bytes) -> None:
        """Compare the lines of an episode, or of the run itself."""
        if self._excerpt is not None and episode_of(lines) is None:
            return
        part = self._stop(lines)
        if part is not None:
            self.check.compare(part, whole=part == lines)
            raise EnoughError("replayed as far as was asked for")
        self.check.write(lines)
        if (episode := episode_of(lines)) is not None:
            self._nobody.move(episode + 1)
            self._passed += lines.count(b"\n") if episode < self._past.until else 0
        if not self.recorded.finished and self.check.at_end():
            # What comes next may wait for a reply that was never heard.
            raise EndOfRecordError(0)

    async def play(self, concurrency: int | None) -> Replay:
        """Play, and tell what came of it."""
        course = self.recorded.course
        access = Access(
            model=self._nobody,
            sampling=samplings(course),
            seed=course.config.seed,
            recorded=Replayed(self.recorded.recording),
            watch=self._watch,
        )
        assembly = assemble(
            course,
            self.recorded.environment,
            answer=access.answer,
            embed=embedder_of(self.recorded).embed,
            concurrency=concurrency,
            excerpt=self._excerpt,
            wrap=self.wrap,
        )
        assembly.scheduler.known = self._past.known
        self.listeners.attach(assembly.bus)
        assembly.bus.write_to(self)
        started = time.perf_counter()
        whole = await self._to_the_end(assembly.run)
        seconds = time.perf_counter() - started
        for difference in self.check.differences:
            check_journaled(difference)
            check_embedded(difference)
        return self._told(whole, seconds)

    async def _to_the_end(self, run: Callable[[], Awaitable[object]]) -> bool:
        """Run, and tell whether that was the whole of what was to be replayed."""
        try:
            await run()
            if self._excerpt is None:
                self.check.end()
        except (BaseExceptionGroup, EndOfRecordError, EnoughError, TraceDivergenceError) as raised:
            error = first_error(raised)
            if not isinstance(error, EndOfRecordError | EnoughError | TraceDivergenceError):
                raise
            if isinstance(error, EndOfRecordError) and self.recorded.finished:
                path = self.recorded.directory.trace
                raise TraceError(f"{path}: ends early: the run had come to its end") from error
            return not isinstance(error, EndOfRecordError)
        return True

    def _watch(self, request: ChatRequest, digest: str, ended: CallEnded | None) -> None:
        if self.collect:
            self.requests.append(request)
        if ended is not None and ended.request != digest and len(self._changed) < _KEPT:
            self._changed[ended.request] = prompt_text(request, digest)

    def _told(self, whole: bool, seconds: float) -> Replay:
        directory = self.recorded.directory
        differences = tuple(self.check.differences)
        asked = [d.recorded for d in differences if d.field == "request"]
        changed = {old: self._changed[old] for old in asked if old in self._changed}
        kept = {text.request: text for text in read_prompts(directory.prompts)} if changed else {}
        return Replay(
            run=str(directory.path),
            digest=digest_of(directory.trace),
            envelopes=self.check.lines - self._passed,
            seconds=seconds,
            whole=whole,
            finished=self.recorded.finished,
            differences=differences,
            prompts={old: (kept.get(old), new) for old, new in changed.items()},
            listeners=self.listeners.results(),
            publishers={
                kind.__name__: role.name
                for role in self.recorded.course.config.cast.roles
                for kind in role.publishes
            },
        )


def _up_to(point: Point, lines: bytes) -> bytes | None:
    """Return the lines of an episode up to a step; None if it is another episode."""
    episode, step = point
    return before_step(lines, step + 1) if episode_of(lines) == episode else None


def embedder_of(recorded: RecordedRun) -> Embedder:
    """Return what gives a recorded run its vectors: a service is not asked again."""
    if not recorded.course.config.embedding_model:
        return HashingEmbedder()
    forgotten = recorded.recording.vectors
    known, _ = read_vectors(recorded.directory.vectors, forgotten=forgotten)
    return RecordedEmbedder(known)


def excerpt_of(recorded: RecordedRun, episode: int, started: EpisodeStarted) -> Excerpt:
    """Return what it takes to play one episode of a finished run."""
    lengths = {seen.memory: seen.length for seen in started.memories}
    logs: dict[str, Log] = {}
    config = recorded.course.config
    for name in config.cast.memories:
        memory = Memory.load(recorded.directory.memory, name, capacity=config.memory_size or None)
        if len(memory) < lengths[name.name]:
            place = recorded.directory.memory / f"{name.name}.jsonl"
            raise TraceError(f"{place}: holds fewer records than episode {episode} saw")
        logs[name.name] = Prefix(memory, lengths[name.name])
    return Excerpt(Visit.of(started), episode, logs)
