"""The way to models: recorded ends first, new ones journaled before they are used."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from agents.models.access import Access, Usage, note_attempt
from agents.models.guards.retrying import Attempt
from agents.models.model import ChatModel, ChatReply, ChatRequest, Prompt, Sampling, request_for
from agents.models.recorded import NoModel, Replayed
from engine.calls import Call
from engine.errors import CallFailedError, FileError, ServiceError
from engine.messages import ModelFailed, ModelReplied
from storage.journal import CallEnded, Entry, Journal, identity, read_journal
from storage.prompt_texts import PromptText, PromptTexts, read_prompts

PROMPT = Prompt(role="planner", step=3, system="You plan.", text="What next?")
CALL = Call(episode=4, user=7, session=1, step=3, role="planner", occurrence=0)
SAMPLING = Sampling(model="m", temperature=0.25)
DIGEST = request_for(PROMPT, CALL, SAMPLING, 5).digest


@dataclass
class Scripted:
    """Says *text*, or raises *error*."""

    text: str = "Vary."
    error: BaseException | None = None
    asked: list[ChatRequest] = field(default_factory=list)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return ChatReply(
            text=self.text, prompt_tokens=30, completion_tokens=8, wait=0.5, attempts=2
        )


FAILURE = CallFailedError("no reply after 6 attempts", kind="timeout")


@dataclass
class Refusing:
    """Would rather not."""

    async def reply(self, request: ChatRequest) -> ChatReply:
        return ChatReply(text="No.", prompt_tokens=30, completion_tokens=2, finish="refusal")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "calls.jsonl")
    yield journal
    journal.close()


def access(model: ChatModel | None = None, *, journal: Journal | None = None) -> Access:
    model = model or Scripted()
    return Access(model=model, sampling=lambda call: SAMPLING, seed=5, journal=journal)


def answered(access: Access, *calls: Call) -> ModelReplied | ModelFailed:
    """Return how the last of *calls* ended."""

    async def main() -> ModelReplied | ModelFailed:
        return [await access.answer(call, PROMPT) for call in calls or (CALL,)][-1]

    return asyncio.run(main())


def ended(text: str | None = "As recorded.", error: str | None = None) -> CallEnded:
    return CallEnded(
        user=7,
        session=1,
        step=3,
        role="planner",
        occurrence=0,
        request=DIGEST,
        text=text,
        error=error,
        prompt_tokens=3,
        completion_tokens=2,
        finish="stop",
        latency=0.0,
        wait=0.0,
        attempts=1,
    )


def knowing(end: CallEnded, model: ChatModel) -> Access:
    """Return an access for which *end* is recorded."""
    return replace(access(model), recorded=Replayed({end.identity: end}), usage=Usage())


def kept(journal: Journal) -> CallEnded:
    return read_journal(journal.path)[identity(CALL)]


# -- what is asked


def test_a_prompt_becomes_a_request() -> None:
    """With the sampling of its role, and a seed made of the call's identity."""
    model = Scripted()
    answered(access(model))
    assert model.asked == [request_for(PROMPT, CALL, SAMPLING, 5)]


def test_the_same_prompt_in_two_places_is_two_requests() -> None:
    """Attempt after attempt, user after user: each has a seed of its own."""
    model = Scripted()
    others = [
        msgspec.structs.replace(CALL, occurrence=1),
        msgspec.structs.replace(CALL, user=8),
        msgspec.structs.replace(CALL, session=2),
    ]
    answered(access(model), CALL, *others)
    assert len({request.seed for request in model.asked}) == 4
    assert len({request.digest for request in model.asked}) == 4


def test_the_episodes_number_is_no_part_of_a_request() -> None:
    """A run that begins elsewhere asks the same of the same user."""
    model = Scripted()
    answered(access(model), CALL, msgspec.structs.replace(CALL, episode=99))
    assert model.asked[0].digest == model.asked[1].digest


def test_sampling_is_looked_up_for_every_call() -> None:
    """It may change in the middle of a run, at a fork."""
    model = Scripted()
    by_step = replace(access(model), sampling=lambda call: Sampling(model=f"m{call.step}"))
    answered(by_step, CALL, msgspec.structs.replace(CALL, step=4))
    assert [request.sampling.model for request in model.asked] == ["m3", "m4"]


# -- what comes of it


def test_a_reply_is_a_message() -> None:
    """Nothing of the wire is in it: no wait, no attempts, no latency."""
    assert answered(access()) == ModelReplied(
        step=3,
        role="planner",
        occurrence=0,
        request=DIGEST,
        text="Vary.",
        prompt_tokens=30,
        completion_tokens=8,
    )


def test_an_empty_reply_is_a_reply() -> None:
    assert isinstance(answered(access(Scripted(text=""))), ModelReplied)


def test_a_failed_call_is_a_message() -> None:
    """Its kind, and not the sentence, which may differ from try to try."""
    assert answered(access(Scripted(error=FAILURE))) == ModelFailed(
        step=3, role="planner", occurrence=0, request=DIGEST, error="timeout"
    )


# -- recorded ends


def test_a_recorded_end_comes_first() -> None:
    """Nobody is asked, so replay needs neither key nor network."""
    reply = answered(knowing(ended(), NoModel()))
    assert isinstance(reply, ModelReplied)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens) == ("As recorded.", 3, 2)


def test_a_recorded_failure_fails_again() -> None:
    failed = answered(knowing(ended(None, "rate_limit"), NoModel()))
    assert isinstance(failed, ModelFailed)
    assert failed.error == "rate_limit"


def test_what_is_not_recorded_is_asked() -> None:
    model = Scripted()
    reply = answered(knowing(ended(), model), msgspec.structs.replace(CALL, occurrence=1))
    assert isinstance(reply, ModelReplied)
    assert (reply.text, len(model.asked)) == ("Vary.", 1)


def test_the_message_tells_what_is_asked_now() -> None:
    """A replay shows a changed prompt by its digest, even if the old reply is used."""
    old = msgspec.structs.replace(ended(), request="another")
    assert answered(knowing(old, NoModel())).request == DIGEST


def test_recorded_ends_are_not_journaled_again(journal: Journal) -> None:
    answered(replace(knowing(ended(), NoModel()), journal=journal))
    assert journal.path.read_bytes() == b""


# -- the journal


def test_a_new_end_is_journaled_before_it_is_used(journal: Journal) -> None:
    """It is on disk, readable, when the handler that asked goes on."""
    reply = answered(access(journal=journal))
    assert isinstance(reply, ModelReplied)
    end = kept(journal)
    assert (end.request, end.text, end.error) == (DIGEST, reply.text, None)
    assert (end.prompt_tokens, end.completion_tokens) == (30, 8)
    assert (end.attempts, end.wait, end.finish) == (2, 0.5, "stop")
    assert end.latency >= 0


class Full(Journal):
    """A journal on a disk that is full."""

    def append(self, entry: Entry) -> None:
        raise FileError("no space left on device")


def test_what_cannot_be_journaled_is_not_used(tmp_path: Path) -> None:
    """It would be paid for twice: rather no reply than one that nobody can find again."""
    full = Full(tmp_path / "calls.jsonl")
    asking = access(journal=full)
    with pytest.raises(FileError, match="no space left"):
        answered(asking)
    full.close()
    assert asking.usage == Usage(live=1)


def test_a_failed_call_is_journaled(journal: Journal) -> None:
    """So that a replay fails where the run failed."""
    answered(access(Scripted(error=FAILURE), journal=journal))
    end = kept(journal)
    assert (end.text, end.error, end.prompt_tokens) == (None, "timeout", 0)


def test_what_the_service_said_is_journaled(journal: Journal) -> None:
    """Of the call's end and of each attempt; where it said nothing, no line is longer for it."""
    error = CallFailedError("no reply", kind="server", said="no json_schema here")
    attempt = Attempt(
        call=CALL, number=1, kind="server", wait=0.0, latency=0.5, said="no json_schema here"
    )
    note_attempt(journal, attempt)
    answered(access(Scripted(error=error), journal=journal))
    note_attempt(journal, msgspec.structs.replace(attempt, said=""))
    first, second, third = journal.path.read_bytes().splitlines()
    assert kept(journal).said == "no json_schema here"
    assert b'"said":"no json_schema here"' in first
    assert b"no json_schema" in second
    assert b"said" not in third


def test_a_service_that_is_gone_stops_the_run(journal: Journal) -> None:
    """Nothing is journaled: the call is not over, and is asked again when the run goes on."""
    asking = access(Scripted(error=ServiceError("the key is refused")), journal=journal)
    with pytest.raises(ServiceError, match="the key is refused"):
        answered(asking)
    assert (journal.path.read_bytes(), asking.usage) == (b"", Usage(live=1))


def test_a_call_that_is_cancelled_did_not_fail(journal: Journal) -> None:
    """It ends because the run is stopped, not because of the service."""
    stopped = access(Scripted(error=asyncio.CancelledError()), journal=journal)
    with pytest.raises(asyncio.CancelledError):
        answered(stopped)
    assert journal.path.read_bytes() == b""


def test_a_reply_is_journaled_before_it_is_kept_elsewhere(journal: Journal) -> None:
    """What keeps it for other runs finds it in the journal; a failed call is not kept."""
    found: list[tuple[str, int]] = []

    def keep(request: ChatRequest, reply: ChatReply) -> None:
        found.append((reply.text, len(read_journal(journal.path))))

    answered(replace(access(journal=journal), keep=keep))
    answered(replace(access(Scripted(error=FAILURE), journal=journal), keep=keep))
    assert found == [("Vary.", 1)]


def test_failed_attempts_stand_in_the_journal(journal: Journal) -> None:
    """Only there; an attempt that got its reply is told by how the call ended."""
    attempt = Attempt(call=CALL, number=2, kind="server", wait=0.1, latency=0.2, pause=0.3)
    note_attempt(journal, attempt)
    note_attempt(journal, msgspec.structs.replace(attempt, kind=None, number=3))
    (line,) = journal.path.read_text().splitlines()
    assert '"AttemptFailed","user":7,"session":1,"step":3,"role":"planner"' in line
    assert '"attempt":2,"error":"server","latency":0.2,"wait":0.1,"pause":0.3' in line
    assert len(read_journal(journal.path)) == 0


# -- usage, prompts, watching


def test_usage_counts_calls_and_tokens() -> None:
    """Live ones and recorded ones; a failed call costs no tokens that anybody told us of."""
    asking = knowing(ended(), Scripted())
    answered(
        asking,
        CALL,
        msgspec.structs.replace(CALL, occurrence=1),
        msgspec.structs.replace(CALL, occurrence=2),
    )
    assert asking.usage == Usage(calls=3, live=2, failed=0, prompt_tokens=63, completion_tokens=18)
    assert asking.usage.tokens == 81


def test_usage_counts_failed_calls() -> None:
    asking = access(Scripted(error=FAILURE))
    answered(asking)
    assert asking.usage == Usage(calls=1, live=1, failed=1)


def test_prompts_are_kept_for_people(tmp_path: Path) -> None:
    """Under the digest that messages and journal name; instructions included."""
    texts = PromptTexts(tmp_path / "prompts.zst")
    instructed = Sampling(model="m", instructions="Be kind.")
    asking = replace(access(), prompts=texts, sampling=lambda call: instructed)
    reply = answered(asking)
    texts.close()
    assert list(read_prompts(texts.path)) == [
        PromptText(request=reply.request, system="You plan.\n\nBe kind.", text="What next?")
    ]


def test_a_watch_is_told_every_request_and_its_recorded_end() -> None:
    told: list[tuple[str, CallEnded | None]] = []
    asking = replace(
        knowing(ended(), Scripted()), watch=lambda request, digest, end: told.append((digest, end))
    )
    answered(asking, CALL, msgspec.structs.replace(CALL, occurrence=1))
    assert told[0] == (DIGEST, ended())
    assert told[1][1] is None


def test_a_refusal_is_told_apart(journal: Journal) -> None:
    """Its text is a reply; the trace says that it refuses, and the run counts it."""
    asking = access(Refusing(), journal=journal)
    reply = answered(asking)
    assert isinstance(reply, ModelReplied)
    assert (reply.text, reply.finish) == ("No.", "refusal")
    assert (asking.usage.refused, asking.usage.failed) == (1, 0)
    (ended,) = read_journal(journal.path).every()
    assert ended.finish == "refusal"


def test_effort_that_is_not_set_leaves_no_byte() -> None:
    """Digests of before there was one are still those of such requests; set, it decides."""
    assert b"effort" not in msgspec.json.encode(SAMPLING)
    assert b"reasoning" not in msgspec.json.encode(SAMPLING)
    low = msgspec.structs.replace(SAMPLING, effort="low")
    more = msgspec.structs.replace(low, reasoning_tokens=9_000)
    digests = {request_for(PROMPT, CALL, one, 5).digest for one in (SAMPLING, low, more)}
    assert len(digests) == 3
