"""Limits in real time, kept against services simulated on a clock of their own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from agents.models.guards.adaptive import Adaptive, Cooldown
from agents.models.guards.limiter import NO_RATES, Limiter, LimiterStatistics, Limits
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Rates, Sampling, TransientError
from agents.models.remote.headers import rates
from agents.models.serving.allowance import Allowance, Quota
from engine.calls import Call
from engine.chance import chance
from engine.errors import ConfigError
from tests.support.virtual import now, virtually


def request(episode: int = 0, *, role: str = "planner", step: int = 0) -> ChatRequest:
    return ChatRequest(
        call=Call(episode, episode, 0, step, role, 0),
        sampling=Sampling(model="m"),
        messages=(ChatMessage(role="user", content="x" * 200),),
        seed=episode,
    )


REPLY = ChatReply(text="yes", prompt_tokens=50, completion_tokens=10)


@dataclass
class Service:
    """Takes *latency* seconds, can do *capacity* calls at once, and keeps a quota."""

    latency: float = 1.0
    capacity: int = 10**9
    quota: Quota = field(default_factory=lambda: Quota(None, None))
    tells: bool = False
    most: int = 0
    replied: list[float] = field(default_factory=list)
    tokens: int = 0
    refused: int = 0
    busy: int = 0
    order: list[ChatRequest] = field(default_factory=list)

    async def reply(self, asked: ChatRequest) -> ChatReply:
        draw = chance(asked.seed, 0, 0, asked.call.step, "tokens").integer(41)
        reply = msgspec.structs.replace(REPLY, completion_tokens=draw + 10)
        tokens = reply.prompt_tokens + reply.completion_tokens
        lack = self.quota.spend(1, tokens, now())
        told = rates(self.quota.headers(now())) if self.tells else None
        if lack or self.busy >= self.capacity:
            self.refused += 1
            wait = lack[1] if lack else None
            raise TransientError("no", kind="rate_limit", retry_after=wait, rates=told)
        self.order.append(asked)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self.latency)
        self.busy -= 1
        self.replied.append(now())
        self.tokens += tokens
        return msgspec.structs.replace(reply, rates=told)


def limited(service: Service, limits: Limits, rates: Mapping[str, Rates] = NO_RATES) -> Limiter:
    return Limiter(service, limits, rates=rates, clock=asyncio.get_running_loop().time)


async def flood(
    service: Service, limits: Limits, rates: Mapping[str, Rates] = NO_RATES, *, seconds: float
) -> LimiterStatistics:
    """Ask as much as the limiter lets through, for so long; nobody waits to retry."""
    limiter = limited(service, limits, rates)
    retrying = Retrying(limiter, Patience(), clock=now)
    calls = iter(range(10**6))

    async def ask() -> None:
        for episode in calls:
            await retrying.reply(request(episode))

    tasks = [asyncio.create_task(ask()) for _ in range(2 * limits.in_flight)]
    await asyncio.sleep(seconds)
    statistics = limiter.statistics()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return statistics


# -- calls in flight


@pytest.mark.parametrize("adaptive", [True, False])
def test_never_more_in_flight_than_allowed(adaptive: bool) -> None:
    """The ceiling is the user's: nothing that is learned goes beyond it."""
    service = Service()
    limits = Limits(in_flight=7, adaptive=adaptive)
    statistics = virtually(lambda: flood(service, limits, seconds=50.5))
    assert service.most == 7
    assert len(service.replied) == 350
    assert statistics.busy_seconds == pytest.approx(7 * 50.5)


def test_oldest_episode_of_the_main_line_first() -> None:
    """Who waits goes by priority, not by when they came."""
    service = Service()

    async def main() -> None:
        limiter = limited(service, Limits(in_flight=1))
        aside = msgspec.structs.replace(request(1, role="critic"), aside=True)
        asked = [request(9), aside, request(5), request(2, step=1), request(2)]
        async with asyncio.TaskGroup() as group:
            for one in asked:
                group.create_task(limiter.reply(one))

    virtually(main)
    order = [(one.call.role, one.call.episode, one.call.step) for one in service.order]
    main_line = [("planner", 9, 0), ("planner", 2, 0), ("planner", 2, 1), ("planner", 5, 0)]
    assert order == [*main_line, ("critic", 1, 0)]


def test_reply_says_how_long_it_waited() -> None:
    async def main() -> list[float]:
        limiter = limited(Service(), Limits(in_flight=1))
        replies = await asyncio.gather(*[limiter.reply(request(n)) for n in range(3)])
        return [reply.wait for reply in replies]

    assert virtually(main) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("moment", [0.5, 1.0])
def test_cancelled_calls_leave_no_slot_taken(moment: float) -> None:
    """A call may be cancelled while it waits, and in the instant in which its turn comes."""

    async def main() -> LimiterStatistics:
        limiter = limited(Service(), Limits(in_flight=1))
        tasks = [asyncio.create_task(limiter.reply(request(n))) for n in range(4)]
        await asyncio.sleep(moment)
        for task in tasks[1:3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return limiter.statistics()

    statistics = virtually(main)
    assert (statistics.in_flight, statistics.waiting) == (0, 0)
    assert statistics.calls in {2, 3}


def test_call_that_waits_to_retry_holds_no_slot() -> None:
    """Retries stand outside the limiter: while one call waits, the others are served."""

    class Once(Service):
        async def reply(self, asked: ChatRequest) -> ChatReply:
            if asked.call.episode == 0 and now() < 30:
                raise TransientError("ill", kind="server", retry_after=60)
            return await super().reply(asked)

    async def main() -> list[float]:
        service = Once()
        retrying = Retrying(limited(service, Limits(in_flight=1)), Patience(), clock=now)
        await asyncio.gather(*[retrying.reply(request(n)) for n in range(4)])
        return service.replied

    replied = virtually(main)
    assert replied[:3] == [1, 2, 3]
    assert 60 < replied[3] < 70


# -- calls and tokens a minute


@pytest.mark.parametrize("tells", [False, True], ids=["silent", "telling"])
@pytest.mark.parametrize(
    ("requests", "tokens"), [(600, None), (None, 40_000), (600, 40_000), (30, None)]
)
@pytest.mark.parametrize("latency", [0.05, 3.0])
def test_quota_is_used_and_kept(
    requests: float | None, tokens: float | None, tells: bool, latency: float
) -> None:
    """At least 95 % of a quota is used over a minute, and less than 1 % of calls are refused."""
    service = Service(latency=latency, quota=Quota(requests, tokens), tells=tells)
    limits = Limits(in_flight=200, requests_per_minute=requests, tokens_per_minute=tokens)
    virtually(lambda: flood(service, limits, seconds=180 + latency))
    used = max(
        len(service.replied) / (requests or float("inf")),
        service.tokens / (tokens or float("inf")),
    )
    assert used / 3 >= 0.95
    assert service.refused < 0.01 * len(service.replied)


@pytest.mark.parametrize(("requests", "tokens"), [(600, None), (None, 40_000), (600, 40_000)])
@pytest.mark.parametrize("latency", [0.05, 0.5, 3.0])
def test_limits_are_learned_from_headers(
    requests: float | None, tokens: float | None, latency: float
) -> None:
    """Without limits of the user's, those that the service tells are used and kept as well.

    Calls that were sent before the first answer count against them.
    """
    service = Service(latency=latency, quota=Quota(requests, tokens), tells=True)
    statistics = virtually(lambda: flood(service, Limits(in_flight=200), seconds=180 + latency))
    assert statistics.requests_per_minute == requests
    assert statistics.tokens_per_minute == tokens
    used = max(
        len(service.replied) / (requests or float("inf")),
        service.tokens / (tokens or float("inf")),
    )
    assert used / 3 >= 0.95
    assert service.refused < 0.01 * len(service.replied)


def test_limits_known_beforehand_hold_from_the_first_call() -> None:
    """A small account is not flooded by the first wave, whatever may be in flight."""
    service = Service(latency=0.5, quota=Quota(30, None), tells=True)
    rates = {"m": Rates(requests=30, requests_left=29)}
    statistics = virtually(lambda: flood(service, Limits(in_flight=64), rates, seconds=180))
    assert statistics.requests_per_minute == 30
    assert len(service.replied) >= 0.95 * 90 - 1
    assert service.refused == 0


def test_nothing_left_holds_the_first_call_back() -> None:
    """Another run may have used the account up."""
    rates = {"m": Rates(requests=60, requests_left=0)}
    service = Service(latency=0.5)
    virtually(lambda: flood(service, Limits(), rates, seconds=0.9))
    assert not service.order
    virtually(lambda: flood(service, Limits(), rates, seconds=1.2))
    assert len(service.order) == 1


@pytest.mark.parametrize("limits", [Limits(), Limits(tokens_per_minute=10**6)], ids=["", "own"])
def test_absurd_limit_of_a_service_stops_nobody(limits: Limits) -> None:
    """A token a minute: whatever was spent, a minute later the next call is tried."""
    service = Service(latency=0.1)
    stated = {"m": Rates(tokens=1.0, tokens_left=0.0)}
    virtually(lambda: flood(service, limits, stated, seconds=650))
    assert 9 <= len(service.replied) <= 12


def test_of_models_with_different_limits_the_lowest_holds() -> None:
    """Until it is raised: what a service says last of a model is what holds for it."""
    limits = {"m": 600.0, "other": 60.0}

    class Stating(Service):
        async def reply(self, asked: ChatRequest) -> ChatReply:
            said = Rates(requests=limits[asked.sampling.model])
            return msgspec.structs.replace(await super().reply(asked), rates=said)

    async def main() -> list[float | None]:
        limiter = limited(Stating(), Limits())
        stated = []
        for model in ("m", "other", "m", "other"):
            sampling = Sampling(model=model)
            await limiter.reply(msgspec.structs.replace(request(), sampling=sampling))
            stated.append(limiter.statistics().requests_per_minute)
            limits["other"] = 60.0 if len(stated) < 3 else 120.0
        return stated

    assert virtually(main) == [600, 60, 60, 120]


def test_lower_limit_in_headers_corrects_the_users() -> None:
    service = Service(latency=0.5, quota=Quota(300, None), tells=True)
    limits = Limits(in_flight=50, requests_per_minute=6_000)
    statistics = virtually(lambda: flood(service, limits, seconds=180))
    assert statistics.requests_per_minute == 300
    assert len(service.replied) >= 0.9 * 900


# -- adapting


def test_finds_what_the_service_can_take() -> None:
    """With room for 20 calls at once, most of the room is used and little is refused."""
    service = Service(capacity=20)
    virtually(lambda: flood(service, Limits(in_flight=200), seconds=600))
    assert len(service.replied) > 0.75 * 20 * 600
    assert service.refused < 0.15 * len(service.replied)


def test_large_ceiling_is_reached_within_seconds() -> None:
    """The limit doubles with every round of calls until it is refused."""
    service = Service()
    statistics = virtually(lambda: flood(service, Limits(in_flight=1_000), seconds=6))
    assert statistics.limit == 1_000


def test_errors_of_a_sick_service_shrink_nothing() -> None:
    class Sick(Service):
        async def reply(self, asked: ChatRequest) -> ChatReply:
            await asyncio.sleep(0.1)
            raise TransientError("ill", kind="server")

    statistics = virtually(lambda: flood(Sick(), Limits(in_flight=32), seconds=60))
    assert statistics.limit == 32
    assert statistics.failed > 0


def test_repeated_retry_after_does_not_freeze() -> None:
    """A service that asks for an hour, time and again, is asked again within a minute."""

    class Sulking(Service):
        async def reply(self, asked: ChatRequest) -> ChatReply:
            if now() < 100:
                raise TransientError("no", kind="rate_limit", retry_after=3_600)
            return await super().reply(asked)

    async def main() -> tuple[Service, LimiterStatistics]:
        service = Sulking()
        limiter = limited(service, Limits(in_flight=16))

        async def ask() -> None:
            while now() < 300:
                try:
                    await limiter.reply(request())
                except TransientError:
                    await asyncio.sleep(1)

        await asyncio.gather(*[ask() for _ in range(32)])
        return service, limiter.statistics()

    service, statistics = virtually(main)
    assert service.replied[0] < 165
    assert statistics.limit == 16


def test_limit_falls_once_for_calls_sent_together() -> None:
    """Twenty refusals of one round are one piece of news."""
    adaptive = Adaptive(100, adaptive=True)
    for _ in range(20):
        adaptive.refused(started=1.0, now=2.0)
    assert adaptive.limit == pytest.approx(64 * 0.7)


def test_limit_grows_only_if_used() -> None:
    adaptive = Adaptive(100, adaptive=True)
    adaptive.replied(in_flight=63, latency=1.0)
    assert adaptive.limit == 64
    adaptive.replied(in_flight=64, latency=1.0)
    assert adaptive.limit == 65


def test_one_refusal_does_not_hold_the_account() -> None:
    """Faults here and there hold back their own call; three in a row, everybody."""
    cooldown = Cooldown()
    for _ in range(10):
        cooldown.refused(5.0, now=1.0)
        cooldown.refused(5.0, now=1.0)
        cooldown.replied()
    assert cooldown.until < 1.0
    for _ in range(3):
        cooldown.refused(5.0, now=1.0)
    assert cooldown.until == 6.0


def test_allowance_slides() -> None:
    """What was spent sixty seconds ago may be spent again."""
    allowance = Allowance(10)
    allowance.spend(6, 0.0)
    allowance.spend(4, 30.0)
    assert allowance.delay(1, 59.0) == pytest.approx(1.0)
    assert allowance.delay(7, 59.0) == pytest.approx(31.0)
    assert allowance.delay(6, 60.0) == 0


@pytest.mark.parametrize("name", ["in_flight", "requests_per_minute", "tokens_per_minute"])
def test_limits_must_allow_something(name: str) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", " ")):
        msgspec.convert({name: 0}, Limits)


# -- at the will of whoever watches


def test_nothing_is_sent_while_it_is_paused() -> None:
    """Calls in flight end; those in line wait until it goes on, then all are answered."""

    async def main() -> tuple[int, int, int]:
        service = Service()
        limiter = limited(service, Limits(in_flight=2, adaptive=False))
        async with asyncio.TaskGroup() as group:
            for episode in range(6):
                group.create_task(limiter.reply(request(episode)))
            await asyncio.sleep(0.5)
            limiter.pause()
            await asyncio.sleep(10)
            paused = len(service.replied)
            late = group.create_task(limiter.reply(request(9)))
            await asyncio.sleep(10)
            still = len(service.replied)
            limiter.go_on()
        assert late.done()
        return paused, still, len(service.replied)

    assert virtually(main) == (2, 2, 7)


def test_other_limits_hold_from_then_on() -> None:
    """Fewer calls at once once those in flight have ended; so many a minute from that minute on."""

    async def main() -> tuple[int, float]:
        service = Service()
        limiter = limited(service, Limits(in_flight=8, adaptive=False))
        async with asyncio.TaskGroup() as group:
            for episode in range(80):
                group.create_task(limiter.reply(request(episode)))
            await asyncio.sleep(1.5)
            service.most = 0
            await asyncio.sleep(0.1)
            limiter.change(Limits(in_flight=3, adaptive=False))
            await asyncio.sleep(1.0)
            service.most = 0
            await asyncio.sleep(3)
            most = service.most
            asked, start = len(service.order), now()
            limiter.change(Limits(in_flight=3, requests_per_minute=30.0, adaptive=False))
            await asyncio.sleep(60)
            rate = (len(service.order) - asked) / (now() - start) * 60
            limiter.change(Limits(in_flight=8, adaptive=False))
        return most, rate

    most, rate = virtually(main)
    assert most == 3
    assert 25 < rate <= 31


def test_a_ceiling_that_is_raised_again_is_reached_again() -> None:
    slots = Adaptive(8, adaptive=False)
    slots.change(2)
    assert slots.limit == 2
    slots.change(6)
    assert slots.limit == slots.ceiling == 6
