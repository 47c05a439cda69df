"""Trying again: what, how often, after how long, and who is told."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from agents.models.guards.retrying import Attempt, Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling, TransientError
from engine.calls import Call
from engine.chance import chance
from engine.errors import CallFailedError, ConfigError, ServiceError

REPLY = ChatReply(text="yes", prompt_tokens=50, completion_tokens=10)


def request(user: int = 0) -> ChatRequest:
    return ChatRequest(
        call=Call(0, user, 0, 3, "actor", 0),
        sampling=Sampling(model="m"),
        messages=(ChatMessage(role="user", content="what next?"),),
        seed=user,
    )


def ill(retry_after: float | None = None, *, kind: str = "server") -> TransientError:
    return TransientError("ill", kind=kind, retry_after=retry_after)


@dataclass
class Script:
    """Gives one outcome after the other, a second apart; time passes only here."""

    outcomes: Sequence[ChatReply | Exception]
    asked: int = 0
    now: float = 0.0
    slept: list[float] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    async def reply(self, asked: ChatRequest) -> ChatReply:
        self.now += 1.0
        self.asked += 1
        outcome = self.outcomes[self.asked - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def ask(self, patience: Patience | None = None, user: int = 0) -> ChatReply:
        retrying = Retrying(
            self,
            patience or Patience(),
            observe=self.attempts.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        return asyncio.run(retrying.reply(request(user)))


def test_first_reply_is_handed_on_as_it_is() -> None:
    assert Script([REPLY]).ask() is REPLY


def test_reply_tells_attempts_and_wait() -> None:
    """The journal's figures: how many attempts, and how long the call was not under way."""
    script = Script([ill(5.0), ill(7.0), REPLY])
    reply = script.ask()
    assert reply.attempts == 3
    assert reply.wait == pytest.approx(sum(script.slept))


def test_what_the_service_asks_for_is_obeyed() -> None:
    """Never earlier than told, and not much later."""
    script = Script([ill(5.0), ill(0.02), REPLY])
    script.ask()
    assert 5.0 <= script.slept[0] <= 5.5
    assert 0.02 <= script.slept[1] <= 0.022


def test_pauses_double_up_to_the_longest() -> None:
    script = Script([ill() for _ in range(8)] + [REPLY])
    script.ask(Patience(first=1.0, longest=16.0))
    bounds = [1, 2, 4, 8, 16, 16, 16, 16]
    assert all(
        bound / 2 <= slept <= bound for slept, bound in zip(script.slept, bounds, strict=True)
    )


def test_jitter_depends_on_the_call_alone() -> None:
    """It has a stream of its own: nobody's numbers shift, and calls do not retry in step."""
    first, again, other = (Script([ill(), ill(), REPLY]) for _ in range(3))
    before = chance(0, 0, 0, 3, "dwell").word()
    for script, user in ((first, 1), (again, 1), (other, 2)):
        script.ask(user=user)
    assert first.slept == again.slept
    assert first.slept != other.slept
    assert chance(0, 0, 0, 3, "dwell").word() == before


def test_gives_up_after_so_many_attempts() -> None:
    script = Script([ill(kind="malformed") for _ in range(3)])
    with pytest.raises(CallFailedError, match="no reply after 3 attempts: ill") as caught:
        script.ask(Patience(attempts=3))
    assert caught.value.kind == "malformed"
    assert len(script.slept) == 2


@pytest.mark.parametrize("kind", ["rate_limit", "server", "timeout"])
def test_a_service_that_says_much_later_stops_the_run(kind: str) -> None:
    """Whatever its reason: it is not waited for, and the call has not failed."""
    script = Script([ill(7_200.0, kind=kind)])
    with pytest.raises(
        ServiceError, match=r"^the service asks to wait for 2 hours: ill$"
    ) as caught:
        script.ask(Patience(total=60.0))
    assert (script.slept, caught.value.hint) == ([], "wait that long")
    assert [one.kind for one in script.attempts] == [kind]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.0, "1 second"),
        (60.0, "60 seconds"),
        (61.0, "2 minutes"),
        (3_601.0, "2 hours"),
        (90_000.0, "2 days"),
        (3e9, "34,723 days"),
    ],
)
def test_how_long_to_wait_is_told_in_words(seconds: float, words: str) -> None:
    with pytest.raises(ServiceError, match=f"asks to wait for {words}: "):
        Script([ill(seconds)]).ask(Patience(total=0.1))


def test_a_service_that_always_says_later_stops_the_run() -> None:
    """Be it without a word how much later: the next call would fare no better."""
    script = Script([ill(kind="rate_limit") for _ in range(3)])
    with pytest.raises(ServiceError, match="said 'later' to 3 attempts at a call: ill"):
        script.ask(Patience(attempts=3))
    assert len(script.slept) == 2


def test_a_call_that_had_other_trouble_fails_alone() -> None:
    """A limit here and there is not why it came to nothing."""
    script = Script([ill(), ill(0.1, kind="rate_limit")])
    with pytest.raises(CallFailedError, match="no reply after 2 attempts"):
        script.ask(Patience(attempts=2))


def test_gives_up_at_once_where_waiting_is_no_use() -> None:
    """Without a word of the service the pause is ours, and it is not waited for."""
    script = Script([ill()])
    with pytest.raises(CallFailedError, match="no reply after 1 attempt: ill"):
        script.ask(Patience(total=0.1))
    assert script.slept == []


# -- a service that is gone


def gone() -> TransientError:
    return TransientError("nobody there", kind="connection", gone=True)


def asked_together(calls: Sequence[Sequence[ChatReply | Exception]]) -> list[object]:
    """Return how calls end that are asked in turn, each with its outcomes, by one Retrying."""
    script = Script([outcome for outcomes in calls for outcome in outcomes])
    retrying = Retrying(script, Patience(attempts=2), clock=lambda: script.now, sleep=script.sleep)

    async def end(user: int) -> object:
        try:
            return await retrying.reply(request(user))
        except (CallFailedError, ServiceError) as error:
            return type(error)

    async def main() -> list[object]:
        return [await end(user) for user in range(len(calls))]

    return asyncio.run(main())


def test_a_service_that_is_gone_stops_the_run() -> None:
    """No call got through since this one failed first, be there replies from before."""
    assert asked_together([[REPLY], [gone(), gone()]]) == [REPLY, ServiceError]


def test_a_service_that_drops_one_call_is_not_gone() -> None:
    """It was there to take it: the call is its trouble, and would stop every resumed run again."""
    dropped = ill(kind="connection")
    assert asked_together([[dropped, dropped], [REPLY]]) == [CallFailedError, REPLY]


def test_a_service_that_answers_others_is_not_gone() -> None:
    """A call got through since this one failed first: the next ones may as well."""
    script = Script([gone(), REPLY, gone()])
    retrying = Retrying(script, Patience(attempts=2), clock=lambda: script.now)

    async def main() -> None:
        first = asyncio.create_task(retrying.reply(request()))
        await asyncio.sleep(0)
        await retrying.reply(request(1))
        with pytest.raises(CallFailedError):
            await first

    asyncio.run(main())


def test_waiting_for_a_slot_costs_no_patience() -> None:
    """A long line at the limiter is nobody's fault."""
    late = ill(1.0)
    late.wait = 10_000.0
    script = Script([late, REPLY])
    assert script.ask(Patience(total=5.0)).wait > 10_000


@pytest.mark.parametrize(
    "error", [ServiceError("no credit"), CallFailedError("too long", kind="too_long")]
)
def test_what_will_not_pass_is_not_tried_again(error: Exception) -> None:
    script = Script([error])
    with pytest.raises(type(error), match=str(error)):
        script.ask()
    assert script.attempts == []


def test_every_attempt_is_told() -> None:
    """The observer gets what the journal wants: number, kind, latency, pause."""
    script = Script([ill(2.0, kind="rate_limit"), ill(3.0, kind="timeout"), REPLY])
    script.ask()
    told = [(one.number, one.kind, one.pause) for one in script.attempts]
    first, second = script.slept
    assert told == [(1, "rate_limit", first), (2, "timeout", second), (3, None, 0.0)]
    assert [one.latency for one in script.attempts] == pytest.approx([1.0, 1.0, 1.0])


def test_what_the_service_said_is_handed_on() -> None:
    """With every attempt, and with the failure of the call: nobody has to guess."""
    script = Script([TransientError("ill", kind="server", said="no json_schema here")] * 2)
    with pytest.raises(CallFailedError) as caught:
        script.ask(Patience(attempts=2))
    said = [caught.value.said, *(attempt.said for attempt in script.attempts)]
    assert said == ["no json_schema here"] * 3


def test_statistics_count_what_failed() -> None:
    script = Script([ill(kind="timeout"), ill(kind="server"), ill(kind="timeout"), REPLY])
    retrying = Retrying(script, Patience(), sleep=script.sleep)
    asyncio.run(retrying.reply(request()))
    statistics = retrying.statistics()
    assert (statistics.attempts, statistics.pausing, statistics.given_up) == (4, 0, 0)
    assert statistics.failed == {"timeout": 2, "server": 1}


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first": -1.0}, {"first": 40.0}, {"total": 0}])
def test_patience_must_make_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        msgspec.convert(wrong, Patience)
