"""Odd requests, over a real socket: each gets the answer it should, and none upsets anybody."""

import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

import msgspec
import pytest

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.serving.answers import (
    Completion,
    CompletionChunk,
    Embeddings,
    Offer,
    Offers,
    Refusal,
)
from agents.models.serving.connections import Bounds
from agents.models.serving.server import Server
from tests.support.served import served

CHAT = "/v1/chat/completions"
VECTORS = "/v1/embeddings"
LIMIT = Bounds.body
USER = {"role": "user", "content": "hello"}
DEEP = b"[" * 200_000 + b"]" * 200_000
JUDGE = {"role": "system", "content": "You judge how well"}
TIMEOUT = 30


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, int]]:
    server = Server(
        EmbeddedModel(),
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
        bounds=Bounds(arrival=0.5),
    )
    with served(server) as there:
        place = urlsplit(there.url)
        assert place.hostname is not None
        assert place.port is not None
        yield place.hostname, place.port


Service = tuple[str, int]


def request(
    method: str, path: str, body: bytes = b"", version: str = "HTTP/1.1", **headers: str
) -> bytes:
    """Return a request as bytes; *headers* with _ for -, and an empty one to leave it out."""
    told = {"Host": "localhost", **({"Content-Length": str(len(body))} if body else {})}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}" for name, value in told.items() if value]
    return "\r\n".join([f"{method} {path} {version}", *lines, "", ""]).encode("latin-1") + body


def chat(body: bytes | dict[str, object], **headers: str) -> bytes:
    """Return a chat request: with what *body* says, or that is in order but for it."""
    if isinstance(body, dict):
        body = json.dumps({"model": "embedded", "messages": [USER], **body}).encode()
    return request("POST", CHAT, body, **{"Content_Type": "application/json", **headers})


def vectors(**fields: object) -> bytes:
    body = json.dumps({"model": "hashing", "input": "a", **fields}).encode()
    return request("POST", VECTORS, body, Content_Type="application/json")


def structured(schema: object) -> dict[str, object]:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    return {"response_format": form}


def spliced(key: bytes, value: bytes) -> bytes:
    """Return a chat request with a field whose value is those very bytes."""
    start = json.dumps({"model": "embedded", "messages": [USER]}).encode()[:-1]
    return chat(start + b', "' + key + b'": ' + value + b"}")


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = request("POST", CHAT, Content_Type="application/json", Transfer_Encoding="chunked")
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def packed(body: bytes) -> bytes:
    return chat(gzip.compress(body, 1), Content_Encoding="gzip")


GOOD = json.dumps({"model": "embedded", "messages": [USER]}).encode()

SCHEMA = b'{"type": "json_schema", "json_schema": {"name": "n", "schema": '

REFUSED: dict[str, tuple[bytes, int]] = {
    # what is no JSON
    "no body": (chat(b""), 400),
    "blank body": (chat(b"  \n"), 400),
    "no JSON": (chat(b"model=embedded"), 400),
    "JSON that ends early": (chat(GOOD[:-5]), 400),
    "JSON with more behind it": (chat(GOOD + b"{}"), 400),
    "not a number": (spliced(b"temperature", b"NaN"), 400),
    "byte order mark": (chat(b"\xef\xbb\xbf" + GOOD), 400),
    "UTF-16": (chat(GOOD.decode().encode("utf-16")), 400),
    "an array": (chat(b"[]"), 400),
    "null": (chat(b"null"), 400),
    "a number": (chat(b"1e999"), 400),
    "deep JSON": (chat(DEEP), 400),
    "deep JSON in an unknown field": (spliced(b"x", DEEP), 400),
    "deep objects": (spliced(b"x", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400),
    "invalid UTF-8": (chat(GOOD.replace(b"hello", b"\xff\xfe")), 400),
    "invalid UTF-8 in an unknown field": (spliced(b"x", b'"\xed\xa0\x80"'), 400),
    "invalid UTF-8 in a schema": (
        spliced(b"response_format", SCHEMA + b'{"\xff": 1}}}'),
        400,
    ),
    "lone surrogate": (chat(GOOD.replace(b"hello", b"\\ud800")), 400),
    # fields of odd types
    "no model": (chat(b'{"messages": []}'), 400),
    "model null": (chat({"model": None}), 400),
    "model unknown": (chat({"model": "x" * 100_000}), 404),
    "model with control characters": (chat({"model": "\x00\x1b[2J\u202e"}), 404),
    "no messages": (chat({"messages": []}), 400),
    "messages null": (chat({"messages": None}), 400),
    "too many messages": (chat({"messages": [USER] * 2_049}), 400),
    "message is text": (chat({"messages": ["hello"]}), 400),
    "content null": (chat({"messages": [{"role": "user", "content": None}]}), 400),
    "content a number": (chat({"messages": [{"role": "user", "content": 3}]}), 400),
    "part is a picture": (
        chat({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        400,
    ),
    "role unknown": (chat({"messages": [{"role": "tool", "content": ""}]}), 400),
    "seed is text": (chat({"seed": "3"}), 400),
    "seed is true": (chat({"seed": True}), 400),
    "seed is a fraction": (chat({"seed": 1.5}), 400),
    "seed is huge": (chat({"seed": 2**63}), 400),
    "seed has 5,000 digits": (spliced(b"seed", b"9" * 5_000), 400),
    "temperature is huge": (spliced(b"temperature", b"1e400"), 400),
    "temperature is negative": (chat({"temperature": -1}), 400),
    "max_tokens is negative": (chat({"max_tokens": -1}), 400),
    "max_tokens is huge": (chat({"max_tokens": 2**64}), 400),
    "n is 2": (chat({"n": 2}), 400),
    "n is 0": (chat({"n": 0}), 400),
    "stream is text": (chat({"stream": "yes"}), 400),
    "response_format is a number": (chat({"response_format": 3}), 400),
    "response_format is empty": (chat({"response_format": {}}), 400),
    "response_format of no kind": (chat({"response_format": {"type": "xml"}}), 400),
    "response_format without schema": (chat({"response_format": {"type": "json_schema"}}), 400),
    "schema is a number": (chat(structured(3)), 400),
    "schema is text": (chat(structured("{}")), 400),
    "schema is null": (chat(structured(None)), 400),
    "schema is empty": (chat(structured({})), 400),
    "schema is deep": (spliced(b"response_format", SCHEMA + b'{"a":' + DEEP + b"}}}"), 400),
    "schema is as deep as can be read": (
        spliced(b"response_format", SCHEMA + b'{"a":' + b"[" * 900 + b"]" * 900 + b"}}}"),
        400,
    ),
    "schema of a list": (chat(structured({"properties": ["a"]})), 400),
    "schema of odd properties": (chat(structured({"properties": {"a": 3}})), 400),
    "schema of two fields": (chat(structured({"properties": {"a": {}, "b": {}}})), 400),
    "schema that does not fit": (
        chat(structured({"properties": {"a": {"type": "integer"}}})),
        400,
    ),
    "prompt is too long": (chat({"messages": [{"role": "user", "content": "x" * 300_000}]}), 400),
    # embeddings
    "no input": (vectors(input=[]), 400),
    "input null": (vectors(input=None), 400),
    "input of tokens": (vectors(input=[1, 2, 3]), 400),
    "too many texts": (vectors(input=["a"] * 2_049), 400),
    "text is too long": (vectors(input="a" * 32_769), 400),
    "encoding_format unknown": (vectors(encoding_format="int8"), 400),
    "embeddings of an unknown model": (vectors(model="gpt-4"), 404),
    # bodies
    "form": (chat(GOOD, Content_Type="application/x-www-form-urlencoded"), 415),
    "content type is odd": (chat(GOOD, Content_Type="\xff;;=;"), 415),
    "other charset": (chat(GOOD, Content_Type="application/json; charset=utf-16"), 415),
    "unknown coding": (chat(GOOD, Content_Encoding="br"), 415),
    "two codings": (chat(GOOD, Content_Encoding="gzip, gzip"), 415),
    "no gzip": (chat(GOOD, Content_Encoding="gzip"), 400),
    "no deflate": (chat(GOOD, Content_Encoding="deflate"), 400),
    "gzip that ends early": (chat(gzip.compress(GOOD)[:-9], Content_Encoding="gzip"), 400),
    "gzip that is broken": (
        chat(gzip.compress(GOOD)[:15] + bytes(30), Content_Encoding="gzip"),
        400,
    ),
    "gzip with more behind it": (chat(gzip.compress(GOOD) * 2, Content_Encoding="gzip"), 400),
    "gzip of nothing": (packed(b""), 400),
    "gzip bomb": (packed(bytes(200 * LIMIT)), 413),
    "gzip bomb that unpacks to the limit": (packed(GOOD + b" " * LIMIT), 413),
    "too big": (chat(GOOD + b" " * LIMIT), 413),
    "too big by what it says": (chat(b"{", Content_Length="99999999999999"), 413),
    "too big in chunks": (chunked(GOOD, b" " * LIMIT), 413),
    "body that does not come": (chat(GOOD[:9], Content_Length="500"), 408),
    "chunks that do not come": (chunked(GOOD, end=b""), 408),
    "broken chunks": (chunked(GOOD, end=b"zz\r\n\r\n"), 400),
    "odd expectation": (chat(GOOD, Expect="200-ok"), 417),
    # places and methods
    "nowhere": (request("GET", "/v1/moderations"), 404),
    "responses by GET": (request("GET", "/v1/responses"), 405),
    "root": (request("GET", "/"), 404),
    "path of odd bytes": (request("GET", "/v1/%00%ff%e2%80%ae"), 404),
    "path of raw bytes": (request("GET", "/v1/\xff\xfe"), 400),
    "model that is not offered": (request("GET", "/v1/models/gpt-4"), 404),
    "model of odd bytes": (request("GET", "/v1/models/%ff%00%ed%a0%80"), 404),
    "chat by GET": (request("GET", CHAT), 405),
    "chat by PUT": (request("PUT", CHAT, GOOD), 405),
    "models by POST": (request("POST", "/v1/models", GOOD), 405),
    "models by DELETE": (request("DELETE", "/v1/models/embedded"), 405),
    "TRACE": (request("TRACE", "/v1/models"), 405),
    # what is no HTTP
    "no HTTP": (b"hello\r\n\r\n", 400),
    "a TLS client": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(90), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "unknown method": (request("BREW", "/v1/models"), 400),
    "length is no number": (chat(GOOD, Content_Length="-5"), 400),
    "two lengths": (chat(GOOD, content_length="7"), 400),
    "length and chunks": (chat(GOOD, Transfer_Encoding="chunked"), 400),
    "huge header": (request("GET", "/v1/models", X="x" * 100_000), 431),
    "huge path": (request("GET", "/" + "x" * 100_000), 431),
    "very many headers": (
        request("GET", "/v1/models").replace(b"\r\n\r\n", b"\r\nX: 1" * 1_000 + b"\r\n\r\n"),
        400,
    ),
    "NUL in a header": (request("GET", "/v1/models", X="a\x00b"), 400),
}


def exchanged(service: Service, sent: bytes, *, method: str = "POST") -> tuple[HTTPResponse, bytes]:
    """Send those bytes; return the answer and its body."""
    with socket.create_connection(service, timeout=TIMEOUT) as wire:
        wire.sendall(sent)
        return answered(wire, method)


def answered(wire: socket.socket, method: str = "POST") -> tuple[HTTPResponse, bytes]:
    response = HTTPResponse(wire, method=method)
    response.begin()
    return response, response.read()


def check_well(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """The next request is answered as ever, and nothing was logged."""
    response, body = exchanged(service, chat({}))
    assert response.status == 200
    assert msgspec.json.decode(body, type=Completion).choices
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("name", REFUSED)
def test_odd_requests_are_refused(
    name: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """With the status they should get, in the protocol's shape, and without a traceback."""
    sent, status = REFUSED[name]
    response, body = exchanged(service, sent)
    assert (response.status, response.headers.get_content_type()) == (status, "application/json")
    error = msgspec.json.decode(body, type=Refusal).error
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    assert 0 < len(error.message) < 600
    assert error.type == "invalid_request_error"
    assert ("Allow" in response.headers) == (status == 405)
    check_well(service, caplog)


ACCEPTED: dict[str, tuple[bytes, type]] = {
    "plain": (chat({}), Completion),
    "without a content type": (request("POST", CHAT, GOOD), Completion),
    "with a charset": (chat(GOOD, Content_Type="application/json; charset=UTF-8"), Completion),
    "as gzip": (packed(GOOD), Completion),
    "as deflate": (chat(zlib.compress(GOOD), Content_Encoding="deflate"), Completion),
    "in identity": (chat(GOOD, Content_Encoding="identity"), Completion),
    "in chunks": (chunked(*[bytes([byte]) for byte in GOOD]), Completion),
    "by HTTP/1.0": (request("POST", CHAT, GOOD, "HTTP/1.0"), Completion),
    "absolute": (request("GET", "http://localhost/v1/models"), Offers),
    "to be upgraded": (request("GET", "/v1/models", Upgrade="h2c", Connection="Upgrade"), Offers),
    "other prefix": (request("POST", "/openai/deployments/x/chat/completions", GOOD), Completion),
    "whole numbers as floats": (
        spliced(b"seed", b"3.0, " + b'"max_tokens": 1e3'),
        Completion,
    ),
    "nulls": (chat({"seed": None, "stream": None, "n": None, "max_tokens": None}), Completion),
    "unknown fields": (chat({"tools": [{}], "user": 3}), Completion),
    "odd values to judge": (
        chat({"messages": [JUDGE, {**USER, "content": "## Values of like states\n- x inf\n- \n"}]}),
        Completion,
    ),
    "huge rewards to judge": (
        chat(
            {
                "messages": [
                    JUDGE,
                    {**USER, "content": f"## Recent recommendations\n- a | b | -{'9' * 400}.00\n"},
                ]
            }
        ),
        Completion,
    ),
    "embeddings": (vectors(input=["", "a\nb", "\x00\u202e"]), Embeddings),
    "embeddings in base64": (vectors(encoding_format="base64"), Embeddings),
    "models": (request("GET", "/v1/models"), Offers),
    "models with a query": (request("GET", "/v1/models?limit=3&limit=4"), Offers),
    "a model": (request("GET", "/v1/models/embedded"), Offer),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_unusual_requests_are_answered(
    name: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """In the very shape that the description promises: nothing lacks, nothing is on top."""
    sent, kind = ACCEPTED[name]
    response, body = exchanged(service, sent)
    assert (response.status, response.headers.get_content_type()) == (200, "application/json")
    assert json.loads(msgspec.json.encode(msgspec.json.decode(body, type=kind))) == json.loads(body)
    check_well(service, caplog)


def test_streams_are_as_described(service: Service) -> None:
    """Events of chunks, and the word that ends them."""
    response, body = exchanged(service, chat({"stream": True}))
    *chunks, end = [event.removeprefix("data: ") for event in body.decode().strip().split("\n\n")]
    assert (response.headers.get_content_type(), end) == ("text/event-stream", "[DONE]")
    for chunk in chunks:
        again = msgspec.json.encode(msgspec.json.decode(chunk, type=CompletionChunk))
        assert json.loads(again) == json.loads(chunk)


def test_head_and_options_have_no_body(service: Service) -> None:
    head, nothing = exchanged(service, request("HEAD", "/v1/models"), method="HEAD")
    options, none = exchanged(service, request("OPTIONS", CHAT), method="OPTIONS")
    assert (head.status, nothing, options.status, none) == (200, b"", 204, b"")
    assert options.headers["Allow"] == "POST, OPTIONS"


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """As many as come at once, on one connection; a refusal among them ends none."""
    with socket.create_connection(service, timeout=TIMEOUT) as wire:
        last = request("GET", "/v1/models", Connection="close")
        wire.sendall(chat({}) * 50 + request("GET", "/nowhere") + last)
        said = wire.makefile("rb").read()
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200"] * 50 + [b"404", b"200"]


def test_expect_continue_is_told_to_go_on(service: Service) -> None:
    head, body = chat(GOOD, Expect="100-continue").split(b"\r\n\r\n")
    with socket.create_connection(service, timeout=TIMEOUT) as wire:
        wire.sendall(head + b"\r\n\r\n")
        assert wire.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(body)
        assert answered(wire)[0].status == 200


def test_expect_continue_of_too_much_is_refused_at_once(service: Service) -> None:
    sent = chat(b"", Expect="100-continue", Content_Length=str(LIMIT + 1))
    assert exchanged(service, sent)[0].status == 413


def test_a_refusal_is_read_while_the_body_is_still_sent(service: Service) -> None:
    """A connection that is just cut would lose it."""
    with socket.create_connection(service, timeout=TIMEOUT) as wire:
        wire.sendall(chat(b"", Content_Length=str(8 * LIMIT)) + bytes(8 * LIMIT))
        assert answered(wire)[0].status == 413


def test_clients_that_go_early_are_no_error(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """In the head, in the body, in chunks, before the answer."""
    for sent in (chat({})[:30], chat({})[:-5], chunked(GOOD, end=b"5\r\nab"), chat({})):
        with socket.create_connection(service, timeout=TIMEOUT) as wire:
            wire.sendall(sent)
    check_well(service, caplog)


def test_the_description_is_made_of_what_is_served(service: Service) -> None:
    _, body = exchanged(service, request("GET", "/v1/openapi.json"))
    told = json.loads(body)
    assert told["openapi"].startswith("3.1")
    asked = told["components"]["schemas"]["AskedReply"]
    assert asked["properties"]["model"]["enum"] == ["embedded", "hashing"]
    assert set(told["paths"]["/chat/completions"]["post"]["responses"]) >= {"200", "400", "413"}


N = 250_000  # characters: about as many as the embedded model takes
HOSTILE = {
    "openings without a stop": (
        "plan recommendations",
        "Reflections from earlier visits",
        "liked: ",
    ),
    "unwelcome names": (
        "plan recommendations",
        "Reflections from earlier visits",
        "vary, " + ", ".join(map(str, range(40_000))) + "\nnot welcome: ",
    ),
    "items without end": ("choose the next item", "Candidates", "- a | b | 1.00\n"),
    "recent items of many kinds": (
        "choose the next item",
        "Thought\nVary\n## Recent recommendations",
        "- a | " + ", ".join(map(str, range(20_000))) + "\n## Candidates\n" + "- b | 1\n" * 15_000,
    ),
    "values without end": ("judge how well", "Values of like states", "- x 1e+99\n"),
    "separators": ("read the whole visit", "Steps of the visit", "- | | | | | |\n"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_prompts_that_mean_harm_take_no_long_time(
    name: str, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in the embedded model's rules goes wild on a prompt of the greatest length."""
    opening, heading, line = HOSTILE[name]
    text = f"## {heading}\n" + (line * (N // len(line) + 1))[:N]
    system = {"role": "system", "content": f"You {opening}"}
    sent = chat({"messages": [system, {"role": "user", "content": text}]})
    assert exchanged(service, sent)[0].status == 200
    check_well(service, caplog)
