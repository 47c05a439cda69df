"""A hostile service, mode by mode: nothing hangs, nothing breaks, nothing paid for is lost."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from agents.models.access import Access, note_attempt
from agents.models.chain import Door, ModelSettings, RoleModel, linked
from agents.models.exchange import Timeouts
from agents.models.model import Prompt, Sampling, call_seed
from agents.models.openai_model import OpenAIModel
from agents.models.service import Account
from engine.calls import Call
from engine.errors import ServiceError
from storage.journal import CallEnded, Journal, read_journal
from tests.hostile import KEY, MODES, End, Failed, Hostile, Kept, Mode, Stops, place

CALLS = 2  # for each mode, one after the other: what is left of the first must not harm the second
ATTEMPTS = 2
AT_ONCE = 48
PROMPT = Prompt(role="actor", step=0, system="You act.", text="What next?")
STALLED = Timeouts(connect=5.0, first_byte=0.3, whole=0.6)
PATIENT = Timeouts(connect=30.0, first_byte=30.0, whole=60.0)


@dataclass
class Met:
    """How the calls to all modes ended, what was journaled, and what the service counted."""

    ends: dict[str, list[End]] = field(default_factory=dict)
    journaled: dict[str, list[CallEnded]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    unheard: list[str] = field(default_factory=list)
    written: bytes = b""


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Met:
    """Meet every mode through the whole chain of a run."""
    return asyncio.run(meet(MODES, tmp_path_factory.mktemp("hostile")))


async def meet(modes: Mapping[str, Mode], directory: Path) -> Met:
    met = Met()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: met.unheard.append(str(context))
    )
    turns = asyncio.Semaphore(AT_ONCE)
    service = Hostile(modes)

    async def one(name: str, mode: Mode, url: str) -> None:
        async with turns:
            path = directory / f"{place(name)}.jsonl"
            met.ends[name] = await calls(f"{url}/{place(name)}/v1", mode, path)
            met.journaled[name] = list(read_journal(path).every())
            met.written += path.read_bytes()

    async with service as url:
        await calls(f"{url}/elsewhere/v1", MODES["body good"], directory / "none")  # imports openai
        service.calls.clear()
        await asyncio.gather(*(one(name, mode, url) for name, mode in modes.items()))
    met.calls, met.paid = service.calls, service.paid
    return met


async def calls(url: str, mode: Mode, path: Path) -> list[End]:
    settings = ModelSettings(roles={"actor": RoleModel(model="openai/m")}, attempts=ATTEMPTS)
    timeouts = STALLED if mode.stalls else PATIENT
    journal = Journal(path)
    try:
        async with OpenAIModel(Account(key=KEY, url=url, timeouts=timeouts)) as model:
            doors = {"actor": Door(model, "account", url)}
            with linked(doors, settings, partial(note_attempt, journal)) as chain:
                sampling = Sampling(model="m")
                access = Access(chain, lambda _: sampling, seed=5, journal=journal)
                return [await end(access, path, user, mode.pause) for user in range(CALLS)]
    finally:
        journal.close()


async def end(access: Access, path: Path, user: int, pause: float) -> End:
    """Return how a call ended, as its mode states it."""
    call = Call(episode=user, user=user, session=0, step=0, role="actor", occurrence=0)
    try:
        await access.answer(call, PROMPT)
        await asyncio.sleep(pause)
    except ServiceError as error:
        return Stops(str(error))
    ended = list(read_journal(path).every())[-1]
    if ended.text is None:
        return Failed(ended.error or "", ended.said)
    text = ended.text.replace(str(call_seed(5, call)), "{seed}")
    return Kept(ended.prompt_tokens, ended.completion_tokens, ended.finish, text)


def as_stated(end: End, mode: Mode) -> End:
    """Return *end*, or what the mode states where it states no more than a part."""
    stated = mode.end
    if isinstance(end, Stops) and isinstance(stated, Stops) and stated.words in end.words:
        return stated
    if isinstance(end, Failed) and stated == Failed("malformed") == Failed(end.kind):
        return stated
    return end


def test_there_are_many_modes() -> None:
    assert len(MODES) >= 90


def test_every_mode_ends_as_stated(met: Met) -> None:
    """A reply is kept with its tokens, a call fails with a kind, or the run stops in a sentence."""
    odd = {
        name: (met.ends[name], mode.end)
        for name, mode in MODES.items()
        if [as_stated(end, mode) for end in met.ends[name]] != [mode.end] * CALLS
    }
    assert odd == {}


def test_what_is_paid_for_is_journaled(met: Met) -> None:
    """Each completion once, and nothing is asked again that was answered."""
    paid = {name: met.paid[name] for name in MODES}
    answered = {
        name: sum(end.error in {None, "content_filter"} for end in ends)
        for name, ends in met.journaled.items()
    }
    assert paid == answered
    assert all(met.calls[name] == CALLS for name, mode in MODES.items() if mode.paid)
    assert sum(paid.values()) >= 100


def test_nothing_is_asked_without_end(met: Met) -> None:
    allowed = dict.fromkeys(MODES, CALLS * ATTEMPTS)
    allowed["parameter always refused"] = CALLS * 8
    assert {name: n for name, n in met.calls.items() if n > allowed.get(name, 0)} == {}


def test_nobody_is_sent_elsewhere(met: Met) -> None:
    """A redirection is not followed: what is there would get the key."""
    assert met.calls["elsewhere"] == 0


def test_nothing_is_left_unheard(met: Met) -> None:
    """No task dies in silence, and no callback raises."""
    assert met.unheard == []


def test_no_key_is_written(met: Met) -> None:
    assert met.written.count(b"\n") > len(MODES)
    assert KEY.encode() not in met.written
