"""The service of our own, asked by the official client as a stranger would."""

import asyncio
import signal
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import httpx2
import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatMessage, ChatReply, ChatRequest, Sampling
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.dialects import Dialect, most_tokens
from agents.models.remote.profiles import UNKNOWN
from agents.models.remote.responses import encode_response_request
from agents.models.remote.service import Account
from agents.models.remote.wire import encode_request
from agents.models.serving.asked import AskedReply, AskedResponse
from agents.models.serving.faults import FAULTS, Draws, Faults
from agents.models.serving.latency import Latency, parse_latency
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call
from engine.chance import chance
from engine.errors import CallFailedError, ConfigError
from tests.support.drawn import TEXTS

T = TypeVar("T")
Encode: TypeAlias = Callable[[ChatRequest, Dialect], bytes]
SERVE = "import typer, sim.commands.serve as s; typer.run(s.serve)"


class Counting:
    """Replies with the number of messages and the seed."""

    async def reply(self, asked: ChatRequest) -> ChatReply:
        text = f"{len(asked.messages)} {asked.seed}"
        return ChatReply(text=text, prompt_tokens=20, completion_tokens=5)


@asynccontextmanager
async def stranger(
    behaviour: Behaviour | None = None, *, retries: int = 0
) -> AsyncIterator[openai.AsyncOpenAI]:
    server = Server(Counting(), behaviour, names=("one", "two"), embed=lambda text: [len(text), -1])
    async with (
        server as url,
        openai.AsyncOpenAI(
            base_url=url,
            api_key="sk-stranger",
            max_retries=retries,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        ) as client,
    ):
        yield client


def asked(
    ask: Callable[[openai.AsyncOpenAI], Awaitable[T]], behaviour: Behaviour | None = None
) -> T:
    async def main() -> T:
        async with stranger(behaviour) as client:
            return await ask(client)

    return asyncio.run(main())


async def chat(client: openai.AsyncOpenAI, model: str = "one") -> ChatCompletion:
    return await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "hello"}], seed=11
    )


# -- what strangers expect


def test_models_are_listed() -> None:
    async def names(client: openai.AsyncOpenAI) -> list[str]:
        return [model.id async for model in client.models.list()]

    assert asked(names) == ["one", "two"]


def test_chat_completes() -> None:
    completion = asked(chat)
    assert completion.choices[0].message.content == "1 11"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 25


def test_chat_can_be_streamed() -> None:
    async def text(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model="one", messages=[{"role": "user", "content": "hello"}], seed=3, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asked(text) == "1 3"


def test_messages_may_come_in_parts() -> None:
    async def text(client: openai.AsyncOpenAI) -> str | None:
        completion = await client.chat.completions.create(
            model="one",
            messages=[
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            ],
            max_completion_tokens=3,
            user="a field that we do not know",
        )
        return completion.choices[0].message.content

    said = asked(text)
    assert said is not None
    assert said.startswith("2 ")
    assert said == asked(text)  # without a seed the request decides


def test_responses_are_given() -> None:
    """Instructions come first; parts make one text; nothing is kept."""

    async def made(client: openai.AsyncOpenAI) -> Response:
        return await client.responses.create(
            model="one",
            instructions="Be brief.",
            input=[{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
            reasoning={"effort": "low"},
            store=False,
            extra_body={"seed": 3},
        )

    response = asked(made)
    assert (response.output_text, response.status) == ("2 3", "completed")
    assert response.usage is not None
    assert response.usage.total_tokens == 25


def test_no_response_builds_on_another() -> None:
    async def made(client: openai.AsyncOpenAI) -> object:
        return await client.responses.create(model="one", input="hello", previous_response_id="r")

    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        asked(made)


@pytest.mark.parametrize("packed", [True, False])
def test_embeddings_are_made(packed: bool) -> None:
    """The client asks for base64 unless it is told otherwise."""

    async def vectors(client: openai.AsyncOpenAI) -> list[list[float]]:
        texts = ["a", "four"]
        if packed:
            made = await client.embeddings.create(model="two", input=texts)
        else:
            made = await client.embeddings.create(model="two", input=texts, encoding_format="float")
        return [one.embedding for one in made.data]

    assert asked(vectors) == [[1, -1], [4, -1]]


@pytest.mark.parametrize(
    ("rates", "error"),
    [
        ({"error": 1.0}, openai.InternalServerError),
        ({"rate_limit": 1.0}, openai.RateLimitError),
        ({"drop": 1.0}, openai.APIConnectionError),
    ],
)
def test_embeddings_meet_faults_as_well(
    rates: dict[str, float], error: type[openai.APIError]
) -> None:
    async def vectors(client: openai.AsyncOpenAI) -> object:
        return await client.embeddings.create(model="two", input=["a"])

    with pytest.raises(error):
        asked(vectors, Behaviour(faults=Faults(rates=rates)))


# -- errors as the real ones


@pytest.mark.parametrize(
    ("rates", "error"),
    [
        ({"error": 1.0}, openai.InternalServerError),
        ({"unavailable": 1.0}, openai.InternalServerError),
        ({"rate_limit": 1.0}, openai.RateLimitError),
        ({"drop": 1.0}, openai.APIConnectionError),
        ({"cut": 1.0}, openai.APIConnectionError),
        ({"truncated": 1.0}, ValueError),
    ],
)
def test_faults_are_the_clients_errors(rates: dict[str, float], error: type[Exception]) -> None:
    with pytest.raises(error):
        asked(chat, Behaviour(faults=Faults(rates=rates)))


def test_unknown_model_is_not_found() -> None:
    with pytest.raises(openai.NotFoundError, match="`three` does not exist") as caught:
        asked(lambda client: chat(client, "three"))
    assert caught.value.code == "model_not_found"


def test_wrong_key_is_refused() -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        asked(chat, Behaviour(key="sk-right"))
    assert caught.value.code == "invalid_api_key"
    assert asked(chat, Behaviour(key="sk-stranger")).id


def test_key_is_refused_after_so_many_calls() -> None:
    async def count(client: openai.AsyncOpenAI) -> int:
        for number in range(10):
            try:
                await chat(client)
            except openai.AuthenticationError:
                return number
        return -1

    assert asked(count, Behaviour(faults=Faults(refuse_after=4))) == 4


@pytest.mark.parametrize(
    "body", [{}, {"model": "one", "messages": []}, {"model": "one", "messages": 3}]
)
def test_bad_request_is_explained(body: dict[str, object]) -> None:
    async def ask(client: openai.AsyncOpenAI) -> object:
        return await client.post("/chat/completions", body=body, cast_to=httpx2.Response)

    with pytest.raises(openai.BadRequestError, match=r"missing|at least one|array"):
        asked(ask)


def test_unknown_path_is_not_found() -> None:
    async def ask(client: openai.AsyncOpenAI) -> object:
        return await client.get("/moderations", cast_to=httpx2.Response)

    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(GET /v1/moderations\)"):
        asked(ask)


def test_prompt_that_the_model_fails_is_a_bad_request() -> None:
    class Failing:
        async def reply(self, asked: ChatRequest) -> ChatReply:
            raise CallFailedError("not that", kind="content_filter")

    async def main() -> None:
        async with Server(Failing()) as url, OpenAIModel(Account(key="k", url=url)) as model:
            await model.reply(ours())

    with pytest.raises(CallFailedError) as caught:
        asyncio.run(main())
    assert caught.value.kind == "content_filter"


# -- limits


def test_limits_are_enforced_and_told() -> None:
    """Headers as real services have them, on replies and on 429."""

    async def ask(client: openai.AsyncOpenAI) -> list[dict[str, str]]:
        first = await client.chat.completions.with_raw_response.create(
            model="one", messages=[{"role": "user", "content": "hello"}]
        )
        await chat(client)
        with pytest.raises(openai.RateLimitError) as caught:
            await chat(client)
        return [dict(first.headers), dict(caught.value.response.headers)]

    behaviour = Behaviour(requests_per_minute=2, tokens_per_minute=1_000)
    replied, refused = asked(ask, behaviour)
    assert replied["x-ratelimit-limit-requests"] == "2"
    assert replied["x-ratelimit-remaining-requests"] == "1"
    assert replied["x-ratelimit-remaining-tokens"] == "975"
    assert replied["x-ratelimit-reset-tokens"] in {"1m0s", "60s"}
    assert 55 <= float(refused["retry-after"]) <= 60


def test_tokens_are_limited() -> None:
    async def ask(client: openai.AsyncOpenAI) -> None:
        await chat(client)
        await chat(client)

    with pytest.raises(openai.RateLimitError, match="too many tokens"):
        asked(ask, Behaviour(tokens_per_minute=30))


def test_client_obeys_retry_after() -> None:
    """The official client waits as told, so the header is as it wants it."""
    behaviour = Behaviour(faults=Faults(rates={"rate_limit_told": 0.5}, retry_after=0.05))

    async def main() -> list[ChatCompletion]:
        async with stranger(behaviour, retries=20) as client:
            return [await chat(client) for _ in range(8)]

    assert len(asyncio.run(main())) == 8


def test_outage_comes_and_goes() -> None:
    async def ask(client: openai.AsyncOpenAI) -> str | None:
        with pytest.raises(openai.APIConnectionError):
            await chat(client)
        await asyncio.sleep(0.6)
        return (await chat(client)).choices[0].message.content

    assert asked(ask, Behaviour(faults=Faults(outages=((0.0, 0.5),)))) == "1 11"


# -- draws


def test_draws_are_seeded() -> None:
    rates = {"drop": 0.3, "error": 0.3}
    assert drawn(rates, seed=1) == drawn(rates, seed=1)
    assert drawn(rates, seed=1) != drawn(rates, seed=2)


def test_faults_do_not_shift_one_another() -> None:
    """Each has a stream of its own: more of one fault moves no other."""
    alone = drawn({"error": 0.2})
    beside = drawn({"error": 0.2, "length": 0.5})
    assert [fault == "error" for fault in alone] == [fault == "error" for fault in beside]


@pytest.mark.parametrize("name", FAULTS)
def test_faults_come_at_their_rate(name: str) -> None:
    assert drawn({name: 0.2}, count=4_000).count(name) == pytest.approx(800, abs=90)


def drawn(rates: dict[str, float], *, seed: int = 0, count: int = 200) -> list[str]:
    draws = Draws(rates, seed)
    return [draws.next() for _ in range(count)]


@pytest.mark.parametrize(
    ("rates", "sentence"), [({"dorp": 0.1}, "no fault 'dorp'"), ({"drop": 20}, "between 0 and 1")]
)
def test_faults_that_are_none(rates: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        Faults(rates=rates)
    assert "dorp" not in str(caught.value) or caught.value.hint == "did you mean drop?"


def test_latency_has_its_median() -> None:
    stream = chance(0, 0, 0, 0, "latency")
    drawn = [parse_latency("lognormal:200,0.6").draw(stream) for _ in range(2_000)]
    assert statistics.median(drawn) == pytest.approx(0.2, rel=0.05)
    assert parse_latency("fixed:30") == Latency(0.03)


@pytest.mark.parametrize("text", ["", "fixed", "fixed:x", "fixed:1,2", "lognormal:5", "fixed:-1"])
def test_latency_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="is no latency"):
        parse_latency(text)


# -- the same in process and over HTTP


def ours(text: str = "hello", seed: int = 5, schema: str = "") -> ChatRequest:
    return ChatRequest(
        call=Call(1, 2, 0, 3, "planner", 0),
        sampling=Sampling(model="embedded"),
        messages=(
            ChatMessage(role="system", content="You plan recommendations."),
            ChatMessage(role="user", content=text),
        ),
        seed=seed,
        schema=schema,
    )


@settings(deadline=None)
@given(
    text=TEXTS,
    seed=st.integers(0, 2**48 - 1),
    schema=st.sampled_from(["", "{}", '{"a":  [1, "é"]}']),
    model=st.sampled_from(["embedded", "o3"]),
    api=st.sampled_from([(encode_request, AskedReply), (encode_response_request, AskedResponse)]),
)
def test_requests_survive_the_wire(
    text: str,
    seed: int,
    schema: str,
    model: str,
    api: tuple[Encode, type[AskedReply | AskedResponse]],
) -> None:
    """What a request says is the same at the other end, byte for byte, by chat and responses."""
    request, dialect, (encode, kind) = ours(text, seed, schema), UNKNOWN.dialect(model), api
    body = encode(request, dialect)
    arrived = msgspec.json.decode(body, type=kind).request(body)
    assert (arrived.messages, arrived.seed, arrived.schema) == (request.messages, seed, schema)
    assert arrived.sampling.max_tokens == most_tokens(request.sampling, dialect)


def test_embedded_model_says_the_same_over_http() -> None:
    """Its reply depends on the messages and the seed, and both arrive."""
    text = "## History of the user\n- Portal | Action, Puzzle | 5.0\n- Braid | Puzzle | 4.0\n"

    async def main() -> list[tuple[ChatReply, ChatReply]]:
        embedded = EmbeddedModel()
        async with Server(embedded) as url, OpenAIModel(Account(key="k", url=url)) as far:
            return [
                (await embedded.reply(ours(text, seed)), await far.reply(ours(text, seed)))
                for seed in range(20)
            ]

    assert all(near == far for near, far in asyncio.run(main()))


# -- as a process


def started(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_it_cleanly(number: signal.Signals) -> None:
    """It says where it is, serves, and on a signal stops at once without a traceback."""
    process = started("--port", "0", "--latency", "fixed:5")
    assert process.stdout is not None
    url = process.stdout.readline().split(" at ")[1].split()[0]

    async def ask() -> list[str]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(base_url=url, api_key="k", http_client=http) as client:
            return [model.id async for model in client.models.list()]

    assert asyncio.run(ask()) == ["embedded", "hashing"]
    process.send_signal(number)
    out, errors = process.communicate(timeout=5)
    assert (process.returncode, errors) == (0, "")
    assert "Answered" in out


def test_port_in_use_is_one_sentence() -> None:
    async def main() -> None:
        async with Server(Counting()) as url:
            port = int(url.split(":")[2].removesuffix("/v1"))
            async with Server(Counting(), port=port):
                pass

    with pytest.raises(ConfigError, match=r"cannot serve on 127.0.0.1:\d+: address already in use"):
        asyncio.run(main())
