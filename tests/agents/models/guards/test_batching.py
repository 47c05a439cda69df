"""Calls in batches: when they are sent, what comes of each, and that none is paid for twice."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.models.batches import (
    BatchState,
    Line,
    NoSuchFileError,
    Outcome,
    Status,
    name_of_line,
)
from agents.models.guards.batch import BatchPace, Errands
from agents.models.guards.batching import Batching
from agents.models.guards.quiet import Counted, Quiet
from agents.models.guards.retrying import Patience, Retrying
from agents.models.model import (
    ChatMessage,
    ChatModel,
    ChatReply,
    ChatRequest,
    Sampling,
    TransientError,
)
from engine.calls import Call
from engine.errors import CallFailedError, FileError, ServiceError
from storage.batches import BatchFile, FileUploaded, open_batches

PACE = BatchPace(wait=0.01, poll=0.01)


@dataclass
class Scripted:
    """A service that takes batches; *spoil* says of whose calls something else comes than a reply.

    *polls* are needed until a batch ends, with a *status*. It loses the answer to so many requests
    as *deaf* says, after it has done what was asked. If it *lists* its batches they are found.
    """

    spoil: dict[int, Outcome] = field(default_factory=dict)
    polls: int = 1
    status: Status = "completed"
    deaf: int = 0
    lists: bool = True
    files: dict[str, list[Line]] = field(default_factory=dict)
    batches: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    polled: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = "http://scripted"

    def body(self, request: ChatRequest) -> bytes:
        return str(request.call.user).encode()

    def read(self, request: ChatRequest, outcome: Outcome) -> ChatReply:
        if outcome.status == 500:
            raise TransientError("ill", kind="server")
        if outcome.status == 400:
            raise CallFailedError("no", kind="refused", said="no")
        return ChatReply(text=outcome.body.decode(), prompt_tokens=1, completion_tokens=1)

    async def upload(self, lines: Sequence[Line]) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = [*lines]
        return name

    async def create(self, file: str) -> BatchState:
        if file not in self.files:
            raise NoSuchFileError(file)
        self.batches[f"batch-{len(self.batches)}"] = file
        self.deaf -= 1
        if self.deaf >= 0:
            raise TransientError("dropped", kind="connection")
        return await self.state(f"batch-{len(self.batches) - 1}")

    async def find(self, file: str) -> BatchState | None:
        found = next((name for name, of in self.batches.items() if of == file), None)
        if found is None or not self.lists:
            return None
        return BatchState(name=found, status="in_progress", file=file)

    async def state(self, batch: str) -> BatchState:
        self.asked.append(batch)
        if len(self.asked) > 2:
            self.polled.set()
        over = self.asked.count(batch) > self.polls
        return BatchState(
            name=batch,
            status=self.status if over else "in_progress",
            file=self.batches[batch],
            output=self.batches[batch],
        )

    async def outcomes(self, file: str, lines: int) -> Mapping[str, Outcome]:
        await asyncio.sleep(0.01)
        found = {}
        for line in self.files[file]:
            user = int(line.body)
            outcome = self.spoil.pop(user, Outcome(200, b"reply %d" % user))
            if outcome.status or outcome.error:
                found[line.name] = outcome
        return found


@dataclass
class Live:
    """A model that is asked at once, and takes its time."""

    batching: ChatModel
    seconds: float = 0.05

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role == "critic":
            return await self.batching.reply(request)
        await asyncio.sleep(self.seconds)
        return ChatReply(text="live", prompt_tokens=1, completion_tokens=1)


def request(user: int = 0, role: str = "critic", model: str = "m") -> ChatRequest:
    return ChatRequest(
        call=Call(0, user, 0, 0, role, 0),
        sampling=Sampling(model=model),
        messages=(ChatMessage(role="user", content="How good?"),),
        seed=user,
    )


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


async def met(
    service: Scripted, path: Path, asked: Sequence[ChatRequest], pace: BatchPace = PACE
) -> list[ChatReply | BaseException]:
    """Return what came of calls that were *asked* all at once, through retries and batches."""
    quiet, file = Quiet(), BatchFile(path / "batches.jsonl")
    patience = Patience(attempts=3, first=0.0, longest=0.0)
    batching = Batching(Errands(service, file, pace, patience, no_pause), quiet)
    chain = Counted(Retrying(Live(batching), patience, sleep=no_pause), quiet)
    try:
        calls = (chain.reply(one) for one in asked)
        return await asyncio.gather(*calls, return_exceptions=True)
    finally:
        batching.close()
        file.close()


def came(
    service: Scripted, path: Path, asked: Sequence[ChatRequest], pace: BatchPace = PACE
) -> list[str]:
    ends = asyncio.run(met(service, path, asked, pace))
    return [end.text if isinstance(end, ChatReply) else _told(end) for end in ends]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def test_calls_that_wait_go_together(tmp_path: Path) -> None:
    """One batch, and everybody has their own reply."""
    service = Scripted()
    said = came(service, tmp_path, [request(user) for user in range(5)])
    assert said == [f"reply {user}" for user in range(5)]
    assert len(service.batches) == 1


def test_what_is_live_is_waited_for(tmp_path: Path) -> None:
    """It may lead to calls that can go in the same batch: nothing is sent while it is underway."""
    service = Scripted()

    async def main() -> None:
        quiet, file = Quiet(), BatchFile(tmp_path / "batches.jsonl")
        batching = Batching(Errands(service, file, PACE, Patience()), quiet)
        chain = Counted(Live(batching), quiet)

        async def late() -> None:
            await chain.reply(request(1, "actor"))
            await chain.reply(request(2))

        await asyncio.gather(chain.reply(request(0)), late())
        batching.close()

    asyncio.run(main())
    assert [len(lines) for lines in service.files.values()] == [2]


def test_a_full_batch_is_sent_at_once(tmp_path: Path) -> None:
    service = Scripted()
    came(service, tmp_path, [request(user) for user in range(5)], BatchPace(size=2, wait=0.01))
    assert sorted(len(lines) for lines in service.files.values()) == [1, 2, 2]


def test_a_file_has_one_model(tmp_path: Path) -> None:
    """As services want it."""
    service = Scripted()
    came(service, tmp_path, [request(0, model="a"), request(1, model="b")])
    assert [len(lines) for lines in service.files.values()] == [1, 1]


def test_names_are_as_long_as_services_take() -> None:
    """And those of different calls differ, whatever their role is called."""
    names = {name_of_line(request(user, "r" * 100)) for user in (10**7, 10**7 + 1)}
    assert [len(name) for name in names] == [64, 64]


@pytest.mark.parametrize("code", ["batch_expired", "request_timeout", "odd"])
def test_what_was_not_done_is_sent_again(code: str, tmp_path: Path) -> None:
    service = Scripted(spoil={1: Outcome(error=code), 2: Outcome(500)})
    said = came(service, tmp_path, [request(user) for user in range(4)])
    assert said == [f"reply {user}" for user in range(4)]
    assert [len(lines) for lines in service.files.values()] == [4, 2]


def test_a_line_that_lacks_is_asked_for_again(tmp_path: Path) -> None:
    service = Scripted(spoil={1: Outcome()})
    assert came(service, tmp_path, [request(1)]) == ["reply 1"]


def test_a_call_that_is_refused_fails_alone(tmp_path: Path) -> None:
    """With what the service said of it; the others have their replies."""
    said = came(Scripted(spoil={0: Outcome(400)}), tmp_path, [request(0), request(1)])
    assert said == ["CallFailedError: no", "reply 1"]


@pytest.mark.parametrize(
    ("status", "words"),
    [("cancelled", "was cancelled, with 0 of"), ("failed", "refuses the ba")],
)
def test_a_batch_that_came_to_nothing_stops_the_run(
    status: Status, words: str, tmp_path: Path
) -> None:
    """Who was done is answered first."""
    service = Scripted(status=status, spoil={1: Outcome()})
    done, undone = asyncio.run(met(service, tmp_path, [request(0), request(1)]))
    assert isinstance(done, ChatReply)
    assert isinstance(undone, ServiceError)
    assert words in str(undone)
    assert undone.hint


def test_an_answer_that_is_lost_makes_no_second_batch(tmp_path: Path) -> None:
    """The service had begun, though nobody heard of it."""
    service = Scripted(deaf=1)
    assert came(service, tmp_path, [request(0)]) == ["reply 0"]
    assert len(service.batches) == 1


def test_a_service_that_is_gone_stops_the_run(tmp_path: Path) -> None:
    """Each time it begins anew and says nothing."""
    (said,) = came(Scripted(deaf=9, lists=False), tmp_path, [request(0)])
    assert said == "ServiceError: dropped"


def test_a_batch_is_collected_by_whoever_goes_on(tmp_path: Path) -> None:
    """A run that was stopped while it waited sends nothing again, and new calls in a new batch."""
    service = Scripted(polls=10**6)

    async def stopped() -> None:
        run = asyncio.create_task(met(service, tmp_path, [request(0), request(1)]))
        await service.polled.wait()  # so all is written down
        run.cancel()
        await asyncio.wait({run})

    asyncio.run(stopped())
    assert [one.batch for one in open_batches(tmp_path / "batches.jsonl")] == ["batch-0"]
    service.polls = 0
    said = came(service, tmp_path, [request(0), request(1), request(2)])
    assert said == ["reply 0", "reply 1", "reply 2"]
    assert [len(lines) for lines in service.files.values()] == [2, 1]
    assert open_batches(tmp_path / "batches.jsonl") == []


def test_who_comes_while_replies_come_has_one_of_them(tmp_path: Path) -> None:
    """Between the end of a batch and its replies nobody is told that there is none."""
    service = Scripted(polls=0)
    came(service, tmp_path, [request(0), request(1)])

    async def main() -> None:
        quiet, file = Quiet(), BatchFile(tmp_path / "batches.jsonl")
        batching = Batching(Errands(service, file, PACE, Patience()), quiet)

        async def late() -> ChatReply:
            await asyncio.sleep(0.005)
            return await batching.reply(request(1))

        await asyncio.gather(batching.reply(request(0)), late())
        batching.close()

    asyncio.run(main())
    assert len(service.batches) == 1


def test_what_a_batch_failed_to_answer_is_not_looked_for_in_it(tmp_path: Path) -> None:
    """A call that failed for good, and is asked again by another run, goes in another batch."""
    service = Scripted(spoil={0: Outcome(400)})
    assert came(service, tmp_path, [request(0)]) == ["CallFailedError: no"]
    assert came(service, tmp_path, [request(0)]) == ["reply 0"]
    assert len(service.batches) == 2


def test_a_file_that_is_gone_is_uploaded_anew(tmp_path: Path) -> None:
    """A run died before the service began, and was resumed when the file was there no more."""
    file = BatchFile(tmp_path / "batches.jsonl")
    names = tuple(name_of_line(request(user)) for user in range(3))
    file.append(FileUploaded(file="file-9", url=Scripted.url, names=names))
    file.close()
    service = Scripted()
    said = came(service, tmp_path, [request(user) for user in range(3)])
    assert said == [f"reply {user}" for user in range(3)]
    assert [*service.files] == ["file-0"]
    assert came(service, tmp_path, [request(0)]) == ["reply 0"]


def test_what_cannot_be_written_stops_the_run(tmp_path: Path) -> None:
    """A batch of which nothing is known could be paid for twice."""
    closed = BatchFile(tmp_path / "batches.jsonl")
    closed.close()
    service, quiet = Scripted(), Quiet()
    batching = Batching(Errands(service, closed, PACE, Patience()), quiet)

    async def main() -> None:
        with pytest.raises(FileError, match="is closed"):
            await Counted(batching, quiet).reply(request(0))
        batching.close()

    asyncio.run(main())
    assert service.batches == {}


def test_what_cannot_be_written_late_is_heard_of(tmp_path: Path) -> None:
    """All have their replies by then; only the loop can be told, which stops the run."""
    service, quiet, heard = Scripted(), Quiet(), asyncio.Event()
    errors: list[object] = []

    async def main() -> None:
        file = BatchFile(tmp_path / "batches.jsonl")

        def hear(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
            errors.append(context["exception"])
            heard.set()

        asyncio.get_running_loop().set_exception_handler(hear)
        batching = Batching(Errands(service, file, PACE, Patience()), quiet)
        reply = asyncio.create_task(Counted(batching, quiet).reply(request(0)))
        await service.polled.wait()
        file.close()
        assert (await reply).text == "reply 0"
        await heard.wait()
        batching.close()

    service.polls = 3
    asyncio.run(main())
    assert isinstance(errors[0], FileError)


def test_a_reply_that_was_lost_is_collected_once_more(tmp_path: Path) -> None:
    """A machine may die when the batch has ended and the journal is not on its disk yet."""
    service = Scripted()
    assert came(service, tmp_path, [request(0)]) == ["reply 0"]
    assert came(service, tmp_path, [request(0)]) == ["reply 0"]
    assert len(service.batches) == 1


def test_a_batch_of_another_service_is_left_alone(tmp_path: Path) -> None:
    came(Scripted(), tmp_path, [request(0)])
    elsewhere = Scripted(url="http://elsewhere")
    assert came(elsewhere, tmp_path, [request(0)]) == ["reply 0"]
    assert len(elsewhere.batches) == 1


def test_time_in_a_batch_that_came_to_nothing_is_waiting_too(tmp_path: Path) -> None:
    """Else the patience with a call would be at its end after one batch."""
    service = Scripted(spoil={0: Outcome(error="batch_expired")})

    async def main() -> float:
        quiet, file = Quiet(), BatchFile(tmp_path / "batches.jsonl")
        batching = Batching(Errands(service, file, PACE, Patience()), quiet)
        with pytest.raises(TransientError) as caught:
            await Counted(batching, quiet).reply(request(0))
        batching.close()
        return caught.value.wait

    assert asyncio.run(main()) >= PACE.wait


def test_time_in_a_batch_is_waiting(tmp_path: Path) -> None:
    """It uses up no patience, though a batch takes longer than any."""
    service = Scripted(polls=3)
    (reply,) = asyncio.run(met(service, tmp_path, [request(0)]))
    assert isinstance(reply, ChatReply)
    assert reply.wait > 0
