"""An episode of a recorded run alone: up to a split as it is recorded, from there on drawn anew.

Before the split its calls are answered from the journal and its chance is the run's. After it the
calls and the agents' chance are of another seed; that of the user (how long one dwells, the luck of
leaving) stays the run's: whoever is to blame, it is not the weather. The same seed after two splits
makes common random numbers of all that both have left to draw.

Nobody is at work but those whom the user waits for: nothing else can change what the user does.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, NamedTuple, TypeAlias

import msgspec

from agents.embeddings import Embedder
from agents.models.access import Access, Keep, Usage
from agents.models.model import ChatModel, ChatReply, ChatRequest, Prompt
from agents.models.recorded import Forked, NoModel
from agents.trajectory import Delivery, Trajectory
from engine.calls import Call
from engine.delivery import Handler
from engine.errors import DivergenceError
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    Message,
    ModelFailed,
    ModelReplied,
    PlanMade,
    UserResponded,
)
from engine.records import Log
from sim.config.run import RunConfig
from sim.config.stages import BEGINNING, Course, Stage
from sim.runs.assembly import Excerpt, Subscription, assemble, subscriptions
from sim.runs.excerpts import Without
from sim.runs.loop import first_error
from sim.runs.models import samplings
from sim.runs.recorded import RecordedRun
from sim.runs.replay import EnoughError
from sim.world.users import of_world
from storage.traces import episode_of

_decode = msgspec.json.Decoder(Envelope[Message]).decode


class Split(NamedTuple):
    """Where an episode goes its own way: before a *step*, or *after* the thought of that step."""

    step: float
    after: bool = False


FIRST, NEVER = Split(0), Split(inf)
"""Before all steps, and after them."""


class Arm(NamedTuple):
    """A way to play an episode: anew from a *split* on, *without* a record (memory, position)."""

    split: Split
    without: tuple[str, int] | None = None


class Outcome(NamedTuple):
    """What came of a play: the sum of its rewards, None if it failed; and what was asked for it."""

    reward: float | None
    calls: int
    tokens: int


UNKNOWN = Outcome(None, 0, 0)
"""What is known of a play that was not made."""


@dataclass(eq=False)
class Replayer:
    """Plays one episode, *excerpt*, of a *recorded* run; *model* answers what is drawn anew.

    *config* is that of the calls that are made now; *keep* is told of their replies.
    """

    recorded: RecordedRun
    excerpt: Excerpt
    config: RunConfig
    model: ChatModel
    embedder: Embedder
    keep: Keep = lambda _, __: None
    _cast: dict[tuple[str, int] | None, Sequence[Subscription]] = field(default_factory=dict)

    async def play(self, arm: Arm, seed: int) -> Outcome:
        """Return what comes of an *arm* under *seed*.

        Raises DivergenceError if what comes before its split asks another thing than is recorded.
        """
        usage = Usage()
        turn = _Turn(arm.split, self._own, seed)
        messages = await self._played(arm, turn, self._answers(turn, self.model, usage))
        return Outcome(reward_of(messages), usage.live, usage.tokens)

    async def check(self, steps: Sequence[tuple[int, float]]) -> None:
        """Play the episode as it is recorded; raises DivergenceError unless *steps* come of it."""
        turn = _Turn(NEVER, self._own, self._own)
        found = await self._played(Arm(NEVER), turn, self._answers(turn, NoModel(), Usage()))
        if steps_of(found) != list(steps):
            raise DivergenceError(
                f"episode {self.excerpt.number} does not come out as it is recorded",
                hint="code or data changed since; billp replay shows where",
            )

    async def parting(self, without: tuple[str, int], steps: Sequence[tuple[int, float]]) -> Split:
        """Return where the episode first asks another thing *without* a record; NEVER if nowhere.

        Nobody is called. If it asks the same, and yet not the same *steps* come of it, it parts at
        the beginning.
        """
        turn = _Turn(NEVER, self._own, self._own)
        first = _First(turn)
        own = self._access(self.recorded.course, first, self._own, Usage())
        try:
            messages = await self._played(Arm(NEVER, without), turn, own.answer)
        except (BaseExceptionGroup, EnoughError) as raised:
            if not isinstance(first_error(raised), EnoughError):
                raise
            return first.found
        return NEVER if steps_of(messages) == list(steps) else FIRST

    @property
    def _own(self) -> int:
        return self.recorded.course.config.seed

    async def _played(self, arm: Arm, turn: "_Turn", answer: "_Answer") -> list[Message]:
        written = _Written()
        assembly = assemble(
            self.recorded.course,
            self.recorded.environment,
            answer=answer,
            embed=self.embedder.embed,
            excerpt=replace(self.excerpt, logs=self._logs(arm), seeds=turn.seed_at),
            subscribed=[(types, turn.heard(one), name) for types, one, name in self._needed(arm)],
        )
        assembly.bus.write_to(written)
        await assembly.run()
        return written.messages()

    def _logs(self, arm: Arm) -> Mapping[str, Log]:
        logs = self.excerpt.logs
        if arm.without is None:
            return logs
        name, position = arm.without
        return {**logs, name: Without(logs[name], position)}

    def _needed(self, arm: Arm) -> Sequence[Subscription]:
        """Return the handlers that the user waits for: of each log its own, as they learn of it."""
        if arm.without not in self._cast:
            course = self.recorded.course
            critic = course.config.cast.critic
            aside = critic.handlers if critic is not None else ()
            self._cast[arm.without] = [
                (types, handler, name)
                for types, handler, name in subscriptions(course, self.recorded.environment)
                if types not in {EpisodeEnded, EpisodeSettled} and name not in aside
            ]
        return self._cast[arm.without]

    def _answers(self, turn: "_Turn", model: ChatModel, usage: Usage) -> "_Answer":
        past = self._access(self.recorded.course, NoModel(), self._own, Usage(), past=True)
        now = self._access(self._course, model, turn.seed, usage)

        async def answer(call: Call, prompt: Prompt) -> ModelReplied | ModelFailed:
            return await (now if turn.is_now(call.step) else past).answer(call, prompt)

        return answer

    @cached_property
    def _course(self) -> Course:
        """The course by which calls are made now."""
        course = self.recorded.course
        changed = course.config.differences(self.config)
        return Course((Stage(BEGINNING, self.config),)) if changed else course

    def _access(
        self, course: Course, model: ChatModel, seed: int, usage: Usage, *, past: bool = False
    ) -> Access:
        return Access(
            model=model,
            sampling=samplings(course),
            seed=seed,
            recorded=Forked(self.recorded.recording, before=lambda _: past),
            usage=usage,
            keep=self.keep,
        )


_Answer: TypeAlias = Callable[[Call, Prompt], Awaitable[ModelReplied | ModelFailed]]


@dataclass(eq=False)
class _Turn:
    """Knows what of a play comes after its *split*; before it holds the seed *own*."""

    split: Split
    own: int
    seed: int
    thought: int = -1

    def is_now(self, step: int) -> bool:
        """Tell whether what is asked for a *step* now comes after the split."""
        if step != self.split.step:
            return step > self.split.step
        return not self.split.after or self.thought >= step

    def seed_at(self, step: int, purpose: str) -> int:
        """Return the seed of the chance at a *step* for a *purpose*."""
        return self.seed if self.is_now(step) and not of_world(purpose) else self.own

    def heard(self, handler: Handler[Trajectory]) -> Handler[Trajectory]:
        """Return *handler*; before it hears of a thought, it is noted that there is one."""

        async def hear(delivery: Delivery[Any]) -> None:
            if isinstance(delivery.message, PlanMade):
                self.thought = delivery.message.step
            await handler(delivery)

        return hear


@dataclass(eq=False)
class _First:
    """Notes where the first call is made that is not recorded, and ends the play there."""

    turn: _Turn
    found: Split = NEVER

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Raise EnoughError."""
        step = request.call.step
        self.found = min(self.found, Split(step, self.turn.thought >= step))
        raise EnoughError("played as far as the journal goes")


@dataclass(eq=False)
class _Written:
    """Takes the lines of the one episode that is played."""

    lines: bytes = b""

    def write(self, lines: bytes) -> None:
        """Take lines."""
        if episode_of(lines) is not None:
            self.lines = lines

    def messages(self) -> list[Message]:
        """Return the messages of the episode."""
        return [_decode(line).message for line in self.lines.splitlines()]


def reward_of(messages: Sequence[Message]) -> float | None:
    """Return the sum of an episode's rewards; None if it failed."""
    if any(isinstance(message, EpisodeFailed) for message in messages):
        return None
    return next((m.reward for m in messages if isinstance(m, EpisodeEnded)), None)


def steps_of(messages: Sequence[Message]) -> list[tuple[int, float]]:
    """Return the items of an episode with the rewards they had, in order."""
    items = [m.item for m in messages if isinstance(m, ActionTaken)]
    rewards = [m.reward for m in messages if isinstance(m, UserResponded)]
    return list(zip(items, rewards, strict=True))
