"""What is posted with a head that is made once is what aiohttp would have sent."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.models.model import TransientError
from agents.models.remote.deadlines import Timeouts
from agents.models.remote.exchange import Answer, Exchange, Prepared
from agents.models.remote.posting import head_for

SAID = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Limit: 7\r\n\r\n{}"
HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json", "User-Agent": "b"}


@dataclass
class Scripted:
    """Says one thing after another, whatever it is asked, and notes that byte for byte."""

    says: Sequence[bytes]
    heard: list[bytes] = field(default_factory=list)
    met: list[asyncio.Task[None] | None] = field(default_factory=list)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met.append(asyncio.current_task())
        while heard := await reader.read(65_536):
            self.heard.append(heard)
            said = self.says[len(self.heard) - 1]
            if not said:
                break
            writer.write(said)
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def exchanging(
    script: Scripted, secured: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Exchange, Prepared]]:
    server = await asyncio.start_server(script.meet, "127.0.0.1", 0, ssl=secured)
    url = f"{'https' if secured else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?a=b%20c"
    exchange = Exchange(url=url, connections=4, timeouts=Timeouts(first_byte=0.2, whole=5))
    try:
        yield exchange, Prepared(url, HEADERS)
    finally:
        await exchange.aclose()
        server.close()
        await asyncio.gather(*(task for task in script.met if task is not None))


def posted(script: Scripted, times: int = 1) -> list[Answer]:
    async def main() -> list[Answer]:
        async with exchanging(script) as (exchange, prepared):
            return [await exchange.post(prepared, b'{"a":1}') for _ in range(times)]

    return asyncio.run(main())


def test_what_is_posted_is_what_aiohttp_would_send() -> None:
    """The same lines, whatever their order, and the same body."""
    script = Scripted([SAID, SAID])

    async def main() -> None:
        async with exchanging(script) as (exchange, prepared):
            await exchange.send("POST", prepared.url, prepared.headers, b'{"a":1}')
            await exchange.post(prepared, b'{"a":1}')

    asyncio.run(main())
    theirs, ours = (sorted(heard.split(b"\r\n")) for heard in script.heard)
    assert ours == theirs


def test_a_connection_is_used_again() -> None:
    """Calls one after the other need one; each gets its own answer, with its headers."""
    script = Scripted([SAID, SAID.replace(b"{}", b"[]")])
    answers = posted(script, times=2)
    assert [answer.body for answer in answers] == [b"{}", b"[]"]
    assert answers[0].headers["x-limit"] == "7"
    assert len(script.met) == 1


def test_what_only_says_that_there_will_be_an_answer_is_none() -> None:
    """A status below 200 comes before the answer."""
    (answer,) = posted(Scripted([b"HTTP/1.1 102 Processing\r\n\r\n" + SAID]))
    assert (answer.status, answer.body) == (200, b"{}")


def test_a_body_that_stops_in_the_middle_is_given_up() -> None:
    """As soon as no byte has come for as long as a first one may take."""
    with pytest.raises(TransientError, match="in time") as caught:
        posted(Scripted([SAID[:-1]]))
    assert caught.value.kind == "timeout"


def test_after_a_failure_there_is_another_connection() -> None:
    """Who hung up is not asked again over the same one."""
    script = Scripted([b"", SAID])

    async def main() -> Answer:
        async with exchanging(script) as (exchange, prepared):
            with pytest.raises(TransientError):
                await exchange.post(prepared, b"{}")
            return await exchange.post(prepared, b"{}")

    assert asyncio.run(main()).status == 200
    assert len(script.met) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_so_it_is_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same certificates are trusted, and one connection will do."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=me -days 1"
    named = f"-addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}"
    subprocess.run(f"{make} {named}".split(), check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(certificate, key)
    script = Scripted([SAID, SAID])

    async def main() -> list[int]:
        async with exchanging(script, secured) as (exchange, prepared):
            return [(await exchange.post(prepared, b"{}")).status for _ in range(2)]

    assert asyncio.run(main()) == [200, 200]
    assert len(script.met) == 1


def test_a_header_is_one_line() -> None:
    """Or whoever may say what is in it could add others."""

    async def main() -> None:
        head_for("http://127.0.0.1/v1", {"Authorization": "Bearer k\r\nX-Other: 1"})

    with pytest.raises(ValueError, match="more than one line"):
        asyncio.run(main())
