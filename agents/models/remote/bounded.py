"""Bounds of everything that a service says: bytes, packed and unpacked, depth, odd values.

What is said is read up to a bound and no further; what is needed must be right, what is optional
may be anything. Whatever comes, the way out is a value or a TransientError (`malformed`).
"""

import asyncio
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Protocol, TypeAlias, TypeVar

import aiohttp
import msgspec
from aiohttp.connector import Connection

from agents.models.model import TransientError

MOST_BYTES = 2 * 1024 * 1024
"""Of a body, packed or unpacked: 65,536 numbers fit, and so does a long list of models."""
ENCODINGS = "gzip, deflate"
"""How bodies may be packed: what a service is told that we take."""
_MOST_TOKENS = 100_000_000
_MEMBERS = 16  # gzip streams that may stand one behind the other

T = TypeVar("T")
Tokens: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MOST_TOKENS)]


def malformed(what: str) -> TransientError:
    """Return the error of an answer that cannot be used; *what* the service did."""
    return TransientError(f"the service {what}", kind="malformed")


# -- bytes


class Response(Protocol):
    """What is needed of an answer that is on its way, of aiohttp's or our own."""

    @property
    def status(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...

    @property
    def content(self) -> aiohttp.StreamReader:
        """The body."""
        ...

    @property
    def connection(self) -> Connection | None:
        """What it comes over; none if all of it is here."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


async def received(response: Response, most: int = MOST_BYTES) -> bytes:
    """Return the body of *response*, unpacked; raises TransientError beyond *most* bytes.

    Of what is no 2xx the status is the matter: such a body is whatever can be read of it.
    """
    encoding = response.headers.get("Content-Encoding", "")
    packed = bytearray()
    try:
        await _fill(packed, response, most)
        return unpacked(bytes(packed), encoding, most)
    except (TransientError, aiohttp.ClientError, OSError):
        if 200 <= response.status < 300:
            raise
        response.close()
        return b"" if encoding else bytes(packed[:MOST_BYTES])


async def _fill(packed: bytearray, response: Response, most: int) -> None:
    content = response.content
    if content.is_eof():  # all of a short body mostly comes with its head
        packed += content.read_nowait()
        if len(packed) > most:
            response.close()
            raise _too_long(most)
        return
    # Read as it comes, not by what is declared: a length may be a lie in either direction.
    with _heeding(response):
        async for chunk in content.iter_any():
            packed += chunk
            if len(packed) > most:
                response.close()
                raise _too_long(most)


@contextmanager
def _heeding(response: Response) -> Iterator[None]:
    """End a body with its connection.

    Where the framing of a body breaks in the middle, aiohttp closes the connection and forgets who
    reads: it would be waited for until all the time of the call is over.
    """
    connection = response.connection
    protocol = None if connection is None else connection.protocol
    if protocol is None:  # all is here
        yield
        return

    def end(_: object) -> None:
        body = response.content
        if not body.is_eof() and body.exception() is None:
            body.set_exception(malformed("answered what is not framed as HTTP is"))

    closed = protocol.closed
    if closed is None:
        end(closed)
        yield
        return
    closed.add_done_callback(end)
    try:
        yield
    finally:
        closed.remove_done_callback(end)
        # The future lives as long as the connection, and wants to be heard once.
        closed.remove_done_callback(_heard)
        closed.add_done_callback(_heard)


def _heard(closed: asyncio.Future[None]) -> None:
    closed.exception()


def unpacked(packed: bytes, encoding: str, most: int = MOST_BYTES) -> bytes:
    """Return a body as it was before it was packed; never inflates more than it returns."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"} or not packed:
        return packed
    if encoding in {"gzip", "x-gzip"}:
        return _inflated(packed, zlib.MAX_WBITS | 16, most)
    if encoding == "deflate":
        # With the header of zlib as it should be, or without, as some do.
        window = zlib.MAX_WBITS if packed[0] & 15 == 8 else -zlib.MAX_WBITS
        return _inflated(packed, window, most)
    raise malformed("packed its answer in a way that nobody asked for")


def _inflated(packed: bytes, window: int, most: int) -> bytes:
    whole = b""
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(window)
        try:
            whole += stream.decompress(packed, most + 1 - len(whole))
        except zlib.error as error:
            raise malformed("answered what cannot be unpacked") from error
        if len(whole) > most:
            raise _too_long(most)
        # What is packed may be padded with zeros.
        packed = stream.unused_data.lstrip(b"\0")
        if not packed:
            break
    if packed or not stream.eof:
        raise malformed("answered what cannot be unpacked")
    return whole


def _too_long(most: int) -> TransientError:
    return malformed(f"answered more than {most // 1024 // 1024} MiB")


# -- JSON


def decoded(decode: Callable[[bytes], T], body: bytes) -> T | None:
    """Return what *decode* makes of *body*, or None if it is not exactly as it should be."""
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def loosely(body: bytes) -> object:
    """Return the JSON in *body*, be it in the letter wrong; raises TransientError.

    Bytes that are no UTF-8 become U+FFFD, numbers that are none become None, and so does what no
    number can be.
    """
    try:
        text = body.decode("utf-8-sig", "replace")
        return json.loads(text, strict=False, parse_int=_whole, parse_constant=lambda _: None)
    except ValueError as error:
        raise malformed("answered no valid JSON") from error
    except RecursionError:  # its traceback is as long as the stack was deep
        nested = malformed("answered JSON that is nested too deeply")
    raise nested


def _whole(digits: str) -> int | float:
    # Python takes ever longer for the digits of an int.
    return int(digits) if len(digits) <= 18 else float(digits)


def member(value: object, name: str) -> object:
    """Return what stands under *name* in an object, None in anything else."""
    return value.get(name) if isinstance(value, dict) else None


def entries(value: object) -> list[object]:
    """Return the entries of a list; anything else has none."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str | None:
    """Return a text as valid UTF-8, None for anything else."""
    return valid(value) if isinstance(value, str) else None


def tokens_of(value: object) -> int:
    """Return a count of tokens; 0 for what can be none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= _MOST_TOKENS and value == int(value) else 0


def valid(text: str) -> str:
    """Return *text* with surrogates in pairs joined and lone ones replaced by U+FFFD."""
    # In UTF-16 two surrogates that make a pair are one character.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
