"""Many clients, slow ones and such as never read: what they cost a service of ours is bounded."""

import gzip
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.serving.connections import Bounds
from agents.models.serving.latency import Latency
from agents.models.serving.server import Behaviour, Server
from tests.agents.models.serving.test_odd_requests import (
    GOOD,
    LIMIT,
    answered,
    chat,
    chunked,
    exchanged,
    request,
    vectors,
)
from tests.support.served import served

PATIENCE = 30.0  # seconds, for a machine that is busy

# Says where it is, and on a signal how many megabytes it ever had.
SERVICE = """
import asyncio, resource, signal, sys
from agents.embeddings import hashed
from agents.models.serving.connections import Bounds
from agents.models.embedded import EmbeddedModel
from agents.models.serving.latency import Latency
from agents.models.serving.server import Behaviour, Server

async def main():
    server = Server(
        EmbeddedModel(),
        Behaviour(latency=Latency(0.2)),
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
        bounds=Bounds(connections=2_000),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with server as url:
        print(url, flush=True)
        await stop.wait()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (2**20 if sys.platform == "darwin" else 2**10))

asyncio.run(main())
"""


@dataclass(frozen=True)
class There:
    """A service, and where it is."""

    server: Server
    place: tuple[str, int]

    def connected(self) -> socket.socket:
        return socket.create_connection(self.place, timeout=PATIENCE)

    def check_quiet(self) -> None:
        """Nothing is held any more for anybody, and the next client is welcome."""
        everyone = self.server._connections
        until(lambda: (everyone.count, everyone.waiting, everyone.held) == (0, 0, 0))
        assert exchanged(self.place, request("GET", "/v1/models"))[0].status == 200


@contextmanager
def serving(bounds: Bounds, latency: float = 0.0) -> Iterator[There]:
    server = Server(
        EmbeddedModel(),
        Behaviour(latency=Latency(latency)),
        names=("embedded", "hashing"),
        embed=lambda text: hashed(text.splitlines()).tolist(),
        bounds=bounds,
    )
    with served(server) as service:
        yield There(server, at(service.url))


def at(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    return place.hostname, place.port


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_well(place: tuple[str, int]) -> bool:
    """Return whether a call is answered, and not refused."""
    try:
        return exchanged(place, chat({}))[0].status == 200
    except ConnectionError:
        return False


def ended(wire: socket.socket) -> bytes:
    """Return what comes until the connection ends, in whatever way."""
    said = b""
    try:
        while data := wire.recv(2**16):
            said += data
    except ConnectionError:
        pass
    return said


def pushed(wire: socket.socket, data: bytes) -> None:
    """Send as much as is taken at once."""
    wire.setblocking(False)
    try:
        while data:
            data = data[wire.send(data) :]
    except (BlockingIOError, ConnectionError):
        pass
    wire.settimeout(PATIENCE)


# -- too many


def test_connections_are_limited() -> None:
    """Who comes on top gets 503 and Retry-After in the protocol's shape, or finds it cut."""
    with serving(Bounds(connections=20)) as there:
        with ExitStack() as stack:
            idle = [stack.enter_context(there.connected()) for _ in range(20)]
            until(lambda: there.server._connections.count == 20)
            for _ in range(100):
                with there.connected() as wire:
                    response, body = answered(wire)
                    assert (response.status, response.headers["Retry-After"]) == (503, "1")
                    assert json.loads(body)["error"]["code"] == "overloaded"
            idle[0].sendall(request("GET", "/v1/models"))
            assert answered(idle[0])[0].status == 200
        there.check_quiet()


def test_a_crowd_that_stays_is_cut() -> None:
    """Those who are turned away and do not go keep no connection."""
    with serving(Bounds(connections=20)) as there, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(there.connected())
        until(lambda: there.server._connections.count == 20)


def test_waiting_requests_are_limited() -> None:
    """So many are answered at once; the others get 503 and Retry-After, and may ask again."""
    with serving(Bounds(waiting=5), latency=0.5) as there:
        with ExitStack() as stack:
            wires = [stack.enter_context(there.connected()) for _ in range(12)]
            for wire in wires:
                wire.sendall(chat({}))
            answers = [answered(wire)[0] for wire in wires]
            statuses = Counter(answer.status for answer in answers)
            assert statuses == {200: 5, 503: 7}
            assert {a.headers["Retry-After"] for a in answers if a.status == 503} == {"1"}
            wires[-1].sendall(chat({}))
            assert answered(wires[-1])[0].status == 200
        there.check_quiet()


def test_bytes_that_are_held_are_limited() -> None:
    """Bodies that stall at their ends fill the memory up to the bound, and no further."""
    with serving(Bounds(held=4 * LIMIT, arrival=1.0)) as there:
        with ExitStack() as stack:
            wires = [stack.enter_context(there.connected()) for _ in range(20)]
            for wire in wires:
                pushed(wire, chat(b"", Content_Length=str(LIMIT)) + b" " * (LIMIT - 1))
            statuses = Counter(ended(wire)[9:12] for wire in wires)
        assert set(statuses) <= {b"408", b"503", b""}
        assert statuses[b"408"] <= 8
        there.check_quiet()


# -- too slow


def test_heads_that_come_slowly_are_not_waited_for() -> None:
    with serving(Bounds(idle=0.5)) as there:
        with there.connected() as wire, there.connected() as silent:
            wire.settimeout(0.05)
            for byte in request("GET", "/v1/models", X="x" * 5_000):
                try:
                    wire.sendall(bytes([byte]))
                    if wire.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            else:
                pytest.fail("was waited for")
            assert ended(silent) == b""
        there.check_quiet()


def test_connections_may_be_used_again_for_a_while() -> None:
    with serving(Bounds(idle=0.5)) as there, there.connected() as wire:
        for _ in range(3):
            wire.sendall(chat({}))
            assert answered(wire)[0].status == 200
        assert ended(wire) == b""


def test_answers_that_are_not_read_are_let_go() -> None:
    """The connection of a client that asks and asks and never reads is cut."""
    many = request("GET", "/v1/openapi.json") * 5_000
    # Room for all of it, or most would be refused, in so few words that they need not be read.
    with serving(Bounds(departure=0.5, held=2**30)) as there:
        with ExitStack() as stack:
            wires = [stack.enter_context(there.connected()) for _ in range(10)]
            until(lambda: there.server._connections.count == 10)
            for wire in wires:
                pushed(wire, many)
            until(lambda: there.server._connections.count == 0)
        there.check_quiet()


def test_large_answers_are_read_at_leisure() -> None:
    """A client that reads slowly but in time gets all of it."""
    with serving(Bounds()) as there, there.connected() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**14)
        wire.sendall(vectors(input=["a", "b", "c"] * 600))
        until(lambda: there.server._connections.held > 0)
        response, body = answered(wire)
        assert (response.status, len(json.loads(body)["data"])) == (200, 1_800)


# -- as a process


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@pytest.mark.slow  # on its own: what is held depends on how long others keep it from its work
def test_memory_is_bounded_whatever_clients_do() -> None:
    """Bombs, endless bodies, pipelines, answers that nobody reads, by the hundred: < 300 MB."""
    bomb = gzip.compress(bytes(2**28), 1)[: LIMIT - 1_000]
    attacks = [
        chat(bomb, Content_Encoding="gzip"),
        chunked(b" " * 2**20) * 8,
        chat(b"", Content_Length=str(LIMIT)) + b" " * (LIMIT - 1),
        chat(GOOD[:-1] + b', "x": "' + "é".encode() * 2**18) * 8,
        request("GET", "/v1/openapi.json") * 10_000,
        vectors(input=["text"] * 2_000) * 20,
        chat({"messages": [{"role": "user", "content": "😀" + "x" * 2**17}]}) * 16,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 8_000,
    ]
    with process("-c", SERVICE) as child:
        assert child.stdout is not None
        place = at(child.stdout.readline().strip())
        with ExitStack() as stack:
            for number in range(400):
                wire = stack.enter_context(socket.create_connection(place, timeout=PATIENCE))
                pushed(wire, attacks[number % len(attacks)])
            time.sleep(0.5)  # to let them have what they were sent
        until(lambda: is_well(place))
        child.send_signal(signal.SIGTERM)
        peak, errors = child.communicate(timeout=PATIENCE)
    assert (errors, child.returncode) == ("", 0)
    assert float(peak) < 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_clients_that_hang_keep_it_from_nothing(number: signal.Signals) -> None:
    """It stops at once and cleanly: idle ones, half heads and bodies, waiting and reading ones."""
    serve = "import typer, sim.commands.serve as s; typer.run(s.serve)"
    with process("-W", "error", "-c", serve, "--port", "0", "--latency", "fixed:60000") as child:
        assert child.stdout is not None
        place = at(child.stdout.readline().split(" at ")[1].split()[0])
        hanging = [
            b"",
            b"GET /v1/mod",
            chat({})[:-5],
            chat({}),
            request("GET", "/v1/openapi.json") * 3_000,
            chat(b"", Content_Length=str(2 * LIMIT)),
        ]
        with ExitStack() as stack:
            for sent in hanging * 5:
                pushed(stack.enter_context(socket.create_connection(place)), sent)
            assert exchanged(place, request("GET", "/v1/models"))[0].status == 200
            child.send_signal(number)
            out, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, errors) == (0, "")
    assert "Answered: " in out


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with serving(Bounds()) as there:
        words = "from sim.cli import main; main()"
        with process("-c", words, "serve", "--port", str(there.place[1])) as child:
            out, errors = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (2, "")
    assert errors.splitlines()[0].endswith("address already in use")
    assert "Traceback" not in errors
