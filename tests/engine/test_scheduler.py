"""The scheduler: when an episode may start, what it may see, and that nothing else matters."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
import structlog
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.arrivals import ONCE, Listed, Part, Returns, Visit, arrivals
from engine.calls import Call
from engine.chance import chance
from engine.errors import CallFailedError, ServiceError
from engine.messages import (
    ActionTaken,
    Envelope,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    MemoryLength,
    MemoryWritten,
    Message,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    Rated,
    ReflectionWritten,
    RunEnded,
    StateValued,
    UserResponded,
    number,
)
from engine.scheduler import Bounds
from tests.support.kernel import (
    KEY,
    NOTES,
    Delivery,
    Kernel,
    Note,
    Question,
    Trace,
    decoded,
    end,
    names,
    only,
    opening,
    replied,
    visits,
)

Pace = Callable[[], Awaitable[None]]
"""How long a reply takes in real time."""


# -- a little world with everything that could go wrong if real time were let in


def fate(*name: object) -> int:
    """Return a number that depends on *name* alone."""
    return int.from_bytes(blake2b(repr(name).encode(), digest_size=4).digest(), "little")


async def arrive(delivery: Delivery[EpisodeStarted]) -> None:
    delivery.publish(PlanRequested(step=0), after=delivery.chance("arrive").integer(40))


async def plan(delivery: Delivery[PlanRequested]) -> None:
    notes = delivery.view(NOTES)
    known = "|".join(found.record.payload.text for found in notes.recall(KEY, 3))
    step = delivery.message.step
    reply = await delivery.ask(Question("planner", step, f"{len(notes)} {known}"))
    delivery.publish(PlanMade(step=step, thought=reply.text))


async def act(delivery: Delivery[PlanMade]) -> None:
    step = delivery.message.step
    asked = [delivery.ask(Question("actor", step, f"{delivery.message} {n}")) for n in range(2)]
    first, second = await asyncio.gather(*asked)
    delivery.publish(
        ActionTaken(
            step=step, item=0, title=first.text, words=second.text, grounding="exact", distance=0.0
        )
    )


async def respond(delivery: Delivery[ActionTaken]) -> None:
    step = delivery.message.step
    left = fate(delivery.message.title) % 3 == 0 or step == 3
    dwell = delivery.chance("dwell", step).integer(200)
    delivery.publish(UserResponded(step=step, reward=float(step), left=left), after=dwell)


async def go_on(delivery: Delivery[UserResponded]) -> None:
    step = delivery.message.step + 1
    if delivery.message.left:
        delivery.publish(EpisodeEnded(length=step, reward=float(step), reason="quit"))
    else:
        delivery.publish(PlanRequested(step=step))


async def judge(delivery: Delivery[UserResponded]) -> None:
    step = delivery.message.step
    reply = await delivery.ask(Question("critic", step, repr(delivery.trajectory)))
    delivery.publish(StateValued(state=step, value=number(fate(reply.text) / 7)))


async def reflect(delivery: Delivery[EpisodeEnded]) -> None:
    reply = await delivery.ask(Question("reflector", 0, repr(delivery.trajectory)))
    delivery.publish(ReflectionWritten(text=reply.text))


async def remember(delivery: Delivery[EpisodeSettled]) -> None:
    values = [m.value for m in delivery.episode if isinstance(m, StateValued)]
    texts = [f"{value:g}" for value in values[: fate(values) % 4]]
    key = await delivery.embed(texts)
    delivery.remember(NOTES, [(key, Note(text=text)) for text in texts])


async def conclude(delivery: Delivery[EpisodeSettled]) -> None:
    said = str(len(delivery.episode))
    delivery.publish(ReflectionWritten(text=said), after=fate(said) % 50)


def at_once() -> Awaitable[None]:
    return asyncio.sleep(0)


def shuffled(seed: int) -> Pace:
    """Return a pace that completes calls in an order of its own; most at once, some late."""
    order = random.Random(seed)

    async def pace() -> None:
        for _ in range(int(order.paretovariate(0.9)) % 40):
            await asyncio.sleep(0)

    return pace


async def answer(
    pace: Pace, fails: int, call: Call, question: Question
) -> ModelReplied | ModelFailed:
    """Say what depends on the call alone; fail one call in so many, if any."""
    await pace()
    place = (call.user, call.session, call.step, call.role, call.occurrence)
    if fails and fate("fails", *place) % fails == 0:
        role, occurrence = call.role, call.occurrence
        return ModelFailed(
            step=call.step, role=role, occurrence=occurrence, request="", error="timeout"
        )
    return replied(call, f"{fate('says', *place, question.text)}")


@dataclass(frozen=True)
class World:
    """What decides a trace."""

    seed: int = 0
    users: int = 12
    rule: str = "poisson:5"
    delay: int = 0
    returns: Returns = ONCE
    fails: int = 0

    def kernel(self, pace: Pace = at_once, bounds: Bounds | None = None) -> Kernel:
        visitors = [(user, 0) for user in range(self.users)]
        stream = chance(self.seed, 0, 0, 0, "arrivals")
        kernel = Kernel(
            arrivals([Part(self.rule, visitors)], delay=self.delay, stream=stream),
            partial(answer, pace, self.fails),
            delay=self.delay,
            returns=self.returns,
            bounds=bounds or Bounds(),
        )
        kernel.on(EpisodeStarted, arrive).on(PlanRequested, plan).on(PlanMade, act)
        kernel.on(ActionTaken, respond).on(UserResponded, go_on).on(UserResponded, judge)
        kernel.on(EpisodeEnded, reflect)
        return kernel.on(EpisodeSettled, remember).on(EpisodeSettled, conclude)

    def trace(self, pace: Pace = at_once, bounds: Bounds | None = None) -> bytes:
        kernel = self.kernel(pace, bounds)
        with capture_logs():
            kernel.run()
        return kernel.lines.text


worlds = st.builds(
    World,
    seed=st.integers(0, 10**6),
    users=st.integers(1, 12),
    rule=st.sampled_from(["all", "poisson:2", "poisson:20", "poisson:2000"]),
    delay=st.sampled_from([0, 1, 100, 5_000]),
    returns=st.sampled_from([ONCE, Returns(2, 0, 50), Returns(3, 300, 0), Returns(2, 1, 2_000)]),
    fails=st.sampled_from([0, 0, 60, 12]),
) | st.builds(
    World,
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(["batches:1", "batches:5"]),
    delay=st.sampled_from([0, 100]),
    fails=st.sampled_from([0, 12]),
)
bounds = st.builds(Bounds, running=st.integers(1, 20), unreleased=st.integers(1, 20))


async def ask_critic(delivery: Delivery[EpisodeStarted]) -> None:
    await delivery.ask(Question("critic"))
    await end(delivery)


def spans(trace: Trace) -> list[tuple[EpisodeStarted, int, int, bool]]:
    """Return for each episode its start, its end, what it wrote, and whether it failed."""
    episodes: dict[int, Trace] = {}
    for envelope in trace:
        if envelope.episode is not None:
            episodes.setdefault(envelope.episode, []).append(envelope)
    return [
        (
            only(lines, EpisodeStarted)[0],
            max(line.time for line in lines),
            sum(written.count for written in only(lines, MemoryWritten)),
            bool(only(lines, EpisodeFailed)),
        )
        for _, lines in sorted(episodes.items())
    ]


@settings(max_examples=60, deadline=None)
@given(world=worlds, bounds=bounds, seed=st.integers(0, 10**6))
def test_real_time_and_limits_leave_no_mark(world: World, bounds: Bounds, seed: int) -> None:
    """The trace is the same bytes whatever is done at once and whichever reply comes first."""
    assert world.trace(shuffled(seed), bounds) == world.trace(bounds=Bounds(running=1))


@pytest.mark.parametrize("seed", range(3))
def test_true_latency_leaves_no_mark(seed: int) -> None:
    order = random.Random(seed)
    world = World(seed, delay=300, fails=40)
    hasty = world.trace(lambda: asyncio.sleep(order.uniform(0, 0.002)))
    assert hasty == world.trace()


def test_the_event_loop_leaves_no_mark() -> None:
    world = World(delay=300, fails=40)
    kernel = world.kernel(shuffled(1))
    with capture_logs(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(kernel.running())
    assert kernel.lines.text == world.trace()


def test_the_world_has_all_that_could_go_wrong() -> None:
    """Or the promises above would be easily kept."""
    trace = decoded(World(users=60, delay=100, fails=40, rule="poisson:20").trace())
    seen = {started.memories[0].length for started in only(trace, EpisodeStarted)}
    assert {"ModelFailed", "EpisodeFailed", "EpisodeSettled"} < set(names(trace))
    assert len(seen) > 10


@settings(max_examples=60, deadline=None)
@given(world=worlds, bounds=bounds, seed=st.integers(0, 10**6))
def test_what_an_episode_sees_is_a_function_of_virtual_time(
    world: World, bounds: Bounds, seed: int
) -> None:
    """All that was written by episodes with end + delay < arrival, and nothing else."""
    episodes = spans(decoded(world.trace(shuffled(seed), bounds)))
    for started, *_ in episodes:
        visible = sum(
            count
            for _, end, count, failed in episodes
            if not failed and end + world.delay < started.arrival
        )
        assert started.memories[0].length == visible


@settings(max_examples=30, deadline=None)
@given(world=worlds, seed=st.integers(0, 10**6))
def test_records_stand_in_order_of_visibility_and_episode(world: World, seed: int) -> None:
    kernel = world.kernel(shuffled(seed))
    with capture_logs():
        ends = [end for _, end, *_ in spans(kernel.run())]
    writers = [record.episode for record in kernel.notes.records()]
    assert writers == sorted(writers, key=lambda episode: (ends[episode], episode))


@settings(max_examples=30, deadline=None)
@given(world=worlds, seed=st.integers(0, 10**6))
def test_episodes_are_numbered_by_arrival_user_and_session(world: World, seed: int) -> None:
    starts = only(decoded(world.trace(shuffled(seed))), EpisodeStarted)
    visits = [(started.arrival, started.user, started.session) for started in starts]
    assert visits == sorted(visits)
    assert len(set(visits)) == world.users * world.returns.sessions


@settings(max_examples=30, deadline=None)
@given(world=worlds, seed=st.integers(0, 10**6))
def test_users_return_after_their_gap(world: World, seed: int) -> None:
    """Counted from the end of the session before, failed or not; drawn from the user's stream."""
    episodes = spans(decoded(world.trace(shuffled(seed))))
    ends = {(started.user, started.session): end for started, end, *_ in episodes}
    for started, *_ in episodes:
        if started.session > 0:
            stream = chance(0, started.user, started.session, 0, "return")
            before = ends[started.user, started.session - 1]
            assert started.arrival - before == world.returns.gap(stream)


# -- the lookahead rule


@dataclass
class Meeting:
    """Handlers of the visitors 0, 1, ...: the first waits a while for the second to start."""

    dwell: int = 0
    met: bool = False
    started: set[int] = field(default_factory=set)

    async def arrive(self, delivery: Delivery[EpisodeStarted]) -> None:
        user = delivery.message.user
        first = not self.started
        self.started.add(user)
        if first:
            delivery.publish(PlanRequested(step=0), after=self.dwell)
            for _ in range(50):
                await asyncio.sleep(0)
            self.met = 1 in self.started
        await end(delivery)


@pytest.mark.parametrize(
    ("arrival", "delay", "dwell", "meet"),
    [
        (0, 0, 0, True),
        (1, 0, 0, False),
        (1000, 1000, 0, True),
        (1001, 1000, 0, False),
        (1001, 1000, 1, True),
        (700, 0, 700, True),
        (700, 0, 699, False),
    ],
)
def test_a_visit_starts_when_nothing_visible_can_be_written(
    arrival: int, delay: int, dwell: int, meet: bool
) -> None:
    """That is: when every unclosed episode has clock + delay ≥ arrival."""
    meeting = Meeting(dwell)
    Kernel(visits(0, arrival), delay=delay).on(EpisodeStarted, meeting.arrive).run()
    assert (meeting.met, meeting.started) == (meet, {0, 1})


@pytest.mark.parametrize(("least", "meet"), [(501, True), (500, False), (0, False)])
def test_a_visit_waits_for_users_who_may_return_before_it(least: int, meet: bool) -> None:
    """Also for those who may return at the very same time: the lower user goes first."""
    meeting = Meeting()
    kernel = Kernel(visits(0, 500), delay=10_000, returns=Returns(2, least, 0))
    trace = kernel.on(EpisodeStarted, meeting.arrive).run()
    assert meeting.met == meet
    assert [started.user for started in only(trace, EpisodeStarted)] == (
        [0, 0, 1, 1] if least <= 500 else [0, 1, 0, 1]
    )


def test_the_last_session_is_waited_for_by_nobody() -> None:
    """Who will not return cannot come before anybody."""
    coming = Listed(deque([Visit(0, 0, 1), Visit(500, 1, 1)]))
    meeting = Meeting()
    Kernel(coming, delay=500, returns=Returns(2, 0, 0)).on(EpisodeStarted, meeting.arrive).run()
    assert meeting.met


def test_a_user_who_returns_at_once_goes_before_those_who_come_then() -> None:
    """Visits at the same time are ordered by user and session, known beforehand or not."""
    kernel = Kernel(visits(0, 0), returns=Returns(2, 0, 0)).on(EpisodeStarted, end)
    starts = only(kernel.run(), EpisodeStarted)
    order = [(started.user, started.session) for started in starts]
    assert order == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("running", [1, 64])
@pytest.mark.parametrize(("arrival", "length"), [(1099, 0), (1100, 0), (1101, 1)])
def test_a_record_is_visible_strictly_after_end_and_delay(
    arrival: int, length: int, running: int
) -> None:
    """Also if the episode that wrote it was closed long before, in real time."""

    async def stay(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(EpisodeEnded(length=1, reward=0.0, reason="limit"), after=1_000)

    async def note(delivery: Delivery[EpisodeSettled]) -> None:
        delivery.remember(NOTES, [(KEY, Note(text="seen"))])

    kernel = Kernel(visits(0, arrival), delay=100, bounds=Bounds(running=running))
    kernel.on(EpisodeStarted, stay)
    starts = only(kernel.on(EpisodeSettled, note).run(), EpisodeStarted)
    assert [started.memories[0].length for started in starts] == [0, length]


def test_a_failed_episode_leaves_no_records() -> None:
    """But what others wrote is there, and the run says how many failed."""

    async def fail_second(delivery: Delivery[EpisodeSettled]) -> None:
        delivery.remember(NOTES, [(KEY, Note(text="kept"))])
        if any(isinstance(m, EpisodeStarted) and m.user == 1 for m in delivery.episode):
            raise CallFailedError("late", kind="late")

    kernel = Kernel(visits(0, 0, 0, 9)).on(EpisodeStarted, end).on(EpisodeSettled, fail_second)
    trace = kernel.run()
    assert only(trace, EpisodeStarted)[3].memories[0].length == 2
    assert [record.episode for record in kernel.notes.records()] == [0, 2, 3]
    assert trace[-1].message == RunEnded(episodes=4, failed=1)


# -- limits on resources


@pytest.mark.parametrize("running", [1, 3, 8])
def test_so_many_episodes_run_at_once(running: int) -> None:
    """Never more, and as many as there may be."""
    most: list[int] = []

    async def count(delivery: Delivery[EpisodeStarted]) -> None:
        await shuffled(delivery.message.user)()
        most.append(kernel.scheduler.progress().running)
        await end(delivery)

    kernel = Kernel(visits(*[0] * 20), bounds=Bounds(running=running)).on(EpisodeStarted, count)
    kernel.run()
    assert max(most) == running


@pytest.mark.parametrize("unreleased", [1, 5])
def test_so_many_closed_episodes_wait_to_be_released(unreleased: int) -> None:
    """The first holds all the others; with two running at once one more may be under way."""
    seen: list[tuple[int, int, int]] = []

    async def hold(delivery: Delivery[EpisodeStarted]) -> None:
        if delivery.message.user == 0:
            for _ in range(500):
                await asyncio.sleep(0)
            progress = kernel.scheduler.progress()
            seen.append((progress.started, progress.closed, progress.unreleased))
        await end(delivery)

    kernel = Kernel(visits(*[0] * 20), bounds=Bounds(running=2, unreleased=unreleased))
    trace = kernel.on(EpisodeStarted, hold).run()
    assert seen == [(unreleased + 1, unreleased, unreleased)]
    assert len(only(trace, EpisodeSettled)) == 20


def test_a_slow_follower_holds_the_run() -> None:
    """Not the memory of the machine: no episode starts while so many wait for the follower."""
    ahead: list[int] = []

    async def slow(envelope: Envelope[EpisodeStarted]) -> None:
        await shuffled(envelope.message.user)()
        for _ in range(30):
            await asyncio.sleep(0)
        ahead.append(kernel.scheduler.progress().started - envelope.message.user)

    kernel = Kernel(visits(*[0] * 40), bounds=Bounds(running=2, unreleased=3))
    kernel.bus.follow(EpisodeStarted, slow)
    kernel.on(EpisodeStarted, end).run()
    assert max(ahead) <= 3 + 2
    assert len(ahead) == 40


def test_progress_tells_where_a_run_stands() -> None:
    kernel = World(users=6, fails=12).kernel()
    before = kernel.scheduler.progress()
    with capture_logs():
        trace = kernel.run()
    after = kernel.scheduler.progress()
    assert (before.started, before.running, before.closed, before.failed) == (0, 0, 0, 0)
    assert (after.started, after.running, after.closed, after.unreleased) == (6, 0, 6, 0)
    assert after.failed == len(only(trace, EpisodeFailed)) > 0


def test_an_episode_without_progress_is_reported_with_who_waits() -> None:
    """It is not stopped: real time decides nothing."""

    reported = asyncio.Event()
    logs: list[Any] = []

    def keep(logger: object, method: str, log: Any) -> Any:
        logs.append(log)
        reported.set()
        raise structlog.DropEvent

    async def until_reported(call: Call, question: Question) -> ModelReplied:
        await reported.wait()
        return replied(call, "at last")

    kernel = Kernel(visits(0), until_reported, bounds=Bounds(patience=0.005))
    before = structlog.get_config()
    structlog.configure(processors=[keep])
    try:
        trace = kernel.on(EpisodeStarted, ask_critic).run()
    finally:
        structlog.configure(**before)
    assert (logs[0]["event"], logs[0]["episode"]) == ("episode without progress", 0)
    assert logs[0]["waiting"] == ["ask_critic", "ask_critic → critic"]
    assert "EpisodeSettled" in names(trace)


# -- stopping


def whole(trace: Trace) -> bool:
    """Tell whether *trace* is a head and whole episodes, in order, and nothing else."""
    expected = 0
    for position, envelope in enumerate(trace[1:], start=1):
        last = position + 1 == len(trace) or trace[position + 1].episode != envelope.episode
        if envelope.episode != expected:
            return False
        expected += last
    closing = {e.episode for e in trace if isinstance(e.message, EpisodeSettled | EpisodeFailed)}
    return closing == set(range(expected)) and "RunEnded" not in names(trace)


async def out_of_credit(after: int, calls: list[Call], call: Call, _: Question) -> ModelReplied:
    """Reply to so many calls."""
    calls.append(call)
    await asyncio.sleep(0)
    if len(calls) > after:
        raise ServiceError("no credit")
    return replied(call, "yes")


@pytest.mark.parametrize("after", [0, 7, 40, 80])
def test_a_service_error_stops_the_run(after: int) -> None:
    """Cleanly: the trace holds whole episodes only, and is the beginning of the whole trace."""
    calls: list[Call] = []
    kernel = World(users=12, rule="all").kernel(bounds=Bounds(running=3))
    kernel.scheduler._wiring.answer = partial(out_of_credit, after, calls)
    with pytest.raises(ServiceError, match="no credit"):
        kernel.run()
    undisturbed = World(users=12, rule="all").kernel()
    undisturbed.scheduler._wiring.answer = partial(out_of_credit, 10**6, [])
    undisturbed.run()
    assert whole(kernel.trace)
    assert undisturbed.lines.text.startswith(kernel.lines.text)


def test_a_service_error_stops_the_run_even_if_it_is_caught() -> None:
    async def hush(delivery: Delivery[EpisodeStarted]) -> None:
        with pytest.raises(ServiceError):
            await delivery.ask(Question("critic"))
        await end(delivery)

    kernel = Kernel(answer=partial(out_of_credit, 0, [])).on(EpisodeStarted, hush)
    with pytest.raises(ServiceError):
        kernel.run()
    assert names(kernel.trace) == ["RunStarted"]


def test_a_service_error_on_the_way_to_a_vector_stops_the_run() -> None:
    async def no_credit(delivery: Delivery[EpisodeStarted]) -> None:
        raise ServiceError("no credit for vectors")

    kernel = Kernel().on(EpisodeStarted, no_credit).on(EpisodeStarted, end)
    with pytest.raises(ServiceError, match="for vectors"):
        kernel.run()
    assert names(kernel.trace) == ["RunStarted"]


def test_a_stopped_run_settles_and_fails_nothing_any_more() -> None:
    """Not even what was done, but not yet noted, when it was stopped."""
    settled: list[str] = []

    async def hear(delivery: Delivery[EpisodeStarted]) -> None:
        await end(delivery)
        if delivery.message.user == 1:
            raise CallFailedError("late", kind="late")
        if delivery.message.user == 2:
            kernel.scheduler.stop(ServiceError("no credit"))

    async def settle(delivery: Delivery[EpisodeSettled]) -> None:
        settled.append("too late")

    kernel = Kernel(visits(0, 0, 0)).on(EpisodeStarted, hear).on(EpisodeSettled, settle)
    with capture_logs() as logs, pytest.raises(ServiceError):
        kernel.run()
    assert (names(kernel.trace), settled, logs) == (["RunStarted"], [], [])


def test_what_fails_because_the_run_is_stopped_is_no_failure() -> None:
    """A client that turns cancellation into an error leaves no failed episode."""

    async def turning(call: Call, question: Question) -> ModelReplied | ModelFailed:
        if call.user == 1:
            raise ServiceError("no credit")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            raise CallFailedError("connection lost", kind="connection") from error
        return replied(call, "never")

    kernel = Kernel(visits(0, 0), turning).on(EpisodeStarted, ask_critic)
    with capture_logs() as logs, pytest.raises(ServiceError):
        kernel.run()
    assert (names(kernel.trace), logs) == (["RunStarted"], [])


def test_the_seal_is_set_before_any_task_is_cancelled() -> None:
    happened: list[str] = []

    async def stuck(delivery: Delivery[EpisodeStarted]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cancelled")

    async def main() -> None:
        with pytest.raises(ServiceError):
            await kernel.running()
        happened.append("stopped")

    kernel = Kernel(answer=partial(out_of_credit, 0, []), seal=lambda: happened.append("sealed"))
    kernel.on(EpisodeStarted, stuck).on(EpisodeStarted, ask_critic)
    asyncio.run(main())
    assert happened == ["sealed", "cancelled", "stopped"]


def test_a_cancelled_run_seals_and_cancels_its_tasks() -> None:
    """Ctrl-C is a cancellation."""
    happened: list[str] = []

    async def stuck(delivery: Delivery[EpisodeStarted]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(kernel.running())
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        happened.append("stopped")

    kernel = Kernel(seal=lambda: happened.append("sealed")).on(EpisodeStarted, stuck)
    asyncio.run(main())
    assert happened == ["sealed", "cancelled", "stopped"]


def broken(heard: object) -> None:
    raise RuntimeError("disk full")


def test_an_error_of_an_essential_follower_stops_the_run() -> None:
    def full(envelope: Envelope[Message]) -> None:
        if envelope.episode == 2:
            broken(envelope)

    kernel = World(rule="all").kernel(bounds=Bounds(running=2))
    kernel.bus.follow(EpisodeEnded, full, essential=True)
    with pytest.raises(RuntimeError, match="disk full"):
        kernel.run()
    assert whole(kernel.trace)
    assert {envelope.episode for envelope in kernel.trace} >= {None, 0, 1, 2}


def test_an_error_of_an_ordinary_follower_leaves_no_mark() -> None:
    world = World(delay=100)
    kernel = world.kernel()
    kernel.bus.follow(Message, broken)
    with capture_logs() as logs:
        kernel.run()
    assert kernel.lines.text == world.trace()
    assert [log["event"] for log in logs] == ["follower dropped"]


@pytest.mark.parametrize("episode", [None, 1])
def test_an_error_of_the_trace_writer_stops_the_run(episode: int | None) -> None:
    class Full:
        def write(self, lines: bytes) -> None:
            if decoded(lines)[0].episode == episode:
                broken(lines)

    kernel = Kernel(visits(0, 0, 0)).on(EpisodeStarted, end)
    kernel.bus.write_to(Full())
    with pytest.raises(RuntimeError, match="disk full"):
        kernel.run()


def test_an_unforeseen_error_of_a_reply_stops_the_run() -> None:
    """It is a bug in the way to the model, and no failure of the call."""

    async def bug(call: Call, question: Question) -> ModelReplied:
        raise ZeroDivisionError

    kernel = Kernel(visits(0, 0), bug).on(EpisodeStarted, ask_critic)
    with pytest.raises(ZeroDivisionError):
        kernel.run()
    assert names(kernel.trace) == ["RunStarted"]


def test_an_unforeseen_error_of_the_kernel_stops_the_run() -> None:
    """Such as one in the fold, in the midst of a callback; nothing hangs."""

    def crooked(above: Sequence[Any] | None, message: Message) -> Sequence[Any]:
        if above is not None:
            raise ArithmeticError("cannot fold")
        return (message,)

    async def fail(delivery: Delivery[EpisodeStarted]) -> None:
        raise CallFailedError("late", kind="late")

    kernel = Kernel().on(EpisodeStarted, fail)
    kernel.scheduler._wiring.fold = crooked
    with pytest.raises(ArithmeticError, match="cannot fold"):
        kernel.run()


def test_a_wrong_number_in_a_history_stops_the_run() -> None:
    """What the roof says of a user is checked like what handlers say."""

    def unrounded(visit: Visit, memories: tuple[MemoryLength, ...]) -> EpisodeStarted:
        history = (Rated(item=0, title="", rating=0.1 + 0.2),)
        return msgspec.structs.replace(opening(visit, memories), history=history)

    kernel = Kernel().on(EpisodeStarted, end)
    kernel.scheduler.opening = unrounded
    with pytest.raises(ValueError, match=r"EpisodeStarted\.history\.rating must be rounded"):
        kernel.run()


def test_the_first_error_counts() -> None:
    kernel = Kernel()

    async def stop(delivery: Delivery[EpisodeStarted]) -> None:
        kernel.scheduler.stop(ValueError("first"))
        kernel.scheduler.stop(ValueError("second"))

    with pytest.raises(ValueError, match="first"):
        kernel.on(EpisodeStarted, stop).run()
