"""The batch protocol: what goes to a service, and whatever may come back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from aiohttp import web

from agents.models.batches import BatchState, Line, NoSuchFileError, Outcome
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling, TransientError
from agents.models.remote.batches import Batches
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.embedding_model import EmbeddingModel
from agents.models.remote.service import Account
from agents.models.remote.vectors import decoded, embedding_request
from agents.models.serving.server import Server
from engine.calls import Call
from engine.errors import CallFailedError, ModelError, ServiceError

T = TypeVar("T")
GOOD = {
    "id": "batch_1",
    "status": "completed",
    "input_file_id": "file-1",
    "output_file_id": "file-2",
    "error_file_id": None,
    "request_counts": {"total": 2, "completed": 1, "failed": 1},
}
QUICK = Timeouts(connect=5.0, first_byte=2.0, whole=5.0)


def request(**told: object) -> ChatRequest:
    return ChatRequest(
        call=Call(0, 7, 0, 0, "critic", 0),
        sampling=Sampling(model="embedded"),
        messages=(
            ChatMessage(role="system", content="You judge how well a visit will go."),
            ChatMessage(role="user", content="How good?"),
        ),
        seed=1,
    )


def at(url: str, ask: Callable[[Batches], Awaitable[T]], tier: str = "") -> Awaitable[T]:
    async def main() -> T:
        async with OpenAIModel(Account(key="sk-1", url=url, tier=tier, timeouts=QUICK)) as model:
            return await ask(Batches(model))

    return main()


def told(answer: object, ask: Callable[[Batches], Awaitable[T]], status: int = 200) -> T:
    """Return what *ask* makes of a service that gives one *answer* to everything."""

    async def main() -> T:
        async def answering(_: web.BaseRequest) -> web.Response:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return web.Response(status=status, body=body)

        runner = web.ServerRunner(web.Server(answering))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            host, port = runner.addresses[0][:2]
            return await at(f"http://{host}:{port}/v1", ask)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def test_a_batch_says_what_a_call_would(tmp_path: object) -> None:
    """From the file that goes up to the reply, over HTTP: the same reply as live."""

    async def main() -> None:
        async with Server(EmbeddedModel()) as url, OpenAIModel(Account(key="k", url=url)) as model:
            batches = Batches(model)
            file = await batches.upload([Line("a", batches.body(request()))])
            state = await batches.create(file)
            assert (await batches.find(file)) is not None
            while not state.ended:
                state = await batches.state(state.name)
            outcome = (await batches.outcomes(state.output, 1))["a"]
            assert batches.read(request(), outcome) == await model.reply(request())
            assert (state.done, state.total, state.errors) == (1, 1, "")

    asyncio.run(main())


def test_a_vector_says_what_it_would() -> None:
    async def main() -> None:
        asked = embedding_request("one", "a text")
        async with Server(EmbeddedModel(), names=("one",), embed=lambda _: [3.0, 4.0]) as url:
            model = EmbeddingModel(Account(key="k", url=url), "one")
            batches = Batches(model)
            state = await batches.create(await batches.upload([Line("a", batches.body(asked))]))
            while not state.ended:
                state = await batches.state(state.name)
            reply = batches.read(asked, (await batches.outcomes(state.output, 1))["a"])
            live = await model.reply(asked)
            assert decoded(reply.text).tolist() == decoded(live.text).tolist()
            await model.aclose()

    asyncio.run(main())


def test_a_state_is_read() -> None:
    state = told(GOOD, lambda batches: batches.state("batch_1"))
    assert state == BatchState(
        name="batch_1", status="completed", file="file-1", output="file-2", done=2, total=2
    )


def test_what_is_wrong_with_a_batch_is_told() -> None:
    wrong = {"errors": {"data": [{"message": "line 3 is\nno JSON", "line": 3}]}}
    state = told({**GOOD, "status": "failed", **wrong}, lambda batches: batches.state("batch_1"))
    assert state.said == "line 3 is no JSON"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff",
        b"<html>",
        [],
        {},
        {**GOOD, "status": "resting"},
        {**GOOD, "status": 7},
        {**GOOD, "id": "../files/keys"},
        {**GOOD, "id": None},
        {**GOOD, "output_file_id": "a/b"},
        {**GOOD, "output_file_id": ["file-2"]},
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("step", ["state", "create", "upload"])
def test_what_is_no_batch_may_pass(answer: object, step: str) -> None:
    """Whatever stands in the place of a batch is malformed, and no name is used that is odd."""
    asks: dict[str, Callable[[Batches], Awaitable[object]]] = {
        "state": lambda batches: batches.state("batch_1"),
        "create": lambda batches: batches.create("file-1"),
        "upload": lambda batches: batches.upload([Line("a", b"{}")]),
    }
    if step == "upload" and isinstance(answer, dict) and answer.get("id") == GOOD["id"]:
        answer = {**answer, "id": ""}  # a file has no status
    with pytest.raises(TransientError) as caught:
        told(answer, asks[step])
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize(
    ("status", "kind"), [(404, ServiceError), (400, ServiceError), (401, ServiceError)]
)
def test_a_service_that_takes_no_batches_says_so(status: int, kind: type[ModelError]) -> None:
    """It stops the run with a hint, and fails no call for it."""
    with pytest.raises(kind) as caught:
        told({"error": {"message": "no"}}, lambda batches: batches.create("file-1"), status)
    assert isinstance(caught.value, ServiceError)
    assert caught.value.hint


def test_what_a_service_has_forgotten_is_named() -> None:
    """A file before the service began costs nothing; a batch was paid for, and stops the run."""
    with pytest.raises(NoSuchFileError):
        told({"error": {"message": "No such file: x"}}, lambda one: one.create("file-1"), 404)
    with pytest.raises(ServiceError, match="has no batch batch_1") as caught:
        told({}, lambda batches: batches.state("batch_1"), 404)
    assert "remove batches.jsonl" in caught.value.hint
    with pytest.raises(ServiceError, match="has no file file-2"):
        told({}, lambda batches: batches.outcomes("file-2", 1), 404)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_busy_is_asked_again(status: int) -> None:
    with pytest.raises(TransientError):
        told({}, lambda batches: batches.state("batch_1"), status)


def test_a_service_need_not_list_its_batches() -> None:
    assert told({}, lambda batches: batches.find("file-1"), 404) is None
    assert told({"data": "none"}, lambda batches: batches.find("file-1")) is None


def test_lines_that_are_none_are_passed_over() -> None:
    """The others count: what lacks is asked for again."""
    good = {"custom_id": "a", "response": {"status_code": 200, "body": {"said": 1}}}
    late = {"custom_id": "b", "response": None, "error": {"code": "batch_expired", "message": "x"}}
    empty = {"custom_id": "c"}
    lines = [b"", b"\xff", b"[]", b'{"custom_id":3}', b"[" * 100_000]
    lines += [json.dumps(one).encode() for one in (good, late, empty)]
    found = told(b"\n".join(lines), lambda batches: batches.outcomes("file-2", 9))
    assert found == {
        "a": Outcome(200, b'{"said": 1}'),
        "b": Outcome(error="batch_expired", said="x"),
        "c": Outcome(error="no answer"),
    }


def test_a_file_that_never_ends_is_not_read() -> None:
    """A line has some room, and not more."""
    with pytest.raises(TransientError, match="more than 2 MiB"):
        told(b"x" * 3_000_000, lambda batches: batches.outcomes("file-2", 1))


def read(outcome: Outcome) -> ChatReply:
    async def main() -> ChatReply:
        async with OpenAIModel(Account(key="k", url="http://localhost:1/v1")) as model:
            return Batches(model).read(request(), outcome)

    return asyncio.run(main())


def problem(message: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (Outcome(500, b"{}"), "server"),
        (Outcome(429, b"{}"), "rate_limit"),
        (Outcome(200, b"null"), "malformed"),
        (Outcome(400, problem("Unsupported parameter", param="temperature")), "refused"),
    ],
)
def test_a_line_may_be_asked_again(outcome: Outcome, kind: str) -> None:
    with pytest.raises(TransientError) as caught:
        read(outcome)
    assert caught.value.kind == kind


def test_a_line_that_is_refused_fails_its_call() -> None:
    with pytest.raises(CallFailedError, match="too long"):
        read(Outcome(400, problem("x", code="context_length_exceeded")))


def test_a_model_that_takes_no_batches_stops_the_run() -> None:
    with pytest.raises(ServiceError, match="has no model 'embedded' for batches"):
        read(Outcome(404, problem("no such model", code="model_not_found")))
