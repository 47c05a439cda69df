"""Models of OpenAI services, over real HTTP against a service of our own."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from agents.models.guards.limiter import Limiter, Limits
from agents.models.guards.retrying import Attempt, Patience, Retrying
from agents.models.model import (
    ChatMessage,
    ChatModel,
    ChatReply,
    ChatRequest,
    Rates,
    Sampling,
    TransientError,
)
from agents.models.remote.addresses import OPENAI_URL
from agents.models.remote.chat import OpenAIModel
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.embeddings import Embedded, OpenAIEmbeddings
from agents.models.remote.headers import rates, retry_after, seconds
from agents.models.remote.keys import NO_KEY, read_key
from agents.models.remote.service import Account
from agents.models.serving.faults import Faults
from agents.models.serving.latency import Latency
from agents.models.serving.server import Behaviour, Server
from engine.calls import Call
from engine.errors import CallFailedError, ConfigError, ServiceError
from tests.support.answering import Answering, answering

KEY = "sk-very-secret-0123456789"
SCHEMA = '{"type": "object",  "properties": {"title": {"type": "string"}}}'


def request(seed: int = 7, *, text: str = "what next?", schema: str = "") -> ChatRequest:
    return ChatRequest(
        call=Call(seed, seed, 0, 0, "actor", 0),
        sampling=Sampling(model="embedded", temperature=0.25, max_tokens=50),
        messages=(
            ChatMessage(role="system", content="You advise."),
            ChatMessage(role="user", content=text),
        ),
        seed=seed,
        schema=schema,
    )


class Echo:
    """Says the request's digest, which stands for all that decides a reply."""

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text=asked.digest, prompt_tokens=30, completion_tokens=8)


class Saying:
    def __init__(self, text: str) -> None:
        self.text = text

    async def reply(self, asked: ChatRequest) -> ChatReply:
        return ChatReply(text=self.text, prompt_tokens=30, completion_tokens=8)


@asynccontextmanager
async def serving(
    model: ChatModel | None = None, behaviour: Behaviour | None = None, *, key: str = KEY
) -> AsyncIterator[OpenAIModel]:
    async with (
        Server(model or Echo(), behaviour) as url,
        OpenAIModel(Account(key=key, url=url)) as m,
    ):
        yield m


def faulty(**rates: float) -> Behaviour:
    return Behaviour(faults=Faults(rates=rates))


def ask(answer: Answering, asked: ChatRequest | None = None) -> ChatReply:
    async def main() -> ChatReply:
        async with answering(answer) as url, OpenAIModel(Account(key=KEY, url=url)) as model:
            return await model.reply(asked or request())

    return asyncio.run(main())


def complaining(status: int, **error: str) -> Answering:
    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        if asked.path.endswith("/models"):
            return web.json_response({"data": [{"id": "gpt-9"}, {"id": "embedded-2"}]})
        return web.json_response({"error": {"message": "", **error}}, status=status)

    return answer


# -- replies


@pytest.mark.parametrize("schema", ["", SCHEMA])
def test_service_sees_the_very_same_request(schema: str) -> None:
    """Messages, seed, sampling and schema arrive as they are, so a reply over HTTP is the same."""

    async def main() -> ChatReply:
        async with serving() as model:
            return await model.reply(request(text="Grüße – 東京 \u2028", schema=schema))

    assert asyncio.run(main()).text == request(text="Grüße – 東京 \u2028", schema=schema).digest


def test_reply_carries_tokens_and_limits() -> None:
    async def main() -> ChatReply:
        async with serving(None, Behaviour(requests_per_minute=100)) as model:
            return await model.reply(request())

    reply = asyncio.run(main())
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish) == (30, 8, "stop")
    assert reply.rates == Rates(requests=100, requests_left=99)


def test_reply_cut_at_its_length_is_a_reply() -> None:
    async def main() -> ChatReply:
        async with serving(Saying("half of it"), faulty(length=1)) as model:
            return await model.reply(request())

    reply = asyncio.run(main())
    assert (reply.text, reply.finish) == ("half ", "length")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb"a \ud83d\ude00 b", "a \N{GRINNING FACE} b"),
        (rb"a \ud800 b", "a \N{REPLACEMENT CHARACTER} b"),
        (b"a \xff b", "a \N{REPLACEMENT CHARACTER} b"),
        (rb"nul \u0000", "nul \0"),
    ],
)
def test_replies_are_valid_text(content: bytes, text: str) -> None:
    """Whatever bytes a service sends, what agents read can be written as UTF-8."""

    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        body = b'{"choices":[{"message":{"content":"%b"}}]}' % content
        return web.Response(body=body)

    assert ask(answer).text == text


def test_refusal_of_the_model_is_its_reply() -> None:
    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        message = {"content": None, "refusal": "I would rather not."}
        return web.json_response({"choices": [{"message": message}]})

    assert ask(answer).text == "I would rather not."


# -- what may pass, what not


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("rate_limit", "rate_limit"),
        ("rate_limit_told", "rate_limit"),
        ("error", "server"),
        ("unavailable", "server"),
        ("drop", "connection"),
        ("cut", "connection"),
        ("truncated", "malformed"),
        ("wrong", "malformed"),
        ("empty", "malformed"),
        ("slow", "timeout"),
    ],
)
def test_faults_that_may_pass(fault: str, kind: str) -> None:
    async def main() -> None:
        timeouts = Timeouts(first_byte=0.2)
        async with (
            Server(Echo(), faulty(**{fault: 1})) as url,
            OpenAIModel(Account(key=KEY, url=url, timeouts=timeouts)) as model,
        ):
            await model.reply(request())

    with pytest.raises(TransientError) as caught:
        asyncio.run(main())
    assert caught.value.kind == kind
    assert caught.value.retry_after == (1.0 if fault == "rate_limit_told" else None)


def test_body_that_trickles_is_cut_off_in_the_end() -> None:
    """Bytes now and then do not keep a call alive for ever."""

    async def trickle(asked: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(asked)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    async def main() -> None:
        timeouts = Timeouts(first_byte=0.2, whole=0.5)
        async with (
            answering(trickle) as url,
            OpenAIModel(Account(key=KEY, url=url, timeouts=timeouts)) as model,
        ):
            await model.reply(request())

    with pytest.raises(TransientError, match="did not answer in time"):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": "content_filter"}, "content_filter"),
        (400, {"code": "context_length_exceeded"}, "too_long"),
        (413, {}, "too_long"),
        (400, {"message": "bad thing"}, "refused"),
        (422, {"message": "bad thing"}, "refused"),
    ],
)
def test_faults_of_one_call(status: int, error: dict[str, str], kind: str) -> None:
    with pytest.raises(CallFailedError) as caught:
        ask(complaining(status, **error))
    assert caught.value.kind == kind


def test_withheld_reply_fails_its_call() -> None:
    async def main() -> None:
        async with serving(None, faulty(filter=1)) as model:
            await model.reply(request())

    with pytest.raises(CallFailedError) as caught:
        asyncio.run(main())
    assert caught.value.kind == "content_filter"


@pytest.mark.parametrize(
    ("status", "error", "sentence"),
    [
        (401, {"message": f"Incorrect API key provided: {KEY}"}, "refuses the key with 401"),
        (403, {"message": f"{KEY} may not"}, "refuses the key with 403"),
        (429, {"code": "insufficient_quota"}, "has no credit left"),
        (402, {}, "has no credit left"),
        (404, {"code": "model_not_found"}, "has no model 'embedded'"),
        (404, {"message": "not found"}, "is not where the service is: 404: not found"),
        (308, {}, "is not where the service is: 308"),
    ],
)
def test_faults_that_stop_the_run(status: int, error: dict[str, str], sentence: str) -> None:
    """One sentence and a hint, and never the key, even if the service quotes it."""
    with pytest.raises(ServiceError, match=sentence) as caught:
        ask(complaining(status, **error))
    assert caught.value.hint
    assert KEY not in f"{caught.value!r}{caught.value.hint}{caught.value.__cause__!r}"


def test_missing_model_names_those_on_offer() -> None:
    with pytest.raises(ServiceError) as caught:
        ask(complaining(404, code="model_not_found"))
    assert caught.value.hint == "it offers embedded-2, gpt-9"


def test_key_in_an_error_is_blotted_out() -> None:
    with pytest.raises(CallFailedError) as caught:
        ask(complaining(400, message=f"what is\n{KEY}?"))
    assert str(caught.value).endswith("refused the request with 400: what is …?")


def test_what_a_service_says_of_an_error_is_kept() -> None:
    """On one line, inert, without the key, and no more than 500 characters of it."""
    message = f"no\n\x1b[31mjson_schema\x00 \u202e{KEY}\u2028here {'x' * 900}"
    with pytest.raises(TransientError) as caught:
        ask(complaining(500, message=message))
    said = caught.value.said
    assert said.startswith("no [31mjson_schema … here xxx")
    assert len(said) == 500
    assert str(caught.value).endswith(f"answered 500: {said}")


def test_what_is_said_of_a_key_is_not_kept() -> None:
    """It quotes the key, and not always whole."""
    with pytest.raises(ServiceError) as caught:
        ask(complaining(401, message="what is sk-very…6789?"))
    assert "sk-" not in str(caught.value)


def test_no_cause_shows_the_key() -> None:
    """aiohttp's errors have the request's headers in their repr: those are dropped."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"no HTTP at all\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with (
            server,
            OpenAIModel(Account(key=KEY, url=f"http://127.0.0.1:{port}/v1")) as model,
        ):
            await model.reply(request())

    with pytest.raises(TransientError, match="does not speak HTTP") as caught:
        asyncio.run(main())
    assert caught.value.kind == "malformed"
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_nothing_shows_the_key() -> None:
    account = Account(key=KEY, url="http://user:password@127.0.0.1/v1")
    assert KEY not in repr(account)
    assert KEY not in repr(OpenAIModel(account))
    assert "password" not in repr(OpenAIModel(account))


# -- before a run


def probe(url: str, key: str = KEY) -> None:
    async def now(_: float) -> None:
        return None

    async def main() -> None:
        async with OpenAIModel(Account(key=key, url=url)) as model:
            await model.probe(["embedded"], sleep=now)

    asyncio.run(main())


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def test_probe_finds_a_url_that_refuses() -> None:
    port = closed_port()
    with pytest.raises(
        ServiceError, match=rf"127.0.0.1:{port}/v1 cannot be reached: con"
    ) as caught:
        probe(f"http://127.0.0.1:{port}/v1")
    assert "--base-url" in caught.value.hint


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://host/v1", "http://", "http://[1/v1", "http://host:port/v1"]
)
def test_account_needs_a_url(url: str) -> None:
    with pytest.raises(ConfigError, match="no URL of a service"):
        Account(key=KEY, url=url)


def test_probe_finds_a_host_that_is_not_there() -> None:
    with pytest.raises(ServiceError, match="cannot be reached"):
        probe("http://nowhere.invalid/v1")


def test_probe_finds_a_page_in_place_of_a_service() -> None:
    """A proxy that lies: it answers 200 with something else."""

    async def page(asked: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<html>Please sign in</html>", content_type="text/html")

    async def main() -> None:
        async with answering(page) as url:
            await asyncio.to_thread(probe, url)

    with pytest.raises(ServiceError, match="no valid JSON"):
        asyncio.run(main())


@pytest.mark.parametrize("answer", [502, 407])
def test_probe_finds_a_proxy_that_refuses(answer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(asked: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=answer)

    async def main() -> None:
        async with answering(refuse) as url:
            monkeypatch.setenv("HTTPS_PROXY", url.replace("http://", "http://me:secret@"))
            monkeypatch.delenv("NO_PROXY", raising=False)
            await asyncio.to_thread(probe, "https://service.invalid/v1")

    with pytest.raises(ServiceError, match=r"the proxy http://127\.0\.0\.1") as caught:
        asyncio.run(main())
    assert "secret" not in str(caught.value)


def test_probe_finds_a_certificate_that_fails(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=me -days 1 -out {certificate}"
    subprocess.run([*make.split(), "-keyout", str(key)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def main() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await asyncio.to_thread(probe, f"https://127.0.0.1:{port}/v1")

    with pytest.raises(ServiceError, match=r"certificate of https://127\..* cannot be trusted"):
        asyncio.run(main())


def test_probe_tries_again_what_may_pass() -> None:
    """A service with faults is no reason not to start."""

    async def main() -> None:
        async with serving(None, faulty(drop=0.3, rate_limit=0.2, truncated=0.1)) as model:
            await model.probe(["embedded"])

    asyncio.run(main())


def test_probe_tells_the_limits_that_the_service_states() -> None:
    """Those of each model; a refusal states them as well."""

    async def main() -> tuple[dict[str, Rates], dict[str, Rates]]:
        limits = Behaviour(requests_per_minute=1, tokens_per_minute=900)
        async with serving(None, limits) as model:
            return await model.probe(["embedded"]), await model.probe(["embedded"])

    first, second = asyncio.run(main())
    left = first["embedded"].tokens_left
    assert left is not None
    assert left < 900
    assert (
        first
        == second
        == {"embedded": Rates(requests=1, requests_left=0, tokens=900, tokens_left=left)}
    )


def test_probe_of_a_silent_service_tells_no_limits() -> None:
    async def main() -> dict[str, Rates]:
        async with serving() as model:
            return await model.probe(["embedded"])

    assert asyncio.run(main()) == {}


# -- dialects


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("gpt-4o", {"temperature", "max_tokens", "stop"}),
        ("o3-mini", {"max_completion_tokens"}),
        ("openai/gpt-5-nano", {"max_completion_tokens"}),
    ],
)
def test_reasoning_models_are_told_less(model: str, fields: set[str]) -> None:
    asked: list[dict[str, object]] = []

    async def answer(came: web.BaseRequest) -> web.StreamResponse:
        asked.append(await came.json())
        return web.json_response({"choices": [{"message": {"content": "yes"}}]})

    ask(answer, replace_model(request(), model))
    assert set(asked[0]) == fields | {"model", "messages", "seed"}


def replace_model(asked: ChatRequest, model: str) -> ChatRequest:
    sampling = msgspec.structs.replace(asked.sampling, model=model)
    return msgspec.structs.replace(asked, sampling=sampling)


def test_dialect_is_learned_from_what_is_refused() -> None:
    """A model that refuses a parameter is asked again without it, and then never with it."""
    asked: list[dict[str, object]] = []

    async def answer(came: web.BaseRequest) -> web.StreamResponse:
        body = await came.json()
        asked.append(body)
        for name in ("max_tokens", "temperature"):
            if name in body:
                error = {"message": f"Unsupported parameter: '{name}'", "param": name}
                return web.json_response({"error": error}, status=400)
        return web.json_response({"choices": [{"message": {"content": "yes"}}]})

    async def main() -> None:
        async with answering(answer) as url, OpenAIModel(Account(key=KEY, url=url)) as model:
            await model.reply(request())
            await model.reply(request())

    asyncio.run(main())
    assert len(asked) == 4
    assert all("max_completion_tokens" in body for body in asked[-2:])


def test_azure_is_addressed_by_deployment() -> None:
    came: list[web.BaseRequest] = []

    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        came.append(asked)
        return web.json_response({"choices": [{"message": {"content": "yes"}}]})

    async def main() -> None:
        async with answering(answer) as url:
            account = Account(key=KEY, url=url.removesuffix("/v1"), azure_version="2024-10-21")
            async with OpenAIModel(account) as model:
                await model.reply(request())

    asyncio.run(main())
    path = "/openai/deployments/embedded/chat/completions?api-version=2024-10-21"
    assert came[0].path_qs == path
    assert came[0].headers["api-key"] == KEY


@pytest.mark.parametrize(
    ("url", "azure"),
    [
        (OPENAI_URL, ""),
        ("https://me.openai.azure.com", "2024-10-21"),
        ("https://me.openai.azure.com/openai/v1", ""),
    ],
)
def test_azure_is_known_by_its_url(url: str, azure: str) -> None:
    assert Account(key=KEY, url=url).azure == azure


# -- embeddings


def test_embeddings_come_in_order() -> None:
    """With the tokens they cost and what the service says of its limits."""

    async def main() -> Embedded:
        behaviour = Behaviour(tokens_per_minute=1_000)
        async with Server(Echo(), behaviour, embed=lambda text: [len(text), 0.5]) as url:
            embeddings = OpenAIEmbeddings(Account(key=KEY, url=url), "embedded")
            try:
                return await embeddings.embed(["a", "b" * 39, ""])
            finally:
                await embeddings.aclose()

    said = asyncio.run(main())
    assert said.vectors == [[1, 0.5], [39, 0.5], [0, 0.5]]
    assert said.tokens == 10
    assert said.rates == Rates(tokens=1_000, tokens_left=990)


def test_embeddings_fail_as_replies_do() -> None:
    async def main() -> None:
        async with Server(Echo(), Behaviour(key="another")) as url:
            embeddings = OpenAIEmbeddings(Account(key=KEY, url=url), "embedded")
            try:
                await embeddings.embed(["a"])
            finally:
                await embeddings.aclose()

    with pytest.raises(ServiceError, match="refuses the key"):
        asyncio.run(main())


# -- keys and headers


def test_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    assert read_key({"OPENAI_API_KEY": f" {KEY} "}, url=OPENAI_URL) == KEY
    assert read_key({}, path=path, url=OPENAI_URL) == KEY
    assert read_key({}, url="http://127.0.0.1:8000/v1") == NO_KEY


def test_missing_key_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no key in the environment variable OPENAI_API_KEY"):
        read_key({}, url=OPENAI_URL)
    with pytest.raises(ConfigError, match="cannot read a key"):
        read_key({}, path=tmp_path / "none", url=OPENAI_URL)


def test_broken_key_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        read_key({"OPENAI_API_KEY": "sk-sécret"}, url=OPENAI_URL)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "3", "retry-after-ms": "-1"}, 3.0),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, None),
        ({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 77:28:00 GMT"}, None),
        ({"retry-after": "\udcff\x00"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "nan"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after(headers) == wait


def test_rates_are_read_as_far_as_told() -> None:
    assert rates({}) is None
    told = {"x-ratelimit-limit-tokens": "30000", "x-ratelimit-remaining-tokens": "bah"}
    assert rates(told) == Rates(tokens=30_000)
    assert [seconds(text) for text in ("6m0s", "120ms", "1.5s", "1d2h", "x")] == [
        360, 0.12, 1.5, 93_600, None,
    ]  # fmt: skip


# -- whole chains


async def chained(
    url: str, calls: int, *, in_flight: int = 50, patience: Patience | None = None
) -> tuple[list[ChatReply | BaseException], list[Attempt]]:
    attempts: list[Attempt] = []
    patience = patience or Patience(attempts=20, first=0.01, longest=0.3)
    async with OpenAIModel(Account(key=KEY, url=url)) as model:
        limiter = Limiter(model, Limits(in_flight=in_flight))
        retrying = Retrying(limiter, patience, observe=attempts.append)
        tasks = [retrying.reply(request(seed)) for seed in range(calls)]
        return await asyncio.gather(*tasks, return_exceptions=True), attempts


def outcome(behaviour: Behaviour, calls: int) -> tuple[list[str], list[Attempt]]:
    async def main() -> tuple[list[str], list[Attempt]]:
        async with Server(Echo(), behaviour) as url:
            replies, attempts = await chained(url, calls)
        return [one.text for one in replies if isinstance(one, ChatReply)], attempts

    return asyncio.run(main())


@pytest.mark.parametrize(
    "faults",
    [
        Faults(rates={"rate_limit_told": 0.2}, retry_after=0.02),
        Faults(rates={"rate_limit": 0.2}),
        Faults(rates={"drop": 0.2}),
        Faults(rates={"cut": 0.2}),
        Faults(rates={"truncated": 0.05}),
        Faults(rates={"error": 0.1, "unavailable": 0.1}),
        Faults(rates={"wrong": 0.1, "empty": 0.1}),
        Faults(rates={"slow": 0.01}, slow=2.0),
        Faults(outages=((0.1, 2.0),)),
    ],
    ids=lambda faults: "+".join(faults.rates) or "outage",
)
def test_faults_leave_no_mark_on_replies(faults: Faults) -> None:
    """Whatever the service does on the way, every call gets the reply of an undisturbed one."""
    behaviour = Behaviour(faults=faults, latency=Latency(0.01))
    texts, attempts = outcome(behaviour, calls=400)
    assert texts == [request(seed).digest for seed in range(400)]
    failed = sum(attempt.kind is not None for attempt in attempts)
    assert failed > 0 or "slow" in faults.rates
    assert len(attempts) == 400 + failed


def test_slow_replies_hold_nobody_back() -> None:
    """Others go on while one call waits for its reply."""
    faults = Faults(rates={"slow": 0.01}, slow=3.0)

    async def main() -> float:
        async with Server(Echo(), Behaviour(faults=faults, latency=Latency(0.005))) as url:
            start = asyncio.get_running_loop().time()
            replies, _ = await chained(url, 500, in_flight=20)
            assert len(replies) == 500
            return asyncio.get_running_loop().time() - start

    assert asyncio.run(main()) < 6.0


def test_refused_key_stops_at_once() -> None:
    """In the middle of a run as well: no call is tried again."""
    behaviour = Behaviour(faults=Faults(refuse_after=30))

    async def main() -> tuple[list[ChatReply | BaseException], list[Attempt]]:
        async with Server(Echo(), behaviour) as url:
            return await chained(url, 60)

    replies, attempts = asyncio.run(main())
    assert sum(isinstance(one, ChatReply) for one in replies) == 30
    assert sum(isinstance(one, ServiceError) for one in replies) == 30
    assert len(attempts) == 30


def test_cancelled_calls_leave_nothing_open() -> None:
    """Ctrl-C during retries: tasks end, connections close, nothing is left to warn of."""

    async def main() -> int:
        behaviour = Behaviour(latency=Latency(0.05), faults=Faults(rates={"rate_limit": 0.5}))
        async with Server(Echo(), behaviour) as url:
            running = asyncio.create_task(chained(url, 200))
            await asyncio.sleep(0.2)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


# -- tiers


@asynccontextmanager
async def in_flex(answer: Answering) -> AsyncIterator[OpenAIModel]:
    """A model that is asked in the tier flex."""
    async with (
        answering(answer) as url,
        OpenAIModel(Account(key=KEY, url=url, tier="flex")) as model,
    ):
        yield model


def test_a_tier_is_asked_for() -> None:
    """By name; without one nothing is said of it, for not all services know what it is."""
    bodies: list[bytes] = []

    async def answer(asked: web.BaseRequest) -> web.StreamResponse:
        bodies.append(await asked.read())
        return web.json_response({"choices": [{"message": {"content": "x"}}]})

    async def main() -> None:
        async with in_flex(answer) as model:
            await model.reply(request())

    asyncio.run(main())
    ask(answer)
    tiers = [msgspec.json.decode(body).get("service_tier") for body in bodies]
    assert tiers == ["flex", None]


def test_a_tier_without_room_is_no_limit_of_the_account() -> None:
    """It may pass, is paid by nobody, and lowers nothing: other calls go on as they did."""
    limits = Limits(in_flight=8)

    async def main() -> None:
        full = complaining(429, message="Resource Unavailable", code="resource_unavailable")
        async with in_flex(full) as model:
            limiter = Limiter(model, limits)
            with pytest.raises(TransientError) as caught:
                await limiter.reply(request())
            assert (caught.value.kind, limiter.statistics().limit) == ("capacity", 8)
            retrying = Retrying(limiter, Patience(attempts=2, first=0.0))
            with pytest.raises(ServiceError, match="no room in its tier 'flex'") as stopped:
                await retrying.reply(request())
            assert "tier of the role to default" in stopped.value.hint

    asyncio.run(main())


def test_the_same_refusal_without_a_tier_is_one() -> None:
    with pytest.raises(TransientError) as caught:
        ask(complaining(429, message="Resource Unavailable", code="resource_unavailable"))
    assert caught.value.kind == "rate_limit"


def test_a_tier_that_a_model_has_not_stops_the_run() -> None:
    """In one sentence: silently it would cost twice as much."""

    async def main() -> None:
        what = {"message": "Invalid service_tier argument", "param": "service_tier"}
        async with in_flex(complaining(400, **what)) as model:
            with pytest.raises(ServiceError, match="has no tier 'flex' for 'embedded'") as caught:
                await model.reply(request())
            assert caught.value.hint == "set the tier of the role to default"

    asyncio.run(main())
