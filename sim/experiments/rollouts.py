"""Rollouts: an episode of a recorded run up to a state, then on again, live and by other chance.

What comes before the state is the past: its calls are answered from the journal, its chance is the
run's, and it must come out as it is recorded. After it both are drawn anew, the world's chance (how
long users dwell) and the agents' (candidates, the seeds of calls), from one seed: that of the
rollout. The run's own seed makes the episode that is recorded. The episode plays alone, on the
memories that it saw.

Only what the user waits for is played on, and the critic where it values the state and the next
one: nothing else can change what the user does before the end.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import fsum
from typing import Any

import msgspec

from agents.embeddings import Embedder
from agents.models.access import Access, Keep, Usage
from agents.models.model import ChatModel, Prompt
from agents.models.recorded import Forked, NoModel
from agents.trajectory import Delivery, Trajectory
from engine.arrivals import Visit
from engine.calls import Call
from engine.chance import chance
from engine.delivery import Handler
from engine.errors import DivergenceError, TraceError
from engine.messages import (
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    Message,
    ModelFailed,
    ModelReplied,
    StateValued,
    UserResponded,
)
from sim.config.run import RunConfig
from sim.config.stages import BEGINNING, Course, Stage, place
from sim.runs.assembly import Excerpt, Subscription, assemble, subscriptions
from sim.runs.excerpts import Prefix
from sim.runs.models import samplings
from sim.runs.recorded import RecordedRun
from sim.runs.replay import excerpt_of
from storage.traces import (
    before_step,
    episode_of,
    opening,
    opening_of,
    read_episodes,
    read_lines,
)

_decode = msgspec.json.Decoder(Envelope[Message]).decode


class State(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The state before a step of a recorded episode, and the value that the critic gave it."""

    episode: int
    step: int
    value: float


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a state: the *rewards* from there on, and whether the *limit* cut them short.

    *value* is what the critic, asked again, gives the state, *next_value* what it gives the one
    after the first step, or to having left; None if its reply could not be read.
    """

    value: float | None
    next_value: float | None
    rewards: tuple[float, ...]
    limit: bool

    def discounted(self, discount: float) -> float:
        """Return the return G = Σ γᵏ·rₖ."""
        return fsum(reward * discount**k for k, reward in enumerate(self.rewards))

    def target(self, discount: float) -> float | None:
        """Return r + γ·V(s′), what the critic makes of one step; None without V(s′)."""
        return None if self.next_value is None else self.rewards[0] + discount * self.next_value


def valued_states(recorded: RecordedRun) -> list[State]:
    """Return the states that the critic valued and a step follows, of whole episodes, in order.

    Of a fork those after its point: what comes before it was its parent's.
    """
    found: list[State] = []
    kinds = (UserResponded, StateValued, EpisodeFailed)
    for episode, envelopes in read_episodes(recorded.directory.trace, kinds):
        messages = [envelope.message for envelope in envelopes]
        if not any(isinstance(m, EpisodeFailed) for m in messages):
            steps = {m.step for m in messages if isinstance(m, UserResponded)}
            values = (m for m in messages if isinstance(m, StateValued) and m.state in steps)
            found += [State(episode=episode, step=m.state, value=m.value) for m in values]
    course = recorded.course
    after = course.fork_point if course.forks() else (-1, 0)
    return sorted(state for state in found if (state.episode, state.step) > after)


@dataclass(frozen=True)
class Origin:
    """A state with what it takes to play on from it; *past* are the lines of what led to it."""

    state: State
    excerpt: Excerpt
    past: bytes


def origins(recorded: RecordedRun, states: Iterable[State]) -> list[Origin]:
    """Return what it takes to play on from *states*."""
    chosen = sorted(states)
    lines = _episodes(recorded, {state.episode for state in chosen})
    started = {episode: _start(recorded, lines[episode]) for episode in lines}
    # The last of them saw what all others saw.
    last = chosen[-1].episode
    longest = excerpt_of(recorded, last, started[last])
    return [
        Origin(
            state,
            _shortened(longest, state.episode, started[state.episode]),
            before_step(lines[state.episode], state.step),
        )
        for state in chosen
    ]


def _episodes(recorded: RecordedRun, wanted: set[int]) -> dict[int, bytes]:
    """Return the lines of the episodes that are *wanted*."""
    found: dict[bytes, list[bytes]] = {opening(episode): [] for episode in wanted}
    for _, line in read_lines(recorded.directory.trace):
        if (lines := found.get(opening_of(line))) is not None:
            lines.append(line + b"\n")
    return {episode: b"".join(found[opening(episode)]) for episode in wanted}


def _start(recorded: RecordedRun, lines: bytes) -> EpisodeStarted:
    started = _decode(lines[: lines.index(b"\n")]).message
    if not isinstance(started, EpisodeStarted):
        path = recorded.directory.trace
        raise TraceError(f"{path}: episode {episode_of(lines)} does not begin with EpisodeStarted")
    return started


def _shortened(excerpt: Excerpt, episode: int, started: EpisodeStarted) -> Excerpt:
    """Return *excerpt* for an earlier episode, which *started* so."""
    lengths = {seen.memory: seen.length for seen in started.memories}
    for name in excerpt.logs.keys() - lengths.keys():
        raise TraceError(f"episode {episode}: EpisodeStarted does not tell of the memory {name!r}")
    logs = {name: Prefix(log, lengths[name]) for name, log in excerpt.logs.items()}
    return Excerpt(Visit.of(started), episode, logs)


def rollout_seed(seed: int, state: State, number: int) -> int:
    """Return the seed of rollout *number* from a state: 48 bits; no two share theirs."""
    return chance(seed, state.episode, 0, state.step, f"rollout {number}").integer(1 << 48)


@dataclass(eq=False)
class Player:
    """Plays on from states of a *recorded* run; *model* answers what is not recorded.

    *config* is that of the calls that are made now. *usage* counts them, *keep* is told of replies.
    """

    recorded: RecordedRun
    config: RunConfig
    model: ChatModel
    embedder: Embedder
    usage: Usage = field(default_factory=Usage)
    keep: Keep = lambda _, __: None
    handlers: Sequence[Subscription] = field(init=False)

    def __post_init__(self) -> None:
        self.handlers = subscriptions(self.recorded.course, self.recorded.environment)

    async def roll(self, origin: Origin, seed: int) -> Rollout | None:
        """Return what comes of a state under *seed*; None if the episode failed."""
        lines = await self.play(origin, seed)
        critic = self.config.cast.critic
        own = self.config.roles[critic.name] if critic is not None else None
        return read_rollout(lines, origin.state.step, left=getattr(own, "left", 0.0))

    async def play(self, origin: Origin, seed: int) -> bytes:
        """Return the lines of the episode, with nobody at work but those who are needed.

        Raises DivergenceError if the past does not come out as it is recorded.
        """
        step, own = origin.state.step, self.recorded.course.config.seed
        written = _Written(origin)
        assembly = assemble(
            self.recorded.course,
            self.recorded.environment,
            answer=self._answer(step, seed),
            embed=self.embedder.embed,
            excerpt=replace(origin.excerpt, seeds=lambda at, _: own if at < step else seed),
            subscribed=self._needed(step),
        )
        assembly.bus.write_to(written)
        await assembly.run()
        return written.lines

    def _needed(self, step: int) -> list[Subscription]:
        """Return the handlers that it takes to play on from the state before *step*."""
        critic = self.recorded.course.config.cast.critic
        valuing = critic.handlers if critic is not None else ()
        return [
            (types, partial(_judging, handler, step) if name in valuing else handler, name)
            for types, handler, name in self.handlers
            if types not in {EpisodeEnded, EpisodeSettled}
        ]

    def _answer(
        self, step: int, seed: int
    ) -> Callable[[Call, Prompt], Awaitable[ModelReplied | ModelFailed]]:
        course, ends = self.recorded.course, self.recorded.recording
        past = Access(
            model=NoModel(),
            sampling=samplings(course),
            seed=course.config.seed,
            recorded=Forked(ends, before=lambda _: True),
        )
        now = Access(
            model=self.model,
            sampling=samplings(Course((Stage(BEGINNING, self.config),))),
            seed=seed,
            # Nothing that is recorded asks the same, unless the seed is the run's own.
            recorded=Forked(ends, before=lambda _: False),
            usage=self.usage,
            keep=self.keep,
        )

        async def answer(call: Call, prompt: Prompt) -> ModelReplied | ModelFailed:
            return await (past if call.step < step else now).answer(call, prompt)

        return answer


@dataclass(eq=False)
class _Written:
    """Takes the lines of the one episode that is played, and looks at its past."""

    origin: Origin
    lines: bytes = b""

    def write(self, lines: bytes) -> None:
        """Take lines; raises DivergenceError for another past than the recorded one."""
        if episode_of(lines) is None:
            return
        if not lines.startswith(self.origin.past):
            state = self.origin.state
            raise DivergenceError(
                f"what led to {place((state.episode, state.step))} does not come out as recorded",
                hint="code or data changed since; billp replay shows where",
            )
        self.lines = lines


async def _judging(handler: Handler[Trajectory], step: int, delivery: Delivery[Any]) -> None:
    """Hand on what leads to the state before *step*, or to the one after it."""
    message = delivery.message
    state = message.step + 1 if isinstance(message, UserResponded) else 0
    if state in {step, step + 1}:
        await handler(delivery)


def read_rollout(lines: bytes, step: int, *, left: float = 0.0) -> Rollout | None:
    """Return what came of the state before *step* in an episode; None if the episode failed.

    *left* is the value that the critic gives to having left.
    """
    messages = [_decode(line).message for line in lines.splitlines()]
    if any(isinstance(message, EpisodeFailed) for message in messages):
        return None
    values = {m.state: m.value for m in messages if isinstance(m, StateValued)}
    responses = [m for m in messages if isinstance(m, UserResponded) and m.step >= step]
    gone = responses[0].left
    return Rollout(
        value=values.get(step),
        next_value=left if gone else values.get(step + 1),
        rewards=tuple(response.reward for response in responses),
        limit=_cut(messages),
    )


def _cut(messages: Sequence[Message]) -> bool:
    return any(isinstance(m, EpisodeEnded) and m.reason == "limit" for m in messages)
