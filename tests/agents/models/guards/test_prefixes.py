"""Prompts that go on as they began: how much of them a service may know, and whether it does."""

import pytest
from hypothesis import given

from agents.models.embedded import EmbeddedModel
from agents.models.guards.prefixes import Prefixes, PrefixWatch
from agents.models.model import ChatReply, ChatRequest, Prompt, Sampling, request_for
from agents.models.recorded import call_ended
from engine.calls import Call
from sim.config.layers import configured
from sim.runs.run import run
from tests.support.drawn import TEXTS


def asked(text: str, user: int = 0, role: str = "actor", system: str = "Choose.") -> ChatRequest:
    call = Call(episode=0, user=user, session=0, step=0, role=role, occurrence=0)
    prompt = Prompt(role=role, step=0, system=system, text=text)
    return request_for(prompt, call, Sampling(model="m"), 0)


@given(TEXTS, TEXTS, TEXTS)
def test_what_is_shared_is_how_the_last_prompt_began(begun: str, one: str, other: str) -> None:
    prefixes = Prefixes()
    prefixes.shared(asked(begun + one, system=""))
    text = begun + other
    shared = prefixes.shared(asked(text, system="")) * max(1, len(text))
    least = len(begun)
    while least < min(len(begun + one), len(text)) and (begun + one)[least] == text[least]:
        least += 1
    assert round(shared) == least


def test_streams_are_kept_apart() -> None:
    """Those of another user or role begin otherwise; a system prompt is known to all of a role."""
    prefixes = Prefixes()
    prefixes.shared(asked("abc"))
    assert prefixes.shared(asked("abc", user=1)) == pytest.approx(7 / 10)
    assert prefixes.shared(asked("abc", role="critic")) == pytest.approx(7 / 10)
    assert prefixes.shared(asked("abcd")) == pytest.approx(10 / 11)


def watched(cached: int, calls: int = 120) -> PrefixWatch:
    watch = PrefixWatch()
    for number in range(calls):
        request = asked("x" * 9_000 + str(number))
        reply = ChatReply(text="", prompt_tokens=2_000, completion_tokens=1, cached_tokens=cached)
        watch(request, call_ended(request, request.digest, reply))
    return watch


def test_a_service_that_knows_nothing_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    watched(cached=0)
    told = capsys.readouterr()
    assert (told.out + told.err).count("reads prompts anew") == 1


def test_a_service_that_knows_them_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    watched(cached=1_900)
    assert capsys.readouterr() == ("", "")


class Reading:
    """The embedded model, and how much of what it is asked it had read before."""

    def __init__(self) -> None:
        self.model, self.prefixes = EmbeddedModel(), Prefixes()
        self.known: dict[str, list[float]] = {}

    async def reply(self, request: ChatRequest) -> ChatReply:
        """Reply, and take note."""
        shared = self.prefixes.shared(request)
        self.known.setdefault(request.call.role, []).append(shared)
        return await self.model.reply(request)


def test_prompts_begin_with_what_stays_the_same(tmp_path: object) -> None:
    """Most of the planner's and the critic's; a third of the actor's, whose candidates change."""
    reading = Reading()
    run(configured({"episodes": 10, "prompts": False}), out=f"{tmp_path}/run", model=reading)
    known = {role: sum(shares) / len(shares) for role, shares in reading.known.items()}
    assert known["planner"] > 0.6
    assert known["critic"] > 0.7
    assert known["actor"] > 0.3
