"""Who floods the pages finds them bounded, and others are answered; Ctrl-C ends them at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from socket import socket
from urllib.parse import urlsplit

import pytest

from sim.views import listening
from tests.sim.runs.test_interrupt import until
from tests.support.dying import living, typed
from tests.support.small import recorded
from tests.support.viewed import connected, viewed

SLOW = 60.0  # seconds, for a machine that is busy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("made") / "run", episodes=2).path


@pytest.fixture
def url(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a run, to four at once who are not too slow."""
    monkeypatch.setattr(listening, "_MOST", 4)
    monkeypatch.setattr(listening, "_PATIENCE", 0.3)
    with viewed(made) as url:
        yield url


def hangs_up(link: socket) -> bool:
    """Tell whether the other side closes the connection without a word."""
    with link:
        link.settimeout(SLOW)
        try:
            return link.recv(1) == b""
        except ConnectionResetError:
            return True


def answers(url: str) -> bool:
    """Tell whether there is an answer in the end: it takes a moment to see that others left."""
    for _ in range(600):
        with connected(url) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            try:
                if link.recv(15) == b"HTTP/1.1 200 OK":
                    return True
            except ConnectionResetError:
                pass
        time.sleep(SLOW / 600)
    return False


def test_connections_are_bounded(url: str) -> None:
    """Beyond so many it hangs up; when others have gone there is room again."""
    with ExitStack() as open_:
        for _ in range(4):
            link = open_.enter_context(connected(url))
            link.sendall(b"GET /events/run HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert link.recv(4)
        assert all(hangs_up(connected(url)) for _ in range(20))
    assert answers(url)


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127."])
def test_who_says_nothing_is_not_waited_for(url: str, said: bytes) -> None:
    """A request must come to its end; connections that do not are closed."""
    link = connected(url)
    link.sendall(said)
    assert hangs_up(link)


def test_an_endless_head_is_refused(url: str) -> None:
    """Neither a long name nor very many are kept."""
    for head in (b"X: " + b"x" * 100_000, b"X: x\r\n" * 100_000):
        with connected(url) as link:
            link.settimeout(SLOW)
            try:
                link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + head + b"\r\n\r\n")
                answer = link.recv(100)
            except ConnectionError:
                continue
            assert answer == b"" or answer.split()[1] in {b"400", b"431"}
    assert answers(url)


def test_an_endless_body_is_not_read(url: str) -> None:
    """What is refused is refused before its body comes."""
    with connected(url) as link:
        link.settimeout(SLOW)
        link.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n")
        assert link.recv(100).split()[1] == b"403"


def test_control_c_ends_it_at_once(made: Path, tmp_path: Path) -> None:
    """Whoever listens, or has said half a request, is not waited for; nothing more is said."""
    words = ["view", str(made), "--port", "0"]
    with living(partial(typed, tmp_path, words), tmp_path / "any") as process:
        until(lambda: process.out.exists() and "\n" in process.out.read_text())
        told = process.out.read_text()
        url = told.split()[2]
        with connected(url) as listens, connected(url) as hesitates:
            listens.sendall(
                f"GET /events/run HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode()
            )
            hesitates.sendall(b"GET / HTTP/1.1\r\nHo")
            assert listens.recv(15) == b"HTTP/1.1 200 OK"
            process.send(signal.SIGINT)
            process.process.join(SLOW)
            assert process.process.exitcode == 0
        said = process.ended()
    assert (said.out.strip(), said.err) == (told.strip(), "")
