"""`verify`: each kind of damage to a run directory is found, and the check says where."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.models.remote.vectors import ROLE, encoded
from engine.errors import RunDirectoryError, ServiceError
from sim.runs.fork import fork
from sim.verification.verify import verify
from storage.manifest import write_manifest
from storage.runs import RunDirectory
from tests.support.small import Counted, Failing, lines_of, recorded, synthetic

TRACES = Path(__file__).parents[3] / "traces"
BEFORE_THE_END = ["files", "settings", "environment", "journal", "trace", "prompts"]
CHECK = b',"check":"%08x"}\n'

Line = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run."""
    return recorded(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def scratch(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A copy whose trace is spoilt again and again."""
    return RunDirectory(Path(copytree(run.path, tmp_path_factory.mktemp("scratch") / "run")))


@pytest.fixture
def spoilt(run: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy to spoil."""
    return RunDirectory(Path(copytree(run.path, tmp_path / "run")))


def faults(run: RunDirectory) -> dict[str, str]:
    """Return what is wrong with a run, by the name of the check that found it.

    What the manifest tells is left out: here it is to be found without.
    """
    checks = verify(run.path)
    return {check.name: check.fault for check in checks if check.fault and check.name != "files"}


def unfinish(run: RunDirectory) -> None:
    """Let a run be as if it had been killed at its end."""
    run.summary.unlink()
    run.manifest.unlink()


def found(run: RunDirectory) -> dict[str, str]:
    return {check.name: check.found for check in verify(run.path)}


@dataclass
class Both:
    """The embedded model, and a service of embeddings."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role != ROLE:
            return await self.model.reply(request)
        vector = encoded(hashed((request.messages[0].content,)))
        return ChatReply(text=vector, prompt_tokens=0, completion_tokens=0)


def altered(line: bytes, change: Callable[[Line], object]) -> bytes:
    envelope = msgspec.json.decode(line)
    change(envelope)
    return msgspec.json.encode(envelope) + b"\n"


def rewrite(path: Path, number: int, change: Callable[[Line], object]) -> None:
    """Alter a line of a journal, and give it a checksum that agrees."""
    lines = path.read_bytes().splitlines(keepends=True)
    body = altered(lines[number], lambda call: (call.pop("check"), change(call)))[:-2]
    lines[number] = body + CHECK % crc32(body)
    path.write_bytes(b"".join(lines))


def drop(path: Path, number: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[number]
    path.write_bytes(b"".join(lines))


# -- whole runs


def test_a_whole_run_has_no_fault(run: RunDirectory) -> None:
    """Everything was looked at, and what was found is told."""
    assert not faults(run)
    told = found(run)
    assert list(told) == [*BEFORE_THE_END, "calls", "memory", "summary", "digest", "manifest"]
    assert told["files"] == "11 files, as the manifest says; .origin by it alone"
    assert told["manifest"] == sha256(run.manifest.read_bytes()).hexdigest()
    assert told["trace"].startswith(f"{len(lines_of(run)):,} envelopes, 6 episodes, ")
    assert told["digest"] == run.read_summary()["digest"]


@pytest.mark.parametrize("path", sorted(TRACES.glob("*/trace.jsonl")), ids=lambda p: p.parent.name)
def test_golden_traces_are_whole(path: Path) -> None:
    """They keep no memories, which is no fault."""
    golden = RunDirectory(path.parent)
    assert not [check for check in verify(golden.path) if check.fault]
    assert found(golden)["memory"] in {"not kept", "none"}


def test_a_run_without_calls_is_whole(tmp_path: Path) -> None:
    """A policy asks nobody and remembers nothing."""
    policy = recorded(tmp_path / "run", agent="popular")
    assert not faults(policy)
    assert (found(policy)["journal"], found(policy)["memory"]) == ("0 calls", "none")


def test_a_run_with_failures_is_whole(tmp_path: Path) -> None:
    """An episode that failed is an outcome, no damage."""
    assert not faults(recorded(tmp_path / "run", Failing()))


def test_a_fork_is_whole(run: RunDirectory, tmp_path: Path) -> None:
    settings = [{"rewards": {"offset": 0.5}}]
    fork(run.path, (2, 1), settings=settings, out=tmp_path / "fork", environment=synthetic())
    assert not faults(RunDirectory(tmp_path / "fork"))


@pytest.mark.parametrize("heard", [0, 1, 40])
def test_an_unfinished_run_is_whole(heard: int, tmp_path: Path) -> None:
    """As far as it goes; digest and memories come with the end."""
    with pytest.raises(ServiceError):
        recorded(tmp_path / "run", Counted(heard))
    unfinished = RunDirectory(tmp_path / "run")
    assert not faults(unfinished)
    assert list(found(unfinished)) == BEFORE_THE_END
    assert not [check for check in verify(unfinished.path) if check.fault]


def test_a_run_killed_before_its_first_line_is_whole(spoilt: RunDirectory) -> None:
    """It can be resumed as any other."""
    unfinish(spoilt)
    spoilt.trace.write_bytes(b"")
    assert not faults(spoilt)


@pytest.mark.parametrize("name", ["journal", "trace"])
def test_a_torn_last_line_is_told_and_no_fault(name: str, spoilt: RunDirectory) -> None:
    """A crash leaves one behind; the run can be resumed."""
    unfinish(spoilt)
    path = spoilt.journal if name == "journal" else spoilt.trace
    size = 0 if name == "trace" else path.stat().st_size
    path.write_bytes(path.read_bytes()[:size] + b'{"episode":nu')
    assert not faults(spoilt)
    assert found(spoilt)[name].endswith(", and a torn last line")


# -- the trace


ALTERATIONS: dict[str, tuple[Callable[[Line], object], str]] = {
    "n": (lambda line: line.update(n=line["n"] + 1), "expected n "),
    "no such episode": (lambda line: line.update(episode=77), "expected episode "),
    "no cause": (lambda line: line.update(cause=None), "must be an earlier envelope, got None"),
    "its own cause": (lambda line: line.update(cause=line["n"]), "must be an earlier envelope"),
    "time": (lambda line: line.update(time=-1), "is earlier than its cause"),
    "message": (lambda line: line.update(message={"type": "Rumour"}), "not an envelope: "),
}


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_an_altered_line_is_found_where_it_is(
    data: st.DataObject, run: RunDirectory, scratch: RunDirectory
) -> None:
    """Number, cause, time, episode or message of any envelope in an episode."""
    lines = lines_of(run)
    place = data.draw(st.integers(1, len(lines) - 2))
    assume(b'"type":"EpisodeStarted"' not in lines[place])
    change, sentence = ALTERATIONS[data.draw(st.sampled_from(sorted(ALTERATIONS)))]
    lines[place] = altered(lines[place], change)
    scratch.trace.write_bytes(b"".join(lines))
    fault = faults(scratch)["trace"]
    assert fault.startswith(f"{scratch.trace}:{place + 1}: ")
    assert sentence in fault


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_lines_out_of_place_are_found(
    data: st.DataObject, run: RunDirectory, scratch: RunDirectory
) -> None:
    """Lost, doubled or exchanged, anywhere: no later than the line after them."""
    lines = lines_of(run)
    place = data.draw(st.integers(0, len(lines) - 2))
    match data.draw(st.sampled_from(["lost", "doubled", "exchanged"])):
        case "lost":
            assume(lines[place][:13] == lines[place + 1][:13])  # of the same episode
            del lines[place]
        case "doubled":
            lines.insert(place, lines[place])
            place += 1
        case _:
            lines[place], lines[place + 1] = lines[place + 1], lines[place]
    scratch.trace.write_bytes(b"".join(lines))
    number = int(faults(scratch)["trace"].split(":")[1])
    assert place + 1 <= number <= place + 2


@settings(deadline=None, max_examples=40)
@given(place=st.integers(0, 1 << 20), byte=st.integers(1, 255))
def test_any_byte_of_a_finished_trace_counts(
    place: int, byte: int, run: RunDirectory, scratch: RunDirectory
) -> None:
    """What no check of a line can know the digest does."""
    whole = bytearray(run.trace.read_bytes())
    whole[place % len(whole)] ^= byte
    scratch.trace.write_bytes(whole)
    assert "digest" in faults(scratch)


@pytest.mark.parametrize("said", ["much", "1e999", "nan", ""])
def test_what_an_agent_cannot_read_is_a_fault_and_no_traceback(
    said: str, spoilt: RunDirectory
) -> None:
    """Its memory of surprises is made of what was expected of items: here that is nonsense."""
    text = spoilt.trace.read_text("utf-8")
    nonsense = re.sub(r'\["expected","[^"]*"\]', f'["expected","{said}"]', text, count=1)
    assert nonsense != text
    spoilt.trace.write_text(nonsense, "utf-8")
    assert "not what the trace tells of episode 0" in faults(spoilt)["memory"]


def test_lost_ends_of_episodes_are_found_by_the_digest(spoilt: RunDirectory) -> None:
    """Each line is in its place, but one is missing."""
    lines = lines_of(spoilt)
    last = next(n for n, line in enumerate(lines) if line.startswith(b'{"episode":1,'))
    drop(spoilt.trace, last - 1)
    assert "digest" in faults(spoilt)


def test_a_finished_trace_without_its_end(spoilt: RunDirectory) -> None:
    drop(spoilt.trace, -1)
    assert faults(spoilt)["trace"] == f"{spoilt.trace}: ends early: the run had come to its end"


def test_something_after_the_end(spoilt: RunDirectory) -> None:
    lines = lines_of(spoilt)
    spoilt.trace.write_bytes(b"".join([*lines, lines[1]]))
    where = f"{spoilt.trace}:{len(lines) + 1}"
    assert faults(spoilt)["trace"] == f"{where}: something stands after RunEnded"


@pytest.mark.parametrize("name", ["episodes", "failed"])
def test_an_end_that_counts_otherwise(name: str, spoilt: RunDirectory) -> None:
    lines = lines_of(spoilt)
    lines[-1] = altered(lines[-1], lambda line: line["message"].update({name: 99}))
    spoilt.trace.write_bytes(b"".join(lines))
    fault = faults(spoilt)["trace"]
    assert f"{name}=99" in fault.partition("but ends with")[2]


@pytest.mark.parametrize("place", [0, -1])
def test_the_runs_own_lines_are_numbered(place: int, spoilt: RunDirectory) -> None:
    """Also in a run without a digest."""
    unfinish(spoilt)
    lines = lines_of(spoilt)
    lines[place] = altered(lines[place], lambda line: line.update(n=5))
    spoilt.trace.write_bytes(b"".join(lines))
    assert faults(spoilt)["trace"].endswith(f": expected n {-place}, got 5")


def test_a_trace_of_another_schema(spoilt: RunDirectory) -> None:
    lines = lines_of(spoilt)
    lines[0] = altered(lines[0], lambda line: line["message"].update(schema=99))
    spoilt.trace.write_bytes(b"".join(lines))
    assert "has schema 99, newer than" in faults(spoilt)["environment"]


# -- the journal


@pytest.mark.parametrize(
    "change",
    [{"text": "Nothing."}, {"prompt_tokens": -1}, {"completion_tokens": -1}, {"request": ""}],
)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_a_call_that_ended_otherwise(
    data: st.DataObject, change: Line, run: RunDirectory, scratch: RunDirectory
) -> None:
    """The trace tells of another end, and where, though the checksum agrees."""
    journal = run.journal.read_bytes()
    scratch.trace.write_bytes(run.trace.read_bytes())
    scratch.journal.write_bytes(journal)
    number = data.draw(st.integers(0, journal.count(b"\n") - 1))
    call = msgspec.json.decode(journal.splitlines()[number])
    rewrite(scratch.journal, number, lambda line: line.update(change))
    fault = faults(scratch)["trace"]
    scratch.journal.write_bytes(journal)
    assert fault.endswith(f": the {call['role']}'s call at step {call['step']} ended otherwise")
    where = lines_of(scratch)[int(fault.split(":")[1]) - 1]
    assert call["request"].encode() in where


def test_what_no_trace_tells_is_no_fault(spoilt: RunDirectory) -> None:
    """How long a call took, say."""
    rewrite(spoilt.journal, 3, lambda call: call.update(latency=99.0, attempts=7))
    assert not faults(spoilt)
    (journal,) = [check for check in verify(spoilt.path) if check.name == "journal"]
    assert {"latency", "attempts"} <= {*journal.unexplained}


def test_a_line_that_does_not_agree_with_its_checksum(spoilt: RunDirectory) -> None:
    lines = spoilt.journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"attempts":1', b'"attempts":2')
    spoilt.journal.write_bytes(b"".join(lines))
    where = f"{spoilt.journal}:4"
    assert faults(spoilt) == {"journal": f"{where}: the line does not agree with its checksum"}


def test_a_lost_call(spoilt: RunDirectory) -> None:
    """The trace tells of it; memories are not judged by a trace that has a fault."""
    drop(spoilt.journal, 5)
    (fault,) = faults(spoilt).values()
    assert fault.startswith(f"{spoilt.trace}:")
    assert fault.endswith("is not in the journal")


# -- vectors


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that had its vectors from a service."""
    out = tmp_path_factory.mktemp("embedding") / "run"
    return recorded(out, Both(), embeddings="openai/small", episodes=2)


@pytest.fixture(scope="module")
def vectors(embedding: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A copy whose vectors are spoilt again and again."""
    out = tmp_path_factory.mktemp("vectors") / "run"
    return RunDirectory(Path(copytree(embedding.path, out)))


def test_vectors_are_counted(embedding: RunDirectory) -> None:
    assert not faults(embedding)
    count = len(embedding.vectors.read_bytes().splitlines())
    assert found(embedding)["vectors"] == f"{count:,} texts, 0 without a vector"


@settings(deadline=None, max_examples=40)
@given(place=st.integers(0, 1 << 20), byte=st.integers(1, 255))
def test_any_byte_of_the_vectors_counts(
    place: int, byte: int, embedding: RunDirectory, vectors: RunDirectory
) -> None:
    """The last one as well: a run that came to its end has no torn line."""
    whole = bytearray(embedding.vectors.read_bytes())
    for where in (place % len(whole), len(whole) - 1):
        spoilt = whole.copy()
        spoilt[where] ^= byte
        vectors.vectors.write_bytes(spoilt)
        assert list(faults(vectors)) == ["vectors"]


def test_lost_vectors(embedding: RunDirectory, tmp_path: Path) -> None:
    spoilt = RunDirectory(Path(copytree(embedding.path, tmp_path / "run")))
    spoilt.vectors.unlink()
    assert faults(spoilt) == {"vectors": f"{spoilt.vectors}: there is no such file"}


def test_torn_vectors_of_an_unfinished_run_are_no_fault(
    embedding: RunDirectory, tmp_path: Path
) -> None:
    unfinished = RunDirectory(Path(copytree(embedding.path, tmp_path / "run")))
    unfinish(unfinished)
    unfinished.vectors.write_bytes(unfinished.vectors.read_bytes()[:-9])
    assert not faults(unfinished)
    assert found(unfinished)["vectors"].endswith(", and a torn last line")


# -- what is lost


def test_a_lost_journal(spoilt: RunDirectory) -> None:
    spoilt.journal.unlink()
    assert faults(spoilt)["journal"] == f"{spoilt.journal}: there is no such journal"


# -- the rest


def test_a_digest_that_was_changed(spoilt: RunDirectory) -> None:
    digest = "0" * 64
    spoilt.write_summary({**spoilt.read_summary(), "digest": digest})
    told = f"{spoilt.summary}: tells the digest 000000000000, it is "
    assert faults(spoilt)["digest"].startswith(told)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_summary_that_was_spoilt(text: str, spoilt: RunDirectory) -> None:
    spoilt.summary.write_text(text)
    assert "digest" in faults(spoilt)


@pytest.mark.parametrize("memory", ["planner", "critic", "actor"])
def test_a_lost_record(memory: str, spoilt: RunDirectory) -> None:
    """The trace tells how many there were."""
    path = spoilt.memory / f"{memory}.jsonl"
    count = path.read_bytes().count(b"\n")
    drop(path, 0)
    what = f"holds {count - 1:,} records, the trace tells of {count:,}"
    assert faults(spoilt) == {"memory": f"{path}: {what}"}


def test_a_lost_memory(spoilt: RunDirectory) -> None:
    """Where the others were kept."""
    (spoilt.memory / "critic.jsonl").unlink()
    assert list(faults(spoilt)) == ["memory"]


def test_another_environment(spoilt: RunDirectory) -> None:
    """Its digest is in the head of the trace."""
    lines = lines_of(spoilt)
    lines[0] = altered(lines[0], lambda line: line["message"].update(environment="0" * 64))
    spoilt.trace.write_bytes(b"".join(lines))
    assert "RunStarted.environment: recorded '000000000000'" in faults(spoilt)["environment"]


def test_an_environment_that_is_gone(spoilt: RunDirectory) -> None:
    """It may be elsewhere."""
    settings = spoilt.read_config()
    spoilt.write_config({**settings, "environment": "gone"})
    write_manifest(spoilt)
    assert list(faults(spoilt)) == ["environment"]
    assert found(spoilt)["metrics"] == "not checked: the environment is not at hand"
    assert not any(check.fault for check in verify(spoilt.path, environment="synthetic:plain"))


def test_a_configuration_that_was_spoilt(spoilt: RunDirectory) -> None:
    spoilt.config.write_text("episodes = [\n")
    assert list(faults(spoilt)) == ["settings", "environment"]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not a run directory"):
        verify(tmp_path)
