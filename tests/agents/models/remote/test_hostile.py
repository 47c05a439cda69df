"""A hostile service, mode by mode: nothing hangs, nothing breaks, nothing paid for is lost."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from agents.models.access import Access, note_attempt
from agents.models.chain import ModelSettings, RoleModel, linked
from agents.models.model import Prompt, Sampling, call_seed
from agents.models.providers import Api, Door
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.embedder import ServiceEmbedder
from agents.models.remote.embedding_model import EmbeddingModel
from agents.models.remote.service import Account
from agents.models.remote.vectors import ROLE
from engine.calls import Call
from engine.errors import CallFailedError, ServiceError
from storage.journal import CallEnded, Journal, read_journal
from storage.vectors import VectorFile
from tests.support.dying import in_own_process, typed
from tests.support.hostile import (
    KEY,
    MODES,
    VECTORS,
    End,
    Failed,
    Hostile,
    Kept,
    Mode,
    Stops,
    place,
)
from tests.support.shell import Said

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


async def meet(modes: Mapping[str, Mode], directory: Path, api: Api = "chat") -> Met:
    met = Met()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: met.unheard.append(str(context))
    )
    turns = asyncio.Semaphore(AT_ONCE)
    service = Hostile(modes)

    async def one(name: str, mode: Mode, url: str) -> None:
        async with turns:
            path = directory / f"{place(name)}.jsonl"
            met.ends[name] = await calls(f"{url}/{place(name)}/v1", mode, path, api)
            met.journaled[name] = list(read_journal(path).every())
            met.written += path.read_bytes()

    async with service as url:
        await calls(f"{url}/elsewhere/v1", MODES["body good"], directory / "none")  # imports openai
        service.calls.clear()
        await asyncio.gather(*(one(name, mode, url) for name, mode in modes.items()))
    met.calls, met.paid = service.calls, service.paid
    return met


async def calls(url: str, mode: Mode, path: Path, api: Api = "chat") -> list[End]:
    settings = ModelSettings(roles={"actor": RoleModel(model="openai/m")}, attempts=ATTEMPTS)
    timeouts = STALLED if mode.stalls else PATIENT
    journal = Journal(path)
    try:
        account = Account(key=KEY, url=url, timeouts=timeouts, api=api)
        async with OpenAIModel(account) as model:
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


@pytest.mark.slow
def test_no_mode_upsets_who_asks_by_responses(tmp_path: Path) -> None:
    """Their answers are chat's, or nothing at all: each call ends in order, is journaled, and no
    key is written down; who is told that there is no such place says so.
    """
    met = asyncio.run(meet(MODES, tmp_path, "responses"))
    assert met.ends.keys() == MODES.keys()
    assert not met.unheard
    assert KEY.encode() not in met.written
    for name, ends in met.ends.items():
        failed = [end for end in ends if isinstance(end, Failed)]
        assert len(ends) == CALLS
        assert len([one for one in met.journaled[name] if one.error]) >= len(failed)


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


# -- embeddings


async def embed(modes: Mapping[str, Mode], directory: Path) -> dict[str, tuple[End, int]]:
    """Return how the vector of a text was got in every mode, and how many calls it took."""
    service = Hostile(modes)
    settings = ModelSettings(roles={}, attempts=ATTEMPTS)
    turns = asyncio.Semaphore(AT_ONCE)
    ends: dict[str, End] = {}

    async def one(name: str, url: str) -> None:
        model = EmbeddingModel(Account(key=KEY, url=f"{url}/{place(name)}/v1"), "m")
        file = VectorFile(directory / f"{place(name)}.jsonl")
        async with turns:
            with linked({ROLE: Door(model, "account", url)}, settings, lambda _: None) as chain:
                ends[name] = await found(ServiceEmbedder(chain, "m", file))
        await model.aclose()
        file.close()

    async with service as url:
        await asyncio.gather(*(one(name, url) for name in modes))
    return {name: (end, service.calls[name]) for name, end in ends.items()}


async def found(embedder: ServiceEmbedder) -> End:
    try:
        vector = await embedder.embed(["a text"])
    except ServiceError as error:
        return Stops(str(error))
    except CallFailedError as error:
        return Failed(error.kind)
    assert vector.any()
    (entry,) = embedder.file.known.values()
    return Kept(prompt=entry.tokens, text="")


def test_every_embedding_ends_as_stated(tmp_path: Path) -> None:
    """A vector with a direction is kept, and asked for once; all else is asked again, or said."""
    met = asyncio.run(embed(VECTORS, tmp_path))
    odd = {
        name: (end, mode.end)
        for name, mode in VECTORS.items()
        for end, _ in [met[name]]
        if as_stated(end, mode) != mode.end
    }
    assert odd == {}
    assert all(met[name][1] == 1 for name, mode in VECTORS.items() if mode.paid)
    assert all(count <= ATTEMPTS for _, count in met.values())


# -- whole runs, as processes


_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))
"""
_BILLP = "from sim.cli import main; main()"


@contextmanager
def hosting(fair: int = 1) -> Iterator[tuple[Hostile, str]]:
    """Serve all modes from a thread; the first *fair* calls of each are answered well."""
    service = Hostile(MODES, fair=fair)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(service) as url:
        yield service, url


def words(url: str, name: str, out: Path) -> list[str]:
    """Return how a run against a mode is told to begin."""
    settings = ["--set", "attempts=2", "--set", "limit=3", "--out", str(out)]
    service = ["--model", "openai/m", "--base-url", f"{url}/{place(name)}/v1"]
    return ["run", "--agent", "act-only", "--no-structured", *service, *settings]


def ran(out: Path, words: list[str]) -> Said:
    return in_own_process(partial(typed, out.parent, words, OPENAI_API_KEY=KEY), out)


def peak(words: list[str]) -> float:
    """Return the most memory that a run takes, in MiB.

    Between us and it stands a small process: what that takes is all that is counted with it.
    """
    command = [sys.executable, "-c", _MEASURED, sys.executable, "-c", _BILLP, *words]
    environment = {**os.environ, "OPENAI_API_KEY": KEY}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return float(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("usage 2**64", 0, "digest"),
        ("limit 1e-300", 0, "digest"),
        ("body deep", 3, "malformed"),
        ("error no schema", 3, "response_format json_schema is unknown"),
        ("wait Retry-After: Fri, 31 Dec 9999 23:59:59 GMT", 2, "said 'later'"),
        ("status 401 Unauthorized", 2, "refuses the key with 401"),
    ],
)
def test_run_against_it_ends_in_order(name: str, status: int, told: str, tmp_path: Path) -> None:
    """The probe is answered well, then it turns: no traceback, and nothing paid for is lost."""
    out = tmp_path / "run"
    with hosting() as (service, url):
        run = ran(out, [*words(url, name, out), "--episodes", "3"])
    assert run.status == status, run
    assert told in run.out + run.err
    assert "Traceback" not in run.out + run.err
    answered = [end for end in read_journal(out / "calls.jsonl").every() if end.error is None]
    assert service.paid[name] == len(answered) + 1  # the probe's
    assert service.calls["elsewhere"] == 0


def test_probe_of_it_is_one_sentence(tmp_path: Path) -> None:
    with hosting(fair=0) as (_, url):
        run = ran(tmp_path / "run", words(url, "packed gzip bomb", tmp_path / "run"))
    assert (run.status, run.out) == (2, "")
    assert run.err.startswith("billp: ")


@pytest.mark.parametrize("name", ["length endless", "packed late bomb"])
def test_run_against_it_stays_small(name: str, tmp_path: Path) -> None:
    """With 16 calls in flight that are answered without end, a run takes less than 300 MB."""
    with hosting() as (service, url):
        begun = words(url, name, tmp_path / "run")
        assert peak([*begun, "--episodes", "16", "--arrivals", "all"]) < 300
    assert service.calls[name] == 1 + 16 * 2
