"""The bodies of requests to a service of our own, read within bounds."""

import asyncio
import zlib
from typing import TypeVar

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from agents.models.serving.connections import Bounds
from agents.models.serving.refusals import (
    DroppedConnectionError,
    RefusedRequestError,
    too_big,
    too_late,
    wrong_kind,
)

T = TypeVar("T")

_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # window bits, which name the format to zlib


async def read_body(request: web.BaseRequest, bounds: Bounds) -> bytes:
    """Return the body of *request*, unpacked; raises RefusedRequestError.

    Raises DroppedConnectionError if the client is gone.
    """
    _check_kind(request)
    return await read_bytes(request, bounds.body, bounds)


async def read_bytes(request: web.BaseRequest, limit: int, bounds: Bounds) -> bytes:
    """Return a body of whatever kind, of at most *limit* bytes; raises as `read_body`."""
    if (request.content_length or 0) > limit:
        raise too_big(limit)
    await _encourage(request)
    try:
        body = await _received(request, limit, bounds)
    except RequestPayloadError as error:
        raise RefusedRequestError(400, f"the body is broken: {error}") from error
    except ConnectionError as error:
        raise DroppedConnectionError("gone") from error
    coding = request.headers.get("Content-Encoding")
    return body if coding is None else _unpacked(body, coding.strip().lower(), limit)


def decoded(body: bytes, kind: type[T]) -> T:
    """Return what *body* says, as a *kind*; raises RefusedRequestError."""
    if not body:
        raise RefusedRequestError(400, "expected a body of JSON, got none")
    try:
        body.decode()  # what is passed over is to be UTF-8 as well
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedRequestError(400, str(error)) from error
    except RecursionError as error:
        raise RefusedRequestError(400, "the JSON is nested too deeply") from error


def _check_kind(request: web.BaseRequest) -> None:
    said = request.headers.get("Content-Type")
    if said is None or said == "application/json":
        return
    if request.content_type != "application/json":
        raise wrong_kind(said)
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise wrong_kind(said)


async def _encourage(request: web.BaseRequest) -> None:
    """Let a client that asks before it sends its body go on."""
    expected = request.headers.get("Expect")
    if expected is None or request.version < (1, 1):
        return
    if expected.lower() != "100-continue":
        raise RefusedRequestError(417, "expected no expectation but 100-continue")
    if not request.content.is_eof():
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def _received(request: web.BaseRequest, limit: int, bounds: Bounds) -> bytes:
    if request.content.is_eof():  # as most are: the body came with the head
        body = request.content.read_nowait()
        if len(body) > limit:
            raise too_big(limit)
        return body
    try:
        async with asyncio.timeout(bounds.arrival):
            return await _collected(request, limit)
    except TimeoutError as error:
        raise too_late(bounds.arrival) from error


async def _collected(request: web.BaseRequest, limit: int) -> bytes:
    body = bytearray()
    while request.protocol.connected:
        chunk = await request.content.readany()
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > limit:
            raise too_big(limit)
    raise ConnectionResetError


def _unpacked(body: bytes, coding: str, limit: int) -> bytes:
    if coding in {"", "identity"}:
        return body
    if coding not in _CODINGS:
        raise wrong_kind(coding)
    unpacker = zlib.decompressobj(_CODINGS[coding])
    try:
        # One byte more than is allowed tells that there is more; the rest stays packed.
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise RefusedRequestError(400, f"the body is no {coding}: {error}") from error
    if len(plain) > limit:
        raise too_big(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise RefusedRequestError(400, f"the body is no {coding}: it ends too early or too late")
    return plain
