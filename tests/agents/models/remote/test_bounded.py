"""Bounds of what a service says: whatever it is, a reply or an error of ours comes out."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.models.model import ChatReply, TransientError
from agents.models.remote.bounded import MOST_BYTES, loosely, unpacked
from agents.models.remote.embeddings import decode_embeddings
from agents.models.remote.failures import cleaned, read_complaint, status_failure
from agents.models.remote.headers import rates, retry_after
from agents.models.remote.wire import decode_reply
from engine.errors import ModelError
from tests.support.drawn import CHARACTERS, TEXTS

T = TypeVar("T")

KEY = "sk-very-secret-0123456789"

# Names of the protocol, so that what is generated comes near to what is read.
NAMES = st.sampled_from(
    [
        *("choices", "message", "content", "refusal", "finish_reason", "usage", "type", "text"),
        *("prompt_tokens", "completion_tokens", "error", "code", "param", "detail"),
        *("data", "embedding", "index", "id"),
    ]
)
NUMBERS = st.integers() | st.floats() | st.integers(0, 9) | st.sampled_from([2**64, -1, 10**30])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from(["stop", "text", KEY])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner),
    max_leaves=12,
)


def shaped(message: object, finish: object, usage: object) -> object:
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


USAGES = VALUES | st.fixed_dictionaries({"prompt_tokens": VALUES, "completion_tokens": VALUES})
MESSAGES = VALUES | st.fixed_dictionaries({"content": VALUES, "refusal": VALUES})
REPLIES = st.builds(shaped, MESSAGES, VALUES, USAGES)
BODIES = (
    st.binary()
    | (VALUES | REPLIES).map(lambda value: json.dumps(value).encode())
    | REPLIES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-16"))
    | st.builds(
        lambda value, cut: json.dumps(value).encode()[:cut], VALUES | REPLIES, st.integers(0, 99)
    )
)
SAID = (
    st.text(CHARACTERS, max_size=30)
    | NUMBERS.map(str)
    | st.datetimes().map(str)
    | st.just("9" * 500)
)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("retry-after", "retry-after-ms"),
            *("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"),
            *("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"),
        ]
    ),
    SAID,
)


def or_error(make: Callable[[], T]) -> T | None:
    """Return what is made, None for an error of a model; nothing else is let through."""
    try:
        return make()
    except ModelError:
        return None


def check_reply(reply: ChatReply) -> None:
    assert reply.text.encode().decode() == reply.text
    assert type(reply.prompt_tokens) is type(reply.completion_tokens) is int
    assert 0 <= reply.prompt_tokens <= 10**8
    assert 0 <= reply.completion_tokens <= 10**8
    assert reply.finish
    assert reply.finish.isprintable()


@given(body=BODIES, headers=HEADERS)
@example(body=b'{"choices":[{"message":{"content":{"type":[]}}}]}', headers={})
@example(body=b'{"choices":[{"message":{"content":"a"}}],"usage":' + b"[" * 10**5, headers={})
@example(body=b"[" * 10**6, headers={})
def test_any_answer_is_a_reply_or_an_error(body: bytes, headers: dict[str, str]) -> None:
    reply = or_error(lambda: decode_reply(body, headers))
    if reply is not None:
        check_reply(reply)


@given(usage=USAGES, finish=VALUES, refusal=VALUES)
def test_a_good_reply_is_kept_whatever_is_beside_it(
    usage: object, finish: object, refusal: object
) -> None:
    """It was paid for: tokens that make no sense are no reason to pay again."""
    said = shaped({"content": "take it", "refusal": refusal}, finish, usage)
    reply = decode_reply(json.dumps(said).encode(), {})
    assert reply.text == "take it"
    check_reply(reply)


@given(body=BODIES, status=st.integers(300, 999), headers=HEADERS)
def test_any_error_is_an_error_of_ours(body: bytes, status: int, headers: dict[str, str]) -> None:
    """In one inert line that does not show the key."""
    complaint = read_complaint(body)
    error = status_failure(status, headers, complaint, url="http://there/v1", secrets=[KEY])
    said = cleaned(complaint.message, [KEY])
    assert isinstance(error, ModelError)
    assert len(said) <= 500
    assert f"{error}{said}{error.hint}".isprintable()
    assert KEY not in f"{error!r}{said}"


@given(headers=HEADERS)
def test_headers_make_nobody_wait_for_ever(headers: dict[str, str]) -> None:
    wait, said = retry_after(headers), rates(headers)
    assert wait is None or 0 <= wait <= 31 * 86_400
    if said is not None:
        for limit, left in ((said.requests, said.requests_left), (said.tokens, said.tokens_left)):
            assert limit is None or 1 <= limit <= 1e12
            assert left is None or (limit is not None and 0 <= left <= limit)


@given(body=BODIES | VALUES.map(lambda value: json.dumps({"data": [value]}).encode()))
def test_any_embeddings_are_numbers_or_an_error(body: bytes) -> None:
    said = or_error(lambda: decode_embeddings(body, 1))
    if said is not None:
        assert all(type(number) is float for number in said.vectors[0])
        assert 0 <= said.tokens <= 10**8


@given(packed=st.binary(), encoding=st.sampled_from(["gzip", "deflate", "br", "", "GZIP "]))
def test_any_packed_body_is_unpacked_or_an_error(packed: bytes, encoding: str) -> None:
    body = or_error(lambda: unpacked(packed, encoding))
    assert body is None or len(body) <= MOST_BYTES


@given(parts=st.lists(st.binary(max_size=99), min_size=1, max_size=16))
def test_what_was_packed_comes_back(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert unpacked(b"".join(map(gzip.compress, parts)), "gzip") == whole
    assert unpacked(zlib.compress(whole), "deflate") == whole


@pytest.mark.parametrize("beyond", [0, 1])
def test_bound_is_exact(beyond: int) -> None:
    packed = gzip.compress(b" " * (MOST_BYTES + beyond))
    body = or_error(lambda: unpacked(packed, "gzip"))
    assert (body is None) == bool(beyond)


@pytest.mark.parametrize("body", [b"[" * 10**6, b'{"a":' * 10**5, b"[" * 10**5 + b"]" * 10**5])
def test_depth_is_bounded(body: bytes) -> None:
    with pytest.raises(TransientError, match="nested too deeply"):
        loosely(body)
