"""An episode: what a delivery offers, what a handler sees, and how an episode comes to its end."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.calls import Call
from engine.chance import chance
from engine.errors import CallFailedError
from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    HandlerFailed,
    MemoryWritten,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    ReflectionWritten,
    StateValued,
    UserResponded,
)
from engine.scheduler import Bounds
from tests.support.kernel import (
    ENDED,
    KEY,
    NOTES,
    Delivery,
    Kernel,
    Note,
    Question,
    Trace,
    end,
    names,
    only,
    replied,
    visits,
)


async def request_plan(delivery: Delivery[Any]) -> None:
    delivery.publish(PlanRequested(step=0))


async def plan(delivery: Delivery[PlanRequested]) -> None:
    delivery.publish(PlanMade(step=0, thought="go"))


async def remember(delivery: Delivery[EpisodeSettled]) -> None:
    delivery.remember(NOTES, [(KEY, Note(text="one")), (KEY, Note(text="two"))])


async def out_of_paper(delivery: Delivery[Any]) -> None:
    raise CallFailedError("no paper", kind="paper")


async def refuse(call: Call, question: Question) -> ModelReplied | ModelFailed:
    """Reply to the actor; fail everybody else."""
    if call.role == "actor":
        return replied(call, question.text)
    return ModelFailed(
        step=call.step, role=call.role, occurrence=call.occurrence, request="", error="timeout"
    )


async def pause(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def ends(trace: Trace) -> list[str]:
    """Return why episodes failed."""
    return [failed.why for failed in only(trace, EpisodeFailed)]


def planned() -> Kernel:
    """Return a kernel with a chain EpisodeStarted → PlanRequested → PlanMade → EpisodeEnded."""
    kernel = Kernel(visits(10)).on(EpisodeStarted, request_plan).on(PlanRequested, plan)
    return kernel.on(PlanMade, end)


# -- deliveries


def test_the_cause_of_a_message_is_implied() -> None:
    """It is the message that the handler was given; the kernel's own come from the start."""
    trace = planned().run()[1:-1]
    story = "EpisodeStarted PlanRequested PlanMade EpisodeEnded EpisodeSettled"
    assert names(trace) == story.split()
    assert [envelope.cause for envelope in trace] == [None, 0, 1, 2, 0]


def test_time_is_the_causes_time_and_a_stated_delay() -> None:
    """Never now: a message without a delay stands at the time of its cause."""

    async def respond(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(UserResponded(step=0, reward=3.0, left=True), after=250)
        delivery.publish(PlanRequested(step=0))
        await pause(5)
        delivery.publish(PlanRequested(step=1), after=20)

    kernel = Kernel(visits(10)).on(EpisodeStarted, respond).on(UserResponded, end)
    assert [envelope.time for envelope in kernel.run()[1:-1]] == [10, 260, 260, 10, 30, 260]


def test_settling_stands_at_the_largest_time() -> None:
    async def twice(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PlanRequested(step=0), after=900)
        delivery.publish(ENDED, after=5)

    trace = Kernel(visits(100)).on(EpisodeStarted, twice).run()
    assert [e.time for e in trace if isinstance(e.message, EpisodeSettled)] == [1_000]


@pytest.mark.parametrize("pauses", [0, 5])
def test_a_handler_sees_the_causes_above_its_message_only(pauses: int) -> None:
    """A fast handler beside the main line can influence nothing but what it publishes."""
    seen: list[list[str]] = []

    async def look(delivery: Delivery[PlanMade]) -> None:
        await pause(pauses)
        seen.append([type(message).__name__ for message in delivery.trajectory])
        await end(delivery)

    async def value(delivery: Delivery[Any]) -> None:
        delivery.publish(StateValued(state=0, value=1.0))

    kernel = Kernel().on(EpisodeStarted | PlanRequested, value).on(EpisodeStarted, request_plan)
    kernel.on(PlanRequested, plan).on(PlanMade, look).run()
    assert seen == [["EpisodeStarted", "PlanRequested", "PlanMade"]]


def test_settled_shows_the_trajectory_of_the_end() -> None:
    seen: list[list[str]] = []

    async def look(delivery: Delivery[EpisodeSettled]) -> None:
        seen.append([type(message).__name__ for message in delivery.trajectory])

    planned().on(EpisodeSettled, look).run()
    assert seen == [["EpisodeStarted", "PlanRequested", "PlanMade", "EpisodeEnded"]]


@pytest.mark.parametrize("pauses", [0, 1, 2, 10])
def test_the_whole_episode_is_the_same_whenever_one_looks(pauses: int) -> None:
    """Under `EpisodeSettled` handlers run at once: what the others publish is not to be seen."""
    seen: list[list[str]] = []

    async def write(delivery: Delivery[EpisodeSettled]) -> None:
        delivery.remember(NOTES, [(await delivery.embed(["key"]), Note(text="one"))])
        delivery.publish(ReflectionWritten(text="well"))

    async def look(delivery: Delivery[EpisodeSettled]) -> None:
        await pause(pauses)
        seen.append([type(message).__name__ for message in delivery.episode])

    planned().on(EpisodeSettled, write).on(EpisodeSettled, look).run()
    story = "EpisodeStarted PlanRequested PlanMade EpisodeEnded EpisodeSettled"
    assert seen == [story.split()]


def test_the_whole_episode_is_in_canonical_order() -> None:
    """A fast critic that subscribed last stands after the slow one that subscribed first."""
    seen: list[float] = []

    async def slow(delivery: Delivery[EpisodeStarted]) -> None:
        await pause(5)
        delivery.publish(StateValued(state=0, value=1.0))

    async def fast(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(StateValued(state=0, value=2.0))

    async def look(delivery: Delivery[EpisodeSettled]) -> None:
        seen.extend(m.value for m in delivery.episode if isinstance(m, StateValued))

    kernel = Kernel().on(EpisodeStarted, slow).on(EpisodeStarted, fast).on(EpisodeStarted, end)
    kernel.on(EpisodeSettled, look).run()
    assert seen == [1.0, 2.0]


def test_a_stream_is_named_by_user_session_step_and_purpose() -> None:
    drawn: list[int] = []

    async def draw(delivery: Delivery[EpisodeStarted]) -> None:
        drawn.extend(delivery.chance(purpose, step).word() for purpose, step in streams)
        await end(delivery)

    streams = [("dwell", 0), ("dwell", 1), ("mood", 0)]
    Kernel(visits(0, 0)).on(EpisodeStarted, draw).run()
    expected = [
        chance(0, user, 0, step, purpose).word() for user in range(2) for purpose, step in streams
    ]
    assert drawn == expected


# -- asking


def test_a_call_is_identified_by_its_place() -> None:
    """Identical questions are different calls, counted for each role and step."""
    calls: list[Call] = []

    async def note(call: Call, question: Question) -> ModelReplied:
        calls.append(call)
        return replied(call, "yes")

    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        for step in (0, 0, 1):
            await delivery.ask(Question("actor", step))
        await delivery.ask(Question("critic"))
        await end(delivery)

    Kernel(visits(0, 0), note).on(EpisodeStarted, ask).run()
    assert sorted((call.step, call.role, call.occurrence) for call in calls if call.user == 1) == [
        (0, "actor", 0),
        (0, "actor", 1),
        (0, "critic", 0),
        (1, "actor", 0),
    ]
    assert {(call.episode, call.user, call.session) for call in calls} == {(0, 0, 0), (1, 1, 0)}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_gathered_replies_stand_in_the_order_of_asking(order: tuple[int, ...]) -> None:
    """Identity and place are taken when asked, whichever reply comes first."""
    answered: list[str] = []

    async def late(call: Call, question: Question) -> ModelReplied:
        await pause(4 * order[call.occurrence])
        answered.append(question.text)
        return replied(call, question.text)

    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        asked = [delivery.ask(Question("actor", text=text)) for text in "abc"]
        texts = [reply.text for reply in await asyncio.gather(*asked)]
        delivery.publish(ReflectionWritten(text="".join(texts)))
        await end(delivery)

    trace = Kernel(answer=late).on(EpisodeStarted, ask).run()
    assert [(reply.text, reply.occurrence) for reply in only(trace, ModelReplied)] == [
        *(("a", 0), ("b", 1), ("c", 2))
    ]
    assert [message.text for message in only(trace, ReflectionWritten)] == ["abc"]
    assert [order["abc".index(text)] for text in answered] == [0, 1, 2]


def test_an_episode_is_not_quiet_while_a_call_is_under_way() -> None:
    """Even if nobody waits for the reply any more."""

    async def late(call: Call, question: Question) -> ModelReplied:
        await pause(20)
        return replied(call, "late")

    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.ask(Question("actor"))
        await end(delivery)

    trace = Kernel(answer=late).on(EpisodeStarted, ask).run()
    expected = ["EpisodeStarted", "ModelReplied", "EpisodeEnded", "EpisodeSettled"]
    assert names(trace)[1:-1] == expected


def test_a_reply_can_be_handled() -> None:
    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        await delivery.ask(Question("actor", text="so"))

    async def hear(delivery: Delivery[ModelReplied]) -> None:
        delivery.publish(ReflectionWritten(text=delivery.message.text))
        await end(delivery)

    trace = Kernel().on(EpisodeStarted, ask).on(ModelReplied, hear).run()
    assert [message.text for message in only(trace, ReflectionWritten)] == ["so"]


# -- failure


def test_a_handler_that_raises_fails_its_episode() -> None:
    trace = Kernel().on(EpisodeStarted, end).on(EpisodeEnded, out_of_paper).run()
    expected = ["EpisodeStarted", "EpisodeEnded", "HandlerFailed", "EpisodeFailed"]
    assert names(trace)[1:-1] == expected
    failed = HandlerFailed(handler="out_of_paper", error="CallFailedError")
    assert only(trace, HandlerFailed) == [failed]
    assert ends(trace) == ["out_of_paper raised CallFailedError"]


def test_a_failure_cancels_nothing() -> None:
    """The others run until all is quiet, or real time would decide what is in the trace."""

    async def slow(delivery: Delivery[EpisodeStarted]) -> None:
        await pause(10)
        delivery.publish(StateValued(state=0, value=1.0))
        await end(delivery)

    kernel = Kernel().on(EpisodeStarted, out_of_paper).on(EpisodeStarted, slow)
    story = "EpisodeStarted HandlerFailed StateValued EpisodeEnded EpisodeFailed"
    assert names(kernel.run())[1:-1] == story.split()


def test_a_failure_stands_behind_what_its_handler_published() -> None:
    async def fail(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(PlanRequested(step=0))
        await out_of_paper(delivery)

    trace = Kernel().on(EpisodeStarted, fail).on(EpisodeStarted, end).run()
    assert names(trace)[2:5] == ["PlanRequested", "HandlerFailed", "EpisodeEnded"]


@pytest.mark.parametrize("slow", [0, 1])
def test_the_first_failure_in_canonical_order_is_the_reason(slow: int) -> None:
    async def first(delivery: Delivery[EpisodeStarted]) -> None:
        await pause(10 * slow)
        await out_of_paper(delivery)

    async def second(delivery: Delivery[EpisodeStarted]) -> None:
        await pause(10 * (1 - slow))
        await out_of_paper(delivery)

    trace = Kernel().on(EpisodeStarted, first).on(EpisodeStarted, second).run()
    assert [why.rpartition(".")[2] for why in ends(trace)] == ["first raised CallFailedError"]


def test_an_error_of_a_foreign_kind_is_logged_with_its_traceback() -> None:
    """Ours say it in a sentence; another one is a bug that somebody has to find."""

    async def bug(delivery: Delivery[EpisodeStarted]) -> None:
        raise KeyError("title")

    with capture_logs() as logs:
        Kernel().on(EpisodeStarted, bug).on(EpisodeStarted, out_of_paper).run()
    assert [log["handler"].split(".")[-1] for log in logs] == ["bug", "out_of_paper"]
    first, second = logs
    assert first["exception"].endswith("KeyError: 'title'")
    assert "exception" not in second


def test_a_failed_call_stands_in_the_trace_and_is_raised_where_it_was_asked() -> None:
    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        with pytest.raises(CallFailedError, match="critic's call at step 4 failed: timeout"):
            await delivery.ask(Question("critic", 4))
        await delivery.ask(Question("critic", 5))

    trace = Kernel(answer=refuse).on(EpisodeStarted, ask).on(EpisodeStarted, end).run()
    assert [(failed.step, failed.error) for failed in only(trace, ModelFailed)] == [
        *((4, "timeout"), (5, "timeout"))
    ]
    assert [failed.error for failed in only(trace, HandlerFailed)] == ["CallFailedError"]


def test_a_failed_call_spares_what_was_gathered_with_it() -> None:
    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        await asyncio.gather(delivery.ask(Question("critic")), delivery.ask(Question("actor")))

    trace = Kernel(answer=refuse).on(EpisodeStarted, ask).on(EpisodeStarted, end).run()
    assert names(trace)[2:5] == ["ModelFailed", "ModelReplied", "HandlerFailed"]


def test_other_episodes_go_on() -> None:
    async def fail_first(delivery: Delivery[EpisodeStarted]) -> None:
        if delivery.message.user == 0:
            await out_of_paper(delivery)

    kernel = Kernel(visits(0, 0)).on(EpisodeStarted, fail_first).on(EpisodeStarted, end)
    trace = kernel.run()
    assert [e.episode for e in trace if isinstance(e.message, EpisodeSettled)] == [1]
    assert (trace[-1].message.episodes, trace[-1].message.failed) == (2, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize("subscribed", [True, False])
def test_quiet_without_an_end_means_that_nobody_answered(subscribed: bool) -> None:
    kernel = Kernel()
    trace = (kernel.on(EpisodeStarted, request_plan) if subscribed else kernel).run()
    assert ends(trace) == ["nobody answered"]
    assert "EpisodeSettled" not in names(trace)


def test_an_episode_ends_once() -> None:
    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeStarted, end)
    assert ends(kernel.run()) == ["ended more than once"]


def test_an_episode_does_not_end_again_when_it_is_settled() -> None:
    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeSettled, end).on(EpisodeSettled, remember)
    assert ends(kernel.run()) == ["ended more than once"]
    assert kernel.scheduler.progress().failed == 1


@pytest.mark.parametrize("longest", [1, 7])
def test_a_chain_without_end_fails_its_episode(longest: int) -> None:
    async def again(delivery: Delivery[Any]) -> None:
        delivery.publish(PlanRequested(step=0))

    kernel = Kernel(bounds=Bounds(longest_chain=longest))
    trace = kernel.on(EpisodeStarted | PlanRequested, again).on(EpisodeStarted, end).run()
    assert len(only(trace, PlanRequested)) == longest
    assert [failed.error for failed in only(trace, HandlerFailed)] == ["EndlessChainError"]


def test_a_chain_of_questions_without_end_fails_its_episode() -> None:
    async def again(delivery: Delivery[Any]) -> None:
        await delivery.ask(Question("critic", len(delivery.trajectory)))

    kernel = Kernel(bounds=Bounds(longest_chain=7))
    trace = kernel.on(EpisodeStarted | ModelReplied, again).on(EpisodeStarted, end).run()
    assert len(only(trace, ModelReplied)) == 7
    assert [failed.error for failed in only(trace, HandlerFailed)] == ["EndlessChainError"]


def test_a_cancelled_handler_has_failed() -> None:
    async def give_up(delivery: Delivery[EpisodeStarted]) -> None:
        raise asyncio.CancelledError

    trace = Kernel().on(EpisodeStarted, give_up).on(EpisodeStarted, end).run()
    assert [failed.error for failed in only(trace, HandlerFailed)] == ["CancelledError"]


# -- settled


def test_settling_waits_for_the_slowest() -> None:
    async def reflect(delivery: Delivery[EpisodeEnded]) -> None:
        await pause(20)
        delivery.publish(ReflectionWritten(text="late"))

    seen: list[int] = []

    async def look(delivery: Delivery[EpisodeSettled]) -> None:
        seen.append(sum(isinstance(message, ReflectionWritten) for message in delivery.episode))

    kernel = Kernel().on(EpisodeStarted, end).on(EpisodeEnded, reflect).on(EpisodeSettled, look)
    kernel.run()
    assert seen == [1]


def test_what_is_remembered_is_counted_in_the_trace() -> None:
    trace = Kernel().on(EpisodeStarted, end).on(EpisodeSettled, remember).run()
    assert only(trace, MemoryWritten) == [MemoryWritten(memory="notes", count=2)]
    assert names(trace)[-3:-1] == ["EpisodeSettled", "MemoryWritten"]


def test_a_handler_that_fails_after_settling_leaves_nothing_remembered() -> None:
    kernel = Kernel(visits(0, 1)).on(EpisodeStarted, end).on(EpisodeSettled, remember)
    kernel.on(EpisodeSettled, out_of_paper).run()
    assert ends(kernel.trace) == ["out_of_paper raised CallFailedError"] * 2
    assert len(kernel.notes) == 0


def test_a_message_with_a_wrong_number_is_the_fault_of_its_handler() -> None:
    async def act(delivery: Delivery[EpisodeStarted]) -> None:
        delivery.publish(
            ActionTaken(step=0, item=1, title="", words="", grounding="nearest", distance=0.1 + 0.2)
        )

    trace = Kernel().on(EpisodeStarted, act).on(EpisodeStarted, end).run()
    assert [failed.error for failed in only(trace, HandlerFailed)] == ["ValueError"]
    assert "ActionTaken" not in names(trace)


# -- closed


def test_a_closed_episode_waits_for_no_collector() -> None:
    """Millions of them leave nothing behind: who asked, and what led to what, is in no circle."""
    tasks: list[weakref.ref[asyncio.Task[None] | None]] = []

    async def ask(delivery: Delivery[EpisodeStarted]) -> None:
        tasks.append(weakref.ref(asyncio.current_task()))
        await delivery.ask(Question("actor"))
        delivery.publish(ENDED)

    gc.disable()
    try:
        Kernel(visits(0, 0, 0)).on(EpisodeStarted, ask).on(EpisodeSettled, remember).run()
        assert [task() for task in tasks] == [None] * 3
    finally:
        gc.enable()
