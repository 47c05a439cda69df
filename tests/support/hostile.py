"""A hostile service: every way in which an answer can be odd, and how a call is to end that met it.

It speaks through bare sockets, since no decent server would say what it says. A mode is the first
part of the path; the answer to a call holds its seed, so that nobody gets another's.
"""

import asyncio
import base64
import gzip
import json
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import blake2b
from types import TracebackType
from typing import Final, TypeAlias

TEXT = b"take {seed}"
PROMPT, COMPLETION = 30, 8
SEED = b"{seed}"
KEY = "sk-very-secret-0123456789"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Kept:
    """The reply is kept, with these tokens."""

    prompt: int = PROMPT
    completion: int = COMPLETION
    finish: str = "stop"
    text: str = TEXT.decode()


@dataclass(frozen=True)
class Failed:
    """The call fails, after its attempts; the journal holds what the service *said* of it."""

    kind: str
    said: str = ""


@dataclass(frozen=True)
class Stops:
    """The run stops, with a sentence that has these words in it."""

    words: str


End: TypeAlias = Kept | Failed | Stops


@dataclass(frozen=True, eq=False)
class Line:
    """A connection, and the seed of the call that came in over it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seed: bytes

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End it with RST."""
        lingering = struct.pack("ii", 1, 0)
        taken = self.writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        self.writer.transport.abort()


Speaks: TypeAlias = Callable[[Line], Awaitable[None]]
"""Answers one call; the connection is closed when it returns."""


@dataclass(frozen=True)
class Http:
    """An answer in HTTP that may be wrong in everything; the connection stays open after it."""

    body: bytes = b""
    status: str = "200 OK"
    headers: Sequence[bytes] = ()
    length: bytes | None = b""  # empty is the right one, None is none
    pack: Callable[[bytes], bytes] = bytes
    before: bytes = b""
    after: bytes = b""

    def packed(self, seed: bytes) -> bytes:
        body = self.pack(self.body.replace(SEED, seed))
        head = [b"HTTP/1.1 " + self.status.encode(), *self.headers]
        if self.length is not None:
            head.append(b"Content-Length: " + (self.length or b"%d" % len(body)))
        return self.before + b"\r\n".join([*head, b"", b""]) + body + self.after


@dataclass(frozen=True)
class Mode:
    """What is answered, how the call ends, and whether time must run out for it (*stalls*).

    *pause* is how long the next call waits, in seconds.
    """

    answer: Http | Speaks
    end: End
    stalls: bool = False
    pause: float = 0.0

    @property
    def paid(self) -> bool:
        """Whether a whole completion was answered, so that the call is paid for."""
        return isinstance(self.end, Kept) or self.end == Failed("content_filter")


# -- bodies


def usage(said: str) -> bytes:
    """Return a good completion but for its usage."""
    return _completion(usage=said)


def finish(said: str) -> bytes:
    return _completion(finish=said)


def message(said: str) -> bytes:
    """Return a completion with another message."""
    return _completion(said=said)


_SAID = f'{{"role":"assistant","content":"{TEXT.decode()}"}}'
_USED = f'{{"prompt_tokens":{PROMPT},"completion_tokens":{COMPLETION}}}'


def _completion(said: str = _SAID, usage: str = _USED, finish: str = '"stop"') -> bytes:
    choice = f'{{"index":0,"message":{said},"finish_reason":{finish}}}'
    return f'{{"id":"c","choices":[{choice}],"usage":{usage}}}'.encode()


GOOD: Final = _completion()
DEEP: Final = b"[" * 100_000 + b"]" * 100_000


def error(said: object, **more: object) -> bytes:
    return json.dumps({"error": {"message": said, **more}}).encode()


def with_content(said: bytes) -> bytes:
    return GOOD.replace(b'"%b"' % TEXT, said)


def raw_deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def chunks(data: bytes) -> bytes:
    half = len(data) // 2
    parts = (data[:half], data[half:])
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


_PART, _PARTS = b" " * _MIB, 256


def _spaces() -> bytes:
    """Return 256 MiB of spaces, deflated: what is flushed whole may be said again and again."""
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    first, again = (stream.compress(_PART) + stream.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (_PARTS - 1) + stream.flush()


def _sum(add: Callable[[bytes, int], int], start: int) -> int:
    """Return the checksum of all these spaces."""
    return reduce(lambda known, _: add(_PART, known), range(_PARTS), start)


_GZIP, _ZLIB = b"\x1f\x8b\x08" + bytes(6) + b"\xff", b"\x78\xda"
GZIP_BOMB: Final = _GZIP + _spaces() + struct.pack("<II", _sum(zlib.crc32, 0), _PARTS * _MIB)
DEFLATE_BOMB: Final = _ZLIB + _spaces() + struct.pack(">I", _sum(zlib.adler32, 1))

# -- ways of speaking


def http(head: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"


def said_and_closed(data: bytes) -> Speaks:
    async def speak(line: Line) -> None:
        await line.say(data.replace(SEED, line.seed))

    return speak


def said_and_reset(data: bytes) -> Speaks:
    async def speak(line: Line) -> None:
        if data:
            await line.say(data)
            await asyncio.sleep(0.05)  # or what was said is lost as well
        line.reset()

    return speak


def said_and_silent(data: bytes) -> Speaks:
    async def speak(line: Line) -> None:
        await line.say(data)
        await line.reader.read()  # until the other end has had enough

    return speak


def endless(head: bytes, part: bytes) -> Speaks:
    async def speak(line: Line) -> None:
        await line.say(head)
        while True:
            await line.say(part)

    return speak


def trickling(head: bytes, part: bytes = b" ") -> Speaks:
    async def speak(line: Line) -> None:
        await line.say(head)
        while not line.reader.at_eof():
            await line.say(part)
            await asyncio.sleep(0.05)

    return speak


def said_and_later(data: bytes, afterwards: bytes) -> Speaks:
    """Say *data*, and something else a moment later."""

    async def speak(line: Line) -> None:
        await line.say(data)
        await asyncio.sleep(0.05)
        await line.say(afterwards)

    return speak


def unasked(body: bytes, afterwards: bytes) -> Speaks:
    """Answer *body*, and something else when nobody asked."""

    async def speak(line: Line) -> None:
        await line.say(Http(body).packed(line.seed))
        await asyncio.sleep(0.05)
        await line.say(afterwards)
        await line.reader.read()

    return speak


# -- the table

_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_OTHER = Http(GOOD.replace(TEXT, b"take what is another's")).packed(b"")
_GONE = "dropped the connection"
_PLACE = "is not where the service is: "
_PLAIN = Failed("malformed")
_LATER = Stops("said 'later' to 2 attempts")

_USAGE: Mapping[str, tuple[str, Kept]] = {
    "null": ("null", Kept(0, 0)),
    "list": ("[30, 8]", Kept(0, 0)),
    "text": ('"30"', Kept(0, 0)),
    "number": ("38", Kept(0, 0)),
    "true": ("true", Kept(0, 0)),
    "nan": ("NaN", Kept(0, 0)),
    "empty": ("{}", Kept(0, 0)),
    "null prompt": ('{"prompt_tokens":null,"completion_tokens":8}', Kept(0, 8)),
    "null completion": ('{"prompt_tokens":30,"completion_tokens":null}', Kept(30, 0)),
    "missing": ('{"prompt_tokens":30}', Kept(30, 0)),
    "texts": ('{"prompt_tokens":"30","completion_tokens":8}', Kept(0, 8)),
    "fraction": ('{"prompt_tokens":30.5,"completion_tokens":8}', Kept(0, 8)),
    "whole float": ('{"prompt_tokens":30.0,"completion_tokens":8}', Kept()),
    "negative": ('{"prompt_tokens":-1000000,"completion_tokens":8}', Kept(0, 8)),
    "2**63": ('{"prompt_tokens":9223372036854775808,"completion_tokens":8}', Kept(0, 8)),
    "2**64": ('{"prompt_tokens":18446744073709551616,"completion_tokens":8}', Kept(0, 8)),
    "10**9": ('{"prompt_tokens":1000000000,"completion_tokens":8}', Kept(0, 8)),
    "10**5000": (f'{{"prompt_tokens":1{"0" * 5000},"completion_tokens":8}}', Kept(0, 8)),
    "1e999": ('{"prompt_tokens":1e999,"completion_tokens":8}', Kept(0, 8)),
    "-1e999": ('{"prompt_tokens":-1e999,"completion_tokens":8}', Kept(0, 8)),
    "bools": ('{"prompt_tokens":true,"completion_tokens":8}', Kept(0, 8)),
    "nested": ('{"prompt_tokens":{"a":[1]},"completion_tokens":8}', Kept(0, 8)),
    "twice": ('{"prompt_tokens":1,"prompt_tokens":30,"completion_tokens":8}', Kept()),
}

_FINISH: Mapping[str, tuple[str, End]] = {
    "null": ("null", Kept()),
    "number": ("5", Kept()),
    "list": ("[]", Kept()),
    "object": ('{"type":"stop"}', Kept()),
    "true": ("true", Kept()),
    "empty": ('""', Kept()),
    "long": (f'"{"x" * 10_000}"', Kept()),
    "control": (r'"\u001b[31m"', Kept()),
    "surrogate": (r'"\ud800"', Kept(finish="\N{REPLACEMENT CHARACTER}")),
    "length": ('"length"', Kept(finish="length")),
    "filter": ('"content_filter"', Failed("content_filter")),
}

_HALF = '{"type":"text","text":"take "},{"type":"text","text":"{seed}"}'
_MESSAGES: Mapping[str, tuple[str, End]] = {
    "parts": (f'{{"content":[{_HALF}]}}', Kept()),
    "parts and more": (
        f'{{"content":[{{"type":"thinking","thinking":[{{"text":"hm"}}]}},{_HALF},null]}}',
        Kept(),
    ),
    "parts as texts": ('{"content":["take ","{seed}"]}', Kept()),
    "one part": ('{"content":{"type":"text","text":"take {seed}"}}', Kept()),
    "no parts": ('{"content":[]}', Kept(text="")),
    "null": ('{"content":null}', Kept(text="")),
    "null refused": ('{"content":null,"refusal":"take {seed}"}', Kept(finish="refusal")),
    "odd refusal": ('{"content":"take {seed}","refusal":[5]}', Kept()),
    "odd role": ('{"content":"take {seed}","role":17,"tool_calls":"none"}', Kept()),
    "number": ('{"content":42}', _PLAIN),
    "true": ('{"content":true}', _PLAIN),
    "numbers": ('{"content":[4,2]}', _PLAIN),
    "picture": ('{"content":[{"type":"image_url","image_url":"x"}]}', _PLAIN),
    "text": ('"take {seed}"', _PLAIN),
    "none": ("null", _PLAIN),
}

_CONTENT: Mapping[str, tuple[bytes, End]] = {
    "lone surrogate": (rb'"take {seed}\ud800"', Kept(text="take {seed}\N{REPLACEMENT CHARACTER}")),
    "pair": (rb'"take {seed}\ud83d\ude00"', Kept(text="take {seed}\N{GRINNING FACE}")),
    "no utf-8": (b'"take {seed}\xff"', Kept(text="take {seed}\N{REPLACEMENT CHARACTER}")),
    "nul": (rb'"take {seed}\u0000"', Kept(text="take {seed}\0")),
    "raw nul": (b'"take {seed}\0"', Kept(text="take {seed}\0")),
    "raw newline": (b'"take {seed}\n"', Kept(text="take {seed}\n")),
    "escapes": (rb'"take {seed}\u001b[2J\u009b\u202e"', Kept(text="take {seed}\x1b[2J\x9b\u202e")),
    "empty": (b'""', Kept(text="")),
}

_BODIES: Mapping[str, tuple[bytes, End]] = {
    "good": (GOOD, Kept()),
    "bom": (b"\xef\xbb\xbf" + GOOD, Kept()),
    "padded": (b"\r\n \t" * 9_000 + GOOD + b"\n" * 9_000, Kept()),
    "odd beside": (GOOD[:-1] + b',"logprobs":NaN,"x":-Infinity,"y":1e999}', Kept()),
    "error beside": (GOOD[:-1] + b',"error":{"message":"no"}}', Kept()),
    "second choice odd": (GOOD.replace(b'"stop"}]', b'"stop"},17]'), Kept()),
    "empty": (b"", _PLAIN),
    "blank": (b" \n", _PLAIN),
    "page": (b"<html><b>Sign in</b></html>", Failed("malformed", "<html><b>Sign in</b></html>")),
    "cut json": (GOOD[:60], _PLAIN),
    "array": (b"[1,2]", _PLAIN),
    "text": (b'"take it"', _PLAIN),
    "number": (b"17", _PLAIN),
    "null": (b"null", _PLAIN),
    "twice": (GOOD + GOOD, _PLAIN),
    "events": (b"data: " + GOOD + b"\n\ndata: [DONE]\n\n", _PLAIN),
    "utf-16": (GOOD.decode().encode("utf-16"), _PLAIN),
    "binary": (bytes(range(256)) * 9, _PLAIN),
    "no choices": (b'{"choices":[]}', _PLAIN),
    "null choices": (b'{"choices":null}', _PLAIN),
    "choices of an object": (b'{"choices":{"0":1}}', _PLAIN),
    "null choice": (b'{"choices":[null]}', _PLAIN),
    "deep": (DEEP, _PLAIN),
    "deep object": (b'{"a":' * 90_000 + b"1" + b"}" * 90_000, _PLAIN),
    "deep and cut": (b"[" * 1_000_000, _PLAIN),
    "deep beside": (GOOD[:-1] + b',"x":' + DEEP + b"}", _PLAIN),
    "deep content": (with_content(DEEP), _PLAIN),
    "deep usage": (usage(DEEP.decode()), _PLAIN),
    "error in 200": (error("overloaded"), Failed("malformed", "overloaded")),
    "long": (GOOD + b" " * 3 * _MIB, _PLAIN),
}

_PACKED: Mapping[str, tuple[bytes, Callable[[bytes], bytes], End]] = {
    "gzip": (b"gzip", gzip.compress, Kept()),
    "x-gzip": (b" X-GZip ", gzip.compress, Kept()),
    "zlib": (b"deflate", zlib.compress, Kept()),
    "raw deflate": (b"deflate", raw_deflated, Kept()),
    "identity": (b"identity", bytes, Kept()),
    "members": (
        b"gzip",
        lambda body: gzip.compress(body[:40]) + gzip.compress(body[40:]) + b"\0" * 9,
        Kept(),
    ),
    "many members": (b"gzip", lambda body: gzip.compress(b" ") * 99 + gzip.compress(body), _PLAIN),
    "not packed": (b"gzip", bytes, _PLAIN),
    "cut": (b"gzip", lambda body: gzip.compress(body)[:40], _PLAIN),
    "broken": (b"gzip", lambda body: gzip.compress(body)[:30] + b"\xff" * 60, _PLAIN),
    "wrong sum": (b"gzip", lambda body: gzip.compress(body)[:-8] + b"12345678", _PLAIN),
    "garbage after": (b"gzip", lambda body: gzip.compress(body) + b"garbage", _PLAIN),
    "broken deflate": (b"deflate", lambda body: b"\x78\x9c" + body, _PLAIN),
    "nothing": (b"gzip", lambda body: b"", _PLAIN),
    "unknown": (b"br", bytes, _PLAIN),
    "made up": (b"zip\xff, gzip", gzip.compress, _PLAIN),
    "twice": (b"gzip, gzip", lambda body: gzip.compress(gzip.compress(body)), _PLAIN),
    "gzip bomb": (b"gzip", lambda body: GZIP_BOMB, _PLAIN),
    "deflate bomb": (b"deflate", lambda body: DEFLATE_BOMB, _PLAIN),
    "late bomb": (b"gzip", lambda body: gzip.compress(body) + GZIP_BOMB, _PLAIN),
}

_LENGTHS: Mapping[str, tuple[Http | Speaks, End]] = {
    "none": (said_and_closed(http(b"") + GOOD), Kept()),
    "too long": (said_and_closed(Http(GOOD, length=b"999").packed(b"1")), Failed("connection")),
    "too short": (Http(GOOD, length=b"50"), _PLAIN),
    "and more": (Http(GOOD, after=b"and more"), _PLAIN),
    "zero": (Http(b"", length=b"0"), _PLAIN),
    "negative": (Http(GOOD, length=b"-1"), _PLAIN),
    "no number": (Http(GOOD, length=b"long"), _PLAIN),
    "hexadecimal": (Http(GOOD, length=b"0xff"), _PLAIN),
    "10**400": (Http(GOOD, length=b"1" + b"0" * 400), _PLAIN),
    "two": (Http(GOOD, headers=[b"Content-Length: 5"]), _PLAIN),
    "2**62": (endless(http(b"Content-Length: 4611686018427387904\r\n"), b" " * 65_536), _PLAIN),
    "endless": (endless(http(b""), b" " * 65_536), _PLAIN),
    "chunks": (Http(GOOD, headers=[_CHUNKED[:-2]], length=None, pack=chunks), Kept()),
    "endless chunks": (endless(http(_CHUNKED), b"10000\r\n" + b" " * 65_536 + b"\r\n"), _PLAIN),
    "endless packed": (
        endless(http(b"Content-Encoding: gzip\r\n"), b"\0" * 65_536),
        _PLAIN,
    ),
    "odd chunk": (said_and_closed(http(_CHUNKED) + b"xyz\r\nhello\r\n"), _PLAIN),
    "huge chunk": (said_and_closed(http(_CHUNKED) + b"f" * 99 + b"\r\nhi"), _PLAIN),
    "negative chunk": (said_and_closed(http(_CHUNKED) + b"-5\r\nhi"), _PLAIN),
    "cut chunk": (said_and_closed(http(_CHUNKED) + b"ff\r\nhi"), Failed("connection")),
    "last chunk lacks": (said_and_closed(http(_CHUNKED) + b"2\r\nhi\r\n"), Failed("connection")),
    "odd chunk later": (said_and_later(http(_CHUNKED) + b"2\r\nhi\r\n", b"xyz\r\n"), _PLAIN),
    "odd coding": (said_and_closed(http(b"Transfer-Encoding: odd\r\n") + GOOD), Kept()),
}

_LINES: Mapping[str, tuple[Speaks, End]] = {
    "reset at once": (said_and_reset(b""), Failed("connection")),
    "reset in the first line": (said_and_reset(b"HTTP/1.1 2"), Failed("connection")),
    "reset in the headers": (said_and_reset(b"HTTP/1.1 200 OK\r\nX: 1"), Failed("connection")),
    "reset before the body": (said_and_reset(http(b"Content-Length: 9\r\n")), Failed("connection")),
    "reset in the body": (
        said_and_reset(Http(GOOD, length=b"999").packed(b"1")),
        Failed("connection"),
    ),
    "closed at once": (said_and_closed(b""), Failed("connection")),
    "closed in the first line": (said_and_closed(b"HTTP/1.1 2"), Failed("connection")),
    "closed in the headers": (said_and_closed(b"HTTP/1.1 200 OK\r\nX: 1"), Failed("connection")),
    "http 0.9": (said_and_closed(GOOD), _PLAIN),
    "http 2": (said_and_closed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), _PLAIN),
    "http 9.9": (said_and_closed(b"HTTP/9.9 200 OK\r\n\r\n" + GOOD), _PLAIN),
    "another protocol": (said_and_closed(b"SSH-2.0-OpenSSH_9.6\r\n"), _PLAIN),
    "tls": (said_and_closed(b"\x15\x03\x01\x00\x02\x02\x46"), _PLAIN),
    "no status": (said_and_closed(b"HTTP/1.1 OK\r\n\r\n"), _PLAIN),
    "status of letters": (said_and_closed(b"HTTP/1.1 abc OK\r\n\r\n"), _PLAIN),
    "long status": (said_and_closed(b"HTTP/1.1 20000000000 OK\r\n\r\n"), _PLAIN),
    "long reason": (said_and_closed(b"HTTP/1.1 200 " + b"x" * 90_000 + b"\r\n\r\n"), _PLAIN),
    "endless header": (endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65_536), _PLAIN),
    "endless headers": (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 999), _PLAIN),
}

_STALLS: Mapping[str, Speaks] = {
    "says nothing": said_and_silent(b""),
    "stops in the headers": said_and_silent(b"HTTP/1.1 200 OK\r\nX: "),
    "stops before the body": said_and_silent(http(b"Content-Length: 9\r\n")),
    "stops in the body": said_and_silent(http(b"Content-Length: 999\r\n") + GOOD[:40]),
    "trickles": trickling(http(b"Content-Length: 99999\r\n")),
    "trickles a header": trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "always continues": trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "always hints": trickling(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "endless extension": trickling(http(_CHUNKED) + b"5;", b"x" * 9_999),
}

_STATUSES: Mapping[str, End] = {
    "204 No Content": _PLAIN,
    "205 Reset Content": _PLAIN,
    "300 Multiple Choices": Stops(f"{_PLACE}300"),
    "400 Bad Request": Failed("refused", "so it is"),
    "401 Unauthorized": Stops("refuses the key with 401"),
    "402 Payment Required": Stops("has no credit left"),
    "403 Forbidden": Stops("refuses the key with 403"),
    "404 Not Found": Stops(f"{_PLACE}404: so it is"),
    "405 Method Not Allowed": Stops(f"{_PLACE}405: so it is"),
    "406 Not Acceptable": Failed("refused", "so it is"),
    "408 Request Timeout": Failed("timeout", "so it is"),
    "409 Conflict": Failed("server", "so it is"),
    "413 Too Large": Failed("too_long", "so it is"),
    "418 I'm a teapot": Failed("refused", "so it is"),
    "422 Unprocessable": Failed("refused", "so it is"),
    "425 Too Early": Failed("server", "so it is"),
    "429 Too Many Requests": _LATER,
    "451 Unavailable": Failed("refused", "so it is"),
    "499 Client Closed Request": Failed("refused", "so it is"),
    "500 Server Error": Failed("server", "so it is"),
    "501 Not Implemented": Failed("server", "so it is"),
    "503 Service Unavailable": Failed("server", "so it is"),
    "520 Unknown": Failed("server", "so it is"),
    "529 Overloaded": Failed("server", "so it is"),
    "600 Odd": Failed("server", "so it is"),
    "999 Odd": Failed("server", "so it is"),
}

_GOOD_STATUSES = ("201 Created", "202 Accepted", "203 Other", "206 Partial", "299 Odd")
_REDIRECTIONS = (301, 302, 303, 307, 308)

_ERRORS: Mapping[str, tuple[bytes, End]] = {
    "text": (b'{"error":"so it is"}', Failed("server", "so it is")),
    "plain": (b"so it is", Failed("server", "so it is")),
    "message": (b'{"message":"so it is"}', Failed("server", "so it is")),
    "detail": (b'{"detail":"so it is"}', Failed("server", "so it is")),
    "in a list": (b'[{"error":{"message":"so it is"}}]', Failed("server", "so it is")),
    "number": (b"17", Failed("server", "17")),
    "empty list": (b"[]", Failed("server", "[]")),
    "null error": (b'{"error":null}', Failed("server", '{"error":null}')),
    "message of numbers": (error([1]), Failed("server", '{"error": {"message": [1]}}')),
    "odd code": (error("so it is", code=[2], param=3, type=None), Failed("server", "so it is")),
    "huge code": (error("so it is", code=10**80), Failed("server", "so it is")),
    "empty": (b"", Failed("server")),
    "page": (b"<h1>so\nit is</h1>", Failed("server", "<h1>so it is</h1>")),
    "no utf-8": (
        b'{"error":"so it is\xff"}',
        Failed("server", "so it is\N{REPLACEMENT CHARACTER}"),
    ),
    "surrogate": (
        rb'{"error":"so it is\ud800"}',
        Failed("server", "so it is\N{REPLACEMENT CHARACTER}"),
    ),
    "control": (error("so\x1b[2J \x00it\u202e\x9b is\r\n"), Failed("server", "so [2J it is")),
    "long": (error("x" * _MIB), Failed("server", "x" * 499 + "…")),
    "key": (error(f"what is {KEY}?"), Failed("server", "what is …?")),
    "deep": (DEEP, Failed("server", "[" * 499 + "…")),
    "too long": (b"so it is" + b" " * 3 * _MIB, Failed("server", "so it is")),
    "no schema": (
        error("response_format json_schema is unknown"),
        Failed("server", "response_format json_schema is unknown"),
    ),
}

_WAITS = (
    b"Retry-After: Fri, 31 Dec 9999 23:59:59 GMT",
    b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359",
    b"Retry-After: Mon, 01 Jan 0001 00:00:00 +2359",
    b"Retry-After: Wed, 99 Nov 2015 77:28:00 GMT",
    b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",
    b"Retry-After: 1e300",
    b"Retry-After: -1e308",
    b"Retry-After: nan",
    b"Retry-After: inf",
    b"Retry-After: 1" + b"0" * 400,
    b"Retry-After: -3",
    b"Retry-After: soon",
    b"Retry-After: \xff\xfe",
    b"Retry-After:",
    b"Retry-After-Ms: 1e300",
    b"Retry-After-Ms: -5",
    b"Retry-After-Ms: nan",
)

_LIMITS = (
    *(b"1e-300", b"-1e308", b"1e308", b"nan", b"inf", b"0", b"-1", b"many", b"", b"1" + b"0" * 400),
    *(b"0.5", b"\xff", b"1e999", b"0x10", b"60;window=60"),
)

_HEADERS: Mapping[str, tuple[Sequence[bytes], End]] = {
    "too many": ([b"X-%d: y" % n for n in range(999)], _PLAIN),
    "too long": ([b"X: " + b"y" * 99_999], _PLAIN),
    "long name": ([b"X" * 99_999 + b": y"], _PLAIN),
    "no colon": ([b"nonsense"], _PLAIN),
    "no name": ([b": nonsense"], _PLAIN),
    "nul": ([b"X: a\0b"], _PLAIN),
    "beyond ascii": ([b"X: gr\xfc\xdfe \xff"], Kept()),
    "odd cookies": ([b"Set-Cookie: =;;=\xff; Expires=Fri, 99 Foo 99999"], Kept()),
    "odd type": ([b"Content-Type: /;;charset=\xff"], Kept()),
    "odd charset": ([b"Content-Type: application/json; charset=utf-7"], Kept()),
    "location": ([b"Location: http://[::1/"], Kept()),
    "closes": ([b"Connection: close"], Kept()),
    "odd connection": ([b"Connection: perhaps, maybe"], Kept()),
    "odd date": ([b"Date: never", b"Age: -1", b"Link: <<>>;;"], Kept()),
}


def _table() -> dict[str, Mode]:
    modes = {
        **{f"usage {name}": Mode(Http(usage(said)), end) for name, (said, end) in _USAGE.items()},
        **{
            f"finish {name}": Mode(Http(finish(said)), end) for name, (said, end) in _FINISH.items()
        },
        **{f"message {n}": Mode(Http(message(said)), end) for n, (said, end) in _MESSAGES.items()},
        **{
            f"content {n}": Mode(Http(with_content(said)), end)
            for n, (said, end) in _CONTENT.items()
        },
        **{f"body {name}": Mode(Http(body), end) for name, (body, end) in _BODIES.items()},
        **{
            f"packed {name}": Mode(
                Http(GOOD, headers=[b"Content-Encoding: " + coding], pack=pack), end
            )
            for name, (coding, pack, end) in _PACKED.items()
        },
        **{f"length {name}": Mode(*mode) for name, mode in _LENGTHS.items()},
        **{f"line {name}": Mode(*mode) for name, mode in _LINES.items()},
        **{f"time {n}": Mode(way, Failed("timeout"), stalls=True) for n, way in _STALLS.items()},
        **{
            f"status {status}": Mode(Http(error("so it is"), status), end)
            for status, end in _STATUSES.items()
        },
        **{f"status {status}": Mode(Http(GOOD, status), Kept()) for status in _GOOD_STATUSES},
        **{
            f"status {status} elsewhere": Mode(
                Http(GOOD, f"{status} Elsewhere", [b"Location: /elsewhere/v1/chat/completions"]),
                Stops(f"{_PLACE}{status}"),
            )
            for status in _REDIRECTIONS
        },
        **{
            f"error {name}": Mode(Http(body, "500 Server Error"), end)
            for name, (body, end) in _ERRORS.items()
        },
        **{
            f"wait {_shown(wait)}": Mode(Http(error("so it is"), "429 Too Many", [wait]), _LATER)
            for wait in _WAITS
        },
        **{
            f"limit {_shown(limit)}": Mode(Http(GOOD, headers=_limited(limit)), Kept())
            for limit in _LIMITS
        },
        **{
            f"header {n}": Mode(Http(GOOD, headers=told), end)
            for n, (told, end) in _HEADERS.items()
        },
    }
    return {**modes, **_OTHERS}


def _shown(said: bytes) -> str:
    return said.decode("ascii", "replace")[:60]


def _limited(said: bytes) -> list[bytes]:
    names = (b"limit-requests", b"limit-tokens", b"remaining-requests", b"remaining-tokens")
    return [b"X-RateLimit-%b: %b" % (name, said) for name in names]


_OTHERS: Mapping[str, Mode] = {
    "status 100 first": Mode(Http(GOOD, before=b"HTTP/1.1 100 Continue\r\n\r\n"), Kept()),
    "status 103 first": Mode(Http(GOOD, before=b"HTTP/1.1 103 Hints\r\nLink: <>\r\n\r\n"), Kept()),
    "error packed bomb": Mode(
        Http(b"", "500 Server Error", [b"Content-Encoding: gzip"], pack=lambda _: GZIP_BOMB),
        Failed("server"),
    ),
    "error broken gzip": Mode(
        Http(b"no gzip", "429 Too Many", [b"Content-Encoding: gzip"]), _LATER
    ),
    "error gzip": Mode(
        Http(b"so it is", "500 Server Error", [b"Content-Encoding: gzip"], pack=gzip.compress),
        Failed("server", "so it is"),
    ),
    "error endless": Mode(
        endless(b"HTTP/1.1 500 Oh\r\n\r\nso it is", b" " * 65_536), Failed("server", "so it is")
    ),
    "error cut": Mode(
        said_and_closed(b"HTTP/1.1 401 Oh\r\nContent-Length: 99\r\n\r\nso"),
        Stops("refuses the key with 401"),
    ),
    "error stalled": Mode(
        said_and_silent(b"HTTP/1.1 503 Oh\r\nContent-Length: 99\r\n\r\nso it is"),
        Failed("server", "so it is"),
        stalls=True,
    ),
    "parameter always refused": Mode(
        Http(error("Unsupported parameter: max_tokens"), "400 Bad Request"),
        Failed("refused", "Unsupported parameter: max_tokens"),
    ),
    "status 304": Mode(Http(b"", "304 Not Modified"), Stops(f"{_PLACE}304")),
    "answered twice": Mode(Http(GOOD, after=_OTHER), Kept()),
    "answers unasked": Mode(unasked(GOOD, _OTHER), Kept(), pause=0.3),
    "babbles unasked": Mode(unasked(GOOD, b"and more"), Kept(), pause=0.3),
    "wait a week": Mode(
        Http(error("so it is"), "429 Too Many", [b"Retry-After: 604800"]), Stops("asks to wait for")
    ),
    "no credit": Mode(
        Http(error("so it is", code="insufficient_quota"), "429 Too Many"),
        Stops("has no credit left"),
    ),
}


_FAIR = Mode(Http(GOOD), Kept())

# -- the service


@dataclass(eq=False)
class Hostile:
    """The service while it runs: `async with Hostile(modes) as url:`, *url* less the mode.

    *calls* counts what came in for each mode, *paid* what was answered with a whole completion. The
    first *fair* calls to each mode are answered as they should be. No list of models is a call.
    """

    modes: Mapping[str, Mode]
    fair: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    _names: Mapping[str, str] = field(init=False)
    _server: asyncio.Server | None = None
    _lines: dict["asyncio.Task[None]", asyncio.StreamWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = {place(name): name for name in self.modes}

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0, backlog=1_000)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._lines.values():
            writer.transport.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = writer
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, EOFError):  # they had enough
            pass
        finally:
            writer.close()
            del self._lines[task]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether another call may come."""
        place, seed = await _asked(reader)
        name = self._names.get(place, "elsewhere")
        if seed is None and name != "elsewhere":
            await Line(reader, writer, b"").say(Http(GOOD).packed(b""))
            return True
        self.calls[name] += 1
        if name == "elsewhere":
            return False
        mode = self.modes[name] if self.calls[name] > self.fair else _FAIR
        line = Line(reader, writer, seed or b"")
        try:
            if isinstance(mode.answer, Http):
                await line.say(mode.answer.packed(line.seed))
            else:
                await mode.answer(line)
        finally:
            self.paid[name] += mode.paid
        return isinstance(mode.answer, Http)


def place(name: str) -> str:
    """Return where a mode is, below the service's URL."""
    return blake2b(name.encode(), digest_size=8).hexdigest()


async def _asked(reader: asyncio.StreamReader) -> tuple[str, bytes | None]:
    """Return the place and the seed of the next call; there is none where nothing is sent."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.splitlines()
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    body = await reader.readexactly(length)
    seed = str(json.loads(body).get("seed", "")).encode() if body else None
    return head.split(b"/")[1].decode(), seed


MODES: Final = _table()


# -- embeddings


def vectors(said: str, **more: str) -> bytes:
    """Return a good answer but for its one embedding, and *more* of its fields."""
    parts = {"index": "0", "usage": '{"prompt_tokens":3}', **more}
    data = f'[{{"index":{parts["index"]},"embedding":{said}}}]'
    return f'{{"data":{data},"usage":{parts["usage"]}}}'.encode()


def _base64(*numbers: float) -> str:
    return f'"{base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()}"'


_FOUND = Kept(prompt=3, text="")
_UNCOUNTED = Kept(prompt=0, text="")
_PRETTY = ",\n                ".join(f"{number / 7:.17f}" for number in range(8_192))
_NUMBERS: Mapping[str, tuple[bytes, End]] = {
    "good": (vectors("[0.5,-0.25]"), _FOUND),
    "whole": (vectors("[3,-4]"), _FOUND),
    "one": (vectors("[0.1]"), _FOUND),
    "huge": (vectors("[1e308,-1e308,1e-308]"), _FOUND),
    "tiny": (vectors("[5e-324,0.0]"), _FOUND),
    "ints without end": (vectors(f"[1{'0' * 300},1]"), _FOUND),
    "base64": (vectors(_base64(0.5, -0.25)), _FOUND),
    "8,192 numbers": (vectors(f"[{_PRETTY}]"), _FOUND),
    "null index": (vectors("[0.5]", index="null"), _FOUND),
    "odd index": (vectors("[0.5]", index='"first"'), _FOUND),
    "huge index": (vectors("[0.5]", index="1" + "0" * 99), _FOUND),
    "null usage": (vectors("[0.5]", usage="null"), _UNCOUNTED),
    "odd usage": (vectors("[0.5]", usage="[NaN]"), _UNCOUNTED),
    "huge usage": (vectors("[0.5]", usage='{"prompt_tokens":1e999}'), _UNCOUNTED),
    "negative usage": (vectors("[0.5]", usage='{"prompt_tokens":-3}'), _UNCOUNTED),
    "nan": (vectors("[0.5,NaN]"), _PLAIN),
    "infinity": (vectors("[0.5,Infinity]"), _PLAIN),
    "1e999": (vectors("[0.5,1e999]"), _PLAIN),
    "too huge": (vectors(f"[1{'0' * 400}]"), _PLAIN),
    "nothing": (vectors("[0.0,-0.0]"), _PLAIN),
    "empty": (vectors("[]"), _PLAIN),
    "null": (vectors("null"), _PLAIN),
    "object": (vectors('{"0":0.5}'), _PLAIN),
    "number": (vectors("0.5"), _PLAIN),
    "nulls": (vectors("[null,0.5]"), _PLAIN),
    "texts": (vectors('["0.5"]'), _PLAIN),
    "bools": (vectors("[true,false]"), _PLAIN),
    "nested": (vectors("[[0.5]]"), _PLAIN),
    "deep": (vectors(DEEP.decode()), _PLAIN),
    "deep beside": (vectors("[0.5]", usage=DEEP.decode()), _PLAIN),
    "more than 2 MiB": (vectors(f"[{_PRETTY}{',0.5' * _MIB}]"), _PLAIN),
    "base64 of nan": (vectors(_base64(float("nan"), 0.5)), _PLAIN),
    "base64 of infinity": (vectors(_base64(float("inf"))), _PLAIN),
    "base64 of nothing": (vectors('""'), _PLAIN),
    "base64 of 5 bytes": (vectors('"AAAAAAA="'), _PLAIN),
    "base64 of rubbish": (vectors('"what? \u00e9"'), _PLAIN),
    "no data": (b'{"data":[]}', _PLAIN),
    "data of an object": (b'{"data":{"embedding":[0.5]}}', _PLAIN),
    "two": (b'{"data":[{"embedding":[0.5]},{"embedding":[0.5]}]}', _PLAIN),
    "data of numbers": (b'{"data":[0.5]}', _PLAIN),
    "a reply": (GOOD, _PLAIN),
    "error in 200": (error("overloaded"), _PLAIN),
    "page": (b"<html>", _PLAIN),
    "no utf-8": (b"\xff" + vectors("[0.5]"), _PLAIN),
    "bom": (b"\xef\xbb\xbf" + vectors("[0.5]"), _FOUND),
}

VECTORS: Final[Mapping[str, Mode]] = {
    **{name: Mode(Http(body), end) for name, (body, end) in _NUMBERS.items()},
    "gzip": Mode(
        Http(vectors("[0.5]"), headers=[b"Content-Encoding: gzip"], pack=gzip.compress), _FOUND
    ),
    "bomb": Mode(Http(headers=[b"Content-Encoding: gzip"], pack=lambda _: GZIP_BOMB), _PLAIN),
    "endless": Mode(endless(http(b""), b"[" * 65_536), _PLAIN),
    "server": Mode(Http(error("so it is"), "500 Oh"), Failed("server")),
    "key": Mode(Http(error("so it is"), "401 Oh"), Stops("refuses the key with 401")),
    "model": Mode(Http(error("no such model"), "404 Oh"), Stops("has no model")),
}
