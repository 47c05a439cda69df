"""`sim.runs.replay`: a recorded run again, with nobody called, to the same bytes."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim.world.quitting.billp
from agents.embeddings import hashed
from agents.models import access
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest, Prompt, Sampling, request_for
from agents.models.remote.vectors import ROLE, encoded
from engine.calls import Call
from engine.errors import (
    BillpError,
    ConfigError,
    DataError,
    JournalError,
    RunDirectoryError,
    ServiceError,
    TraceError,
)
from engine.messages import SCHEMA, EpisodeStarted, PlanRequested
from sim.config.layers import configured
from sim.config.stages import Point
from sim.runs.divergence import NO_LINE
from sim.runs.replay import prompt_of, replay
from sim.runs.run import run as run_config
from sim.verification.verify import verify
from storage.datasets import generate_environment
from storage.journal import CallEnded, read_journal
from storage.manifest import write_manifest
from storage.prompt_texts import PromptText, read_prompts
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.sim.runs.test_damage import no_longer_than
from tests.support.shell import tree
from tests.support.small import SMALL, Counted, Failing, lines_of, recorded, synthetic, trace_of

WORLDS: dict[str, dict[str, Any]] = {
    "all": {"arrivals": "all"},
    "batches": {"arrivals": "batches:2"},
    "poisson": {"arrivals": "poisson:0.02", "publication_delay": 20},
    "returning": {"arrivals": "poisson:0.05", "sessions": 2, "episodes": 3},
}
EPISODE = 3
"""Somewhere in the middle: it remembers something, and others come after it."""

Copy = Callable[[RunDirectory], RunDirectory]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "run", prompts=True)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that stopped in the middle of an episode, when others were over."""
    return broken_off(tmp_path_factory.mktemp("unfinished") / "run", 60)


@pytest.fixture
def spoilt(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy to spoil."""
    return RunDirectory(Path(copytree(run.path, tmp_path / "spoilt")))


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """A replay that waits for ever fails its test."""
    with no_longer_than(60):
        yield


def broken_off(out: Path, calls: int) -> RunDirectory:
    """Return a run that stopped after so many calls."""
    with pytest.raises(ServiceError):
        recorded(out, Counted(calls))
    return RunDirectory(out)


def lines_in(run: RunDirectory, episode: int) -> list[bytes]:
    return [line for line in lines_of(run) if line.startswith(b'{"episode":%d,' % episode)]


def steps_of(run: RunDirectory, episode: int) -> list[int]:
    messages = (envelope.message for envelope in read_episode(run.trace, episode))
    return [message.step for message in messages if isinstance(message, PlanRequested)]


def calls_of(run: RunDirectory) -> Iterator[tuple[int, CallEnded]]:
    """Yield the calls of a run, each with its episode; -1 if that is not in the trace."""
    visits = {
        (envelope.message.user, envelope.message.session): envelope.episode or 0
        for envelope in trace_of(run)
        if isinstance(envelope.message, EpisodeStarted)
    }
    for ended in read_journal(run.journal).values():
        yield visits.get((ended.user, ended.session), -1), ended


def without_calls(run: RunDirectory, lost: Callable[[int, CallEnded], bool]) -> None:
    """Let a run lose some of its calls."""
    lines = run.journal.read_bytes().splitlines(keepends=True)
    kept = [line for line, call in zip(lines, calls_of(run), strict=True) if not lost(*call)]
    run.journal.write_bytes(b"".join(kept))


def alter(run: RunDirectory, number: int, old: bytes, new: bytes) -> None:
    """Alter a line of a trace."""
    lines = lines_of(run)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    run.trace.write_bytes(b"".join(lines))


@contextmanager
def other_users() -> Iterator[None]:
    """Change the code: users never leave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sim.world.quitting.billp, "why_leave", lambda *_: None)
        yield


@contextmanager
def other_prompts(role: str) -> Iterator[None]:
    """Change the code: it tells a role something more."""

    def told(prompt: Prompt, call: Call, sampling: Sampling, seed: int) -> ChatRequest:
        if call.role == role:
            sampling = msgspec.structs.replace(sampling, instructions="Be brief.")
        return request_for(prompt, call, sampling, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "request_for", told)
        yield


# -- the same bytes


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A recorded run in each world."""
    return recorded(tmp_path_factory.mktemp(request.param) / "run", **WORLDS[request.param])


@pytest.mark.parametrize("concurrency", [None, 1, 3, 64, 1_000])
def test_a_run_replays_to_its_digest(world: RunDirectory, concurrency: int | None) -> None:
    """Every byte agrees, however many episodes are at work at once."""
    done = replay(world.path, concurrency=concurrency)
    assert (done.agrees, done.whole, done.finished) == (True, True, True)
    assert done.digest == world.read_summary()["digest"]
    assert done.envelopes == len(lines_of(world))


@pytest.mark.parametrize("uvloop", [False, True])
def test_either_event_loop_will_do(uvloop: bool, run: RunDirectory) -> None:
    assert replay(run.path, uvloop=uvloop).agrees


def test_neither_key_nor_network_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor a service that is still there."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    remote = configured(SMALL, {"model": "openai/gone", "base_url": "http://127.0.0.1:9/v1"})
    run_config(remote, model=EmbeddedModel(), out=tmp_path / "run", environment=synthetic())
    assert replay(tmp_path / "run").agrees


def test_a_replay_writes_nothing(run: RunDirectory) -> None:
    before = tree(run.path)
    replay(run.path, every=True)
    replay(run.path, episode=EPISODE)
    prompt_of(run.path, (EPISODE, 0), "planner")
    assert tree(run.path) == before


def test_failures_fail_again(tmp_path: Path) -> None:
    """A call that got no reply gets none, and its episode leaves nothing behind."""
    failed = recorded(tmp_path / "run", Failing())
    assert b"EpisodeFailed" in failed.trace.read_bytes()
    assert replay(failed.path).agrees


@pytest.mark.parametrize("agent", ["random", "popular", "diverse-greedy"])
def test_a_policy_replays_without_calls(agent: str, tmp_path: Path) -> None:
    policy = recorded(tmp_path / "run", agent=agent)
    assert replay(policy.path).agrees
    assert replay(policy.path, episode=EPISODE).agrees


# -- an episode alone


@pytest.mark.parametrize("concurrency", [1, 64])
def test_each_episode_replays_alone(world: RunDirectory, concurrency: int) -> None:
    """With the memories that it saw, and nothing but its own lines compared."""
    for episode in range(6):
        done = replay(world.path, episode=episode, concurrency=concurrency)
        assert (done.agrees, done.envelopes) == (True, len(lines_in(world, episode)))


def test_an_episode_alone_needs_no_other(spoilt: RunDirectory) -> None:
    """Nobody else's calls are looked at, nor anybody else's lines."""
    alone = len(lines_in(spoilt, EPISODE))
    without_calls(spoilt, lambda episode, _: episode != EPISODE)
    lines = [
        line if line.startswith(b'{"episode":%d,' % EPISODE) or not number else b"{}\n"
        for number, line in enumerate(lines_of(spoilt))
    ]
    spoilt.trace.write_bytes(b"".join(lines))
    assert replay(spoilt.path, episode=EPISODE).envelopes == alone


def test_an_episode_alone_remembers_what_it_remembered(
    spoilt: RunDirectory, tmp_path: Path
) -> None:
    """What was learned later need not be there; what it saw must."""
    rmtree(spoilt.memory)
    copytree(recorded(tmp_path / "short", episodes=2).memory, spoilt.memory)
    assert replay(spoilt.path, episode=EPISODE).agrees
    with pytest.raises(TraceError, match=r"memory/.*\.jsonl: holds fewer .* episode 5 saw"):
        replay(spoilt.path, episode=5)


@pytest.mark.parametrize("memory", ["critic", "planner"])
def test_what_an_episode_saw_decides(memory: str, spoilt: RunDirectory) -> None:
    """An altered memory is found out; so its records were read."""
    first = next(e for e in trace_of(spoilt) if e.episode == EPISODE).message
    assert isinstance(first, EpisodeStarted)
    lengths = {seen.memory: seen.length for seen in first.memories}
    assert lengths[memory] > 0
    other = next(spoilt.memory.glob(f"{memory}.jsonl"))
    other.write_bytes(other.read_bytes()[:-40])
    with pytest.raises(BillpError, match=rf"{memory}"):
        replay(spoilt.path, episode=EPISODE)


def test_an_episode_replays_alone_where_memories_were_not_kept(spoilt: RunDirectory) -> None:
    """What it saw is made again from the episodes before it, no further."""
    rmtree(spoilt.memory)
    done = replay(spoilt.path, episode=EPISODE)
    before = 1 + sum(len(lines_in(spoilt, episode)) for episode in range(EPISODE + 1))
    assert (done.agrees, done.envelopes) == (True, before)


def test_an_episode_alone_may_differ(spoilt: RunDirectory) -> None:
    """The place is that in the whole trace; the others' differences are not its own."""
    numbers = [n for n, line in enumerate(lines_of(spoilt)) if b'"UserResponded"' in line]
    inside = next(n for n in numbers if lines_of(spoilt)[n].startswith(b'{"episode":3,'))
    for number in (numbers[0], inside):
        alter(spoilt, number, b'"time":', b'"time":1')
    (found,) = replay(spoilt.path, episode=EPISODE, every=True).differences
    assert (found.number, found.episode, found.field) == (inside + 1, EPISODE, "time")


def test_a_line_too_many_is_found_in_an_episode_alone(spoilt: RunDirectory) -> None:
    """There is no next episode whose first line would not be in its place."""
    lines = lines_of(spoilt)
    last = max(n for n, line in enumerate(lines) if line.startswith(b'{"episode":3,'))
    spoilt.trace.write_bytes(b"".join([*lines[: last + 1], lines[last], *lines[last + 1 :]]))
    (found,) = replay(spoilt.path, episode=EPISODE).differences
    assert (found.number, found.got) == (last + 2, NO_LINE)
    (found,) = replay(spoilt.path, until=(EPISODE, steps_of(spoilt, EPISODE)[-1])).differences
    assert found.number == last + 2


# -- up to a step


@pytest.mark.parametrize("alone", [False, True])
def test_a_replay_stops_after_a_step(alone: bool, run: RunDirectory) -> None:
    """With all that led up to the request for the next one, and no more."""
    lines = lines_in(run, EPISODE)
    steps = steps_of(run, EPISODE)
    assert len(steps) > 2
    before = 0 if alone else 1 + sum(len(lines_in(run, episode)) for episode in range(EPISODE))
    for step in steps:
        done = replay(run.path, until=(EPISODE, step), episode=EPISODE if alone else None)
        mark = b'"PlanRequested","step":%d}' % (step + 1)
        length = next((n for n, line in enumerate(lines) if mark in line), len(lines))
        assert (done.agrees, done.envelopes) == (True, before + length)


def test_what_lies_beyond_a_step_is_not_compared(spoilt: RunDirectory) -> None:
    mark = b'{"episode":3,'
    numbers = [
        n
        for n, line in enumerate(lines_of(spoilt))
        if line.startswith(mark) and b'"UserResponded"' in line
    ]
    alter(spoilt, numbers[1], b'"time":', b'"time":1')
    assert replay(spoilt.path, until=(EPISODE, 0)).agrees
    assert replay(spoilt.path, until=(EPISODE, 1)).differences[0].number == numbers[1] + 1


# -- unfinished runs


@pytest.mark.parametrize("calls", [0, 1, 20, 60])
def test_an_unfinished_run_replays_as_far_as_it_goes(calls: int, tmp_path: Path) -> None:
    """All that stands in its trace; what was not heard is not waited for."""
    unfinished = broken_off(tmp_path / "run", calls)
    for concurrency in (1, 64):
        done = replay(unfinished.path, concurrency=concurrency)
        assert (done.agrees, done.whole, done.finished) == (True, False, False)
        assert done.envelopes == len(lines_of(unfinished))


@given(cut=st.integers(0, 1 << 20), concurrency=st.sampled_from([1, 4, 64]))
@settings(max_examples=40, deadline=None)
def test_a_torn_trace_replays_to_its_last_whole_line(
    cut: int, concurrency: int, run: RunDirectory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever a crash tore it, if only its head is there."""
    torn = RunDirectory(tmp_path_factory.getbasetemp() / "torn")
    rmtree(torn.path, ignore_errors=True)
    copytree(run.path, torn.path)
    torn.summary.unlink()
    content, head = run.trace.read_bytes(), len(lines_of(run)[0])
    torn.trace.write_bytes(content[: head + cut % (len(content) - head)])
    done = replay(torn.path, concurrency=concurrency)
    assert (done.agrees, done.finished) == (True, False)
    assert done.envelopes == torn.trace.read_bytes().count(b"\n")


def test_an_episode_of_an_unfinished_run(unfinished: RunDirectory) -> None:
    """Its memories are not on disk yet: the episodes before it are played as well."""
    last = max(e.episode for e in trace_of(unfinished) if e.episode is not None)
    for episode in range(last + 1):
        assert replay(unfinished.path, episode=episode).agrees
        assert replay(unfinished.path, until=(episode, 0)).agrees


def test_an_unfinished_run_may_differ(unfinished: RunDirectory, tmp_path: Path) -> None:
    spoilt = RunDirectory(Path(copytree(unfinished.path, tmp_path / "run")))
    alter(spoilt, 40, b'"time":', b'"time":1')
    assert replay(spoilt.path).differences[0].number == 41


# -- code that changed


@pytest.mark.parametrize("concurrency", [1, 3, 64])
@pytest.mark.parametrize("which", ["run", "unfinished"])
def test_code_that_changed_is_found_at_its_first_difference(
    which: str, concurrency: int, request: pytest.FixtureRequest
) -> None:
    """The same one every time, though the run goes on to calls that nobody ever made."""
    known: RunDirectory = request.getfixturevalue(which)
    first = next(n for n, line in enumerate(lines_of(known), 1) if b'"left":true' in line)
    with other_users():
        (found,) = replay(known.path, concurrency=concurrency).differences
    assert (found.number, found.message, found.field) == (first, "UserResponded", "left")


def test_all_that_changed_code_changes_is_listed(run: RunDirectory) -> None:
    """Also what would come after calls that nobody made."""
    with other_users():
        found = replay(run.path, every=True).differences
    left = [n for n, line in enumerate(lines_of(run), 1) if b'"left":true' in line]
    assert {one.number for one in found if one.field == "left"} == set(left)


def test_a_changed_prompt_is_found_where_it_is_asked(run: RunDirectory) -> None:
    """With the old text and the new one."""
    with other_prompts("actor"):
        done = replay(run.path)
    (found,) = done.differences
    assert (found.field, found.line is not None) == ("request", True)
    assert found.line is not None
    assert found.line.message["role"] == "actor"
    old, new = done.prompts[found.recorded]
    assert isinstance(old, PromptText)
    assert (old.request, new.request) == (found.recorded, found.got)
    assert (new.text, new.system) == (old.text, f"{old.system}\n\nBe brief.")


def test_every_changed_prompt_is_listed(run: RunDirectory) -> None:
    """The replies stay the recorded ones, so nothing else changes."""
    with other_prompts("planner"):
        done = replay(run.path, every=True)
    asked = [e for e in calls_of(run) if e[1].role == "planner"]
    assert {one.field for one in done.differences} == {"request"}
    assert len(done.differences) == len(done.prompts) == len(asked)
    assert done.envelopes == len(lines_of(run))


def test_prompts_that_were_not_kept_are_none(world: RunDirectory) -> None:
    with other_prompts("planner"):
        done = replay(world.path)
    assert [old for old, _ in done.prompts.values()] == [None]


# -- every difference


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_every_altered_line_is_listed_once(
    data: st.DataObject, run: RunDirectory, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever became of it: what lies between agrees."""
    spoilt = RunDirectory(tmp_path_factory.getbasetemp() / "spoilt")
    rmtree(spoilt.path, ignore_errors=True)
    copytree(run.path, spoilt.path)
    lines = lines_of(run)
    chosen = data.draw(st.sets(st.sampled_from(range(2, len(lines), 2)), max_size=6))
    for number in chosen:
        lines[number] = data.draw(
            st.sampled_from([b"junk\n", lines[number].replace(b'"time":', b'"time":1', 1)])
        )
    spoilt.trace.write_bytes(b"".join(lines))
    found = replay(spoilt.path, every=True).differences
    assert [one.number - 1 for one in found] == sorted(chosen)


# -- calls that were lost


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("concurrency", [1, 64])
def test_lost_calls_are_said(concurrency: int, every: bool, spoilt: RunDirectory) -> None:
    """The first one in canonical order, and not one that real time came upon first."""
    (lost,) = [e for e in calls_of(spoilt) if (e[0], e[1].role) == (EPISODE, "reflector")]
    without_calls(spoilt, lambda episode, ended: ended == lost[1] or episode > EPISODE)
    sentence = f"episode 3: the reflector's call at step {lost[1].step} is not in the journal"
    with pytest.raises(ServiceError, match=re.escape(sentence)) as error:
        replay(spoilt.path, concurrency=concurrency, every=every)
    assert "calls.jsonl" in error.value.hint


def test_an_unfinished_run_does_not_wait_for_lost_calls(
    unfinished: RunDirectory, tmp_path: Path
) -> None:
    """What stands in the trace was heard."""
    spoilt = RunDirectory(Path(copytree(unfinished.path, tmp_path / "run")))
    without_calls(spoilt, lambda episode, ended: (episode, ended.role) == (0, "reflector"))
    with pytest.raises(
        ServiceError, match=r"episode 0: the reflector's call .* not in the journal"
    ):
        replay(spoilt.path)


# -- prompts


@dataclass
class Mumbling:
    """The embedded model, which cannot be understood the first time it is asked at odd steps."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.step % 2 and not request.call.occurrence:
            return ChatReply(text="Hm.", prompt_tokens=1, completion_tokens=1)
        return await self.model.reply(request)


def test_every_prompt_can_be_made_again(tmp_path: Path) -> None:
    """Exactly the one whose digest stands in the journal, and whose text was kept."""
    run = recorded(tmp_path / "run", Mumbling(), episodes=3, limit=3, prompts=True)
    kept = {text.request: text for text in read_prompts(run.prompts)}
    occurrences = set()
    for episode, ended in calls_of(run):
        occurrences.add(ended.occurrence)
        at = (episode, ended.step)
        request = prompt_of(run.path, at, ended.role, occurrence=ended.occurrence)
        system, user = request.messages
        assert request.digest == ended.request
        assert (system.content, user.content) == (
            kept[ended.request].system,
            kept[ended.request].text,
        )
    assert len(occurrences) > 1


def test_a_prompt_is_that_of_the_code_as_it_is(run: RunDirectory) -> None:
    """Changed code makes the changed prompt, though it differs from the record."""
    with other_prompts("planner"):
        request = prompt_of(run.path, (EPISODE, 1), "planner")
    assert request.messages[0].content.endswith("Be brief.")


def test_prompts_of_an_unfinished_run(unfinished: RunDirectory) -> None:
    """Of what stands in its trace; without its memories."""
    calls = [(episode, ended) for episode, ended in calls_of(unfinished) if episode >= 0]
    for episode, ended in calls[::7]:
        assert prompt_of(unfinished.path, (episode, ended.step), ended.role).digest == ended.request


@pytest.mark.parametrize(
    ("at", "role", "hint"),
    [
        ((EPISODE, 0), "planer", "those of actor, critic, planner were made there"),
        ((EPISODE, 0), "", "those of actor, critic, planner were made there"),
        ((EPISODE, 99), "planner", "none was made there"),
    ],
)
def test_a_call_that_was_not_made_has_no_prompt(
    at: Point, role: str, hint: str, run: RunDirectory
) -> None:
    with pytest.raises(ConfigError, match=f"there is no call of '{role}' at {at[0]}:{at[1]}") as e:
        prompt_of(run.path, at, role)
    assert e.value.hint == hint


# -- embeddings from a service


@dataclass
class Both:
    """The embedded model, which is gone after so many *chats*, and a service of embeddings."""

    texts: int = 0
    chats: int = 1 << 60
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role != ROLE:
            self.chats -= 1
            if self.chats < 0:
                raise ServiceError("the service is gone")
            return await self.model.reply(request)
        self.texts += 1
        vector = encoded(hashed((request.messages[0].content[::-1],)))
        return ChatReply(text=vector, prompt_tokens=0, completion_tokens=0)


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that had its vectors from a service."""
    out, service = tmp_path_factory.mktemp("vectors") / "run", Both()
    run = recorded(out, service, embeddings="openai/small", episodes=4)
    assert service.texts > 0
    return run


def test_vectors_of_a_service_are_those_that_were_recorded(embedding: RunDirectory) -> None:
    assert replay(embedding.path).agrees
    assert replay(embedding.path, episode=EPISODE).agrees
    assert prompt_of(embedding.path, (EPISODE, 0), "planner").messages


@pytest.mark.parametrize("every", [False, True])
def test_lost_vectors_are_said(embedding: RunDirectory, every: bool, tmp_path: Path) -> None:
    """As lost calls are: the run does not differ, and nobody is asked."""
    spoilt = RunDirectory(Path(copytree(embedding.path, tmp_path / "run")))
    spoilt.vectors.write_bytes(b"")
    with pytest.raises(ServiceError, match=r"episode 0: the vector .* is not in vectors\.jsonl$"):
        replay(spoilt.path, every=every)


def test_what_differs_before_lost_vectors_is_told(embedding: RunDirectory, tmp_path: Path) -> None:
    """A run that goes another way comes to texts that nobody ever embedded."""
    spoilt = RunDirectory(Path(copytree(embedding.path, tmp_path / "run")))
    spoilt.vectors.write_bytes(b"".join(spoilt.vectors.read_bytes().splitlines(keepends=True)[:2]))
    alter(spoilt, 1, b'"time":0', b'"time":1')
    (found,) = replay(spoilt.path).differences
    assert (found.episode, found.field) == (0, "time")


def test_an_unfinished_run_needs_no_vectors_beyond_its_end(tmp_path: Path) -> None:
    """What its service never heard is asked for by nobody."""
    with pytest.raises(ServiceError):
        recorded(tmp_path / "run", Both(chats=40), embeddings="openai/small")
    told = replay(tmp_path / "run")
    assert told.agrees
    assert told.envelopes > 1


# -- what cannot be replayed

Spoil = Callable[[RunDirectory], object]


def head_with(old: bytes, new: bytes) -> Spoil:
    return lambda run: alter(run, 0, old, new)


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        ({"episode": 6}, TraceError, "trace.jsonl: there is no episode 6"),
        ({"episode": -1}, TraceError, "trace.jsonl: there is no episode -1"),
        ({"until": (6, 0)}, TraceError, "trace.jsonl: there is no episode 6"),
        ({"until": (3, 7)}, ConfigError, "episode 3 of the run has no step 7"),
        ({"episode": 3, "until": (2, 0)}, ConfigError, "episode 3 alone never comes to 2:0"),
        ({"concurrency": 0}, ConfigError, "concurrency must be at least 1, got 0"),
        ({"concurrency": -3}, ConfigError, "concurrency must be at least 1, got -3"),
    ],
)
def test_what_cannot_be_asked_of_a_run(
    how: dict[str, Any], kind: type[BillpError], sentence: str, run: RunDirectory
) -> None:
    with pytest.raises(kind, match=re.escape(sentence)):
        replay(run.path, **how)


@pytest.mark.parametrize(
    ("spoil", "kind", "sentence"),
    [
        (lambda run: run.config.unlink(), RunDirectoryError, "not a run directory"),
        (lambda run: run.config.write_text("episodes = ["), RunDirectoryError, "run.toml: cannot"),
        (lambda run: run.journal.unlink(), JournalError, "calls.jsonl: there is no such journal"),
        (lambda run: run.trace.unlink(), TraceError, "trace.jsonl: the trace is empty"),
        (lambda run: run.trace.write_bytes(b""), TraceError, "trace.jsonl: the trace is empty"),
        (
            head_with(b'"schema":%d' % SCHEMA, b'"schema":%d' % (SCHEMA + 1)),
            TraceError,
            f"trace.jsonl:1: the trace has schema {SCHEMA + 1}, newer than {SCHEMA}",
        ),
        (head_with(b'"environment":"', b'"environment":"0'), DataError, "RunStarted.environment"),
        (head_with(b'"type":"RunStarted"', b'"type":"RunEnded"'), TraceError, "trace.jsonl:1: "),
        (
            lambda run: run.trace.write_bytes(b"".join(lines_of(run)[:-1])),
            TraceError,
            "trace.jsonl: ends early: the run had come to its end",
        ),
    ],
)
def test_a_run_that_cannot_be_replayed(
    spoil: Spoil, kind: type[BillpError], sentence: str, spoilt: RunDirectory
) -> None:
    """One error, whose sentence says what is wrong and where."""
    spoil(spoilt)
    with pytest.raises(kind, match=re.escape(sentence)) as error:
        replay(spoilt.path)
    assert "\n" not in str(error.value)


def test_an_environment_with_another_digest(run: RunDirectory) -> None:
    """Said before anything is replayed, with both digests."""
    other = generate_environment(1)
    expected = rf"recorded '{synthetic().head.digest[:12]}', but .* is '{other.head.digest[:12]}'"
    with pytest.raises(DataError, match=expected):
        replay(run.path, environment=other)
    with pytest.raises(DataError, match=expected):
        prompt_of(run.path, (0, 0), "planner", environment=other)


def test_an_environment_that_has_moved(spoilt: RunDirectory) -> None:
    """It can be given."""
    spoilt.write_config({**spoilt.read_config(), "environment": "gone"})
    with pytest.raises(DataError, match="gone: is not an environment"):
        replay(spoilt.path)
    assert replay(spoilt.path, environment=synthetic()).agrees


def test_what_was_recorded_before_there_were_other_defaults(spoilt: RunDirectory) -> None:
    """The plain world was `synthetic` then, and went by the paper's rules without saying so."""
    settings = spoilt.read_config()
    del settings["quit_rule"], settings["rewards"]["satiation"]
    spoilt.write_config({**settings, "environment": "synthetic"})
    spoilt.write_summary({**spoilt.read_summary(), "environment": "synthetic"})
    write_manifest(spoilt)
    assert replay(spoilt.path).agrees
    assert not any(check.fault for check in verify(spoilt.path))
