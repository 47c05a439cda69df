"""A worker in a cluster, without a cluster: what it refuses, what it lacks, what it says."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from engine.errors import BillpError
from sim.config.layers import configured
from sim.runs.workers.frames import Begin, Broke, FromWorker, ToWorker
from sim.runs.workers.hand import Hand
from sim.runs.workers.orders import Hello
from storage.datasets.packing import packed
from storage.provenance import this_source, this_version
from tests.support.dying import SMALL
from tests.support.encounters import small_world
from tests.support.shell import Shell

T = TypeVar("T")

WORLD = small_world()
DIGEST = WORLD.head.digest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def met(
    then: Callable[[Hand], Awaitable[T]], hello: Hello | None = None
) -> tuple[tuple[str, bool], T]:
    """Return what a worker answered to *hello*, and what came of it *then*."""

    async def meet() -> tuple[tuple[str, bool], T]:
        hand = Hand()
        told = hello or Hello(this_version(), this_source(), ".", "nowhere", DIGEST)
        answer = await hand.hello(*msgspec.structs.astuple(told))
        try:
            return answer, await then(hand)
        finally:
            hand._post.close()

    return asyncio.run(meet())


async def nothing(_: Hand) -> None:
    """Do nothing then."""


async def brought(pack: bytes) -> bytes:
    return pack


def framed(*messages: ToWorker) -> bytes:
    data = [msgspec.msgpack.encode(message) for message in messages]
    return b"".join(len(one).to_bytes(4, "big") + one for one in data)


def test_another_version_or_other_code_is_refused() -> None:
    """Of the same version there is more than one code: it might say other bytes."""
    other = Hello("0.0.1", this_source(), ".", "nowhere", DIGEST)
    (why, _), _ = met(nothing, other)
    assert why == f"a node of the cluster has billp {this_version()}, and not 0.0.1"
    (why, _), _ = met(nothing, Hello(this_version(), "other", ".", "", DIGEST))
    assert why.startswith("a node of the cluster has other code of billp")


def test_an_environment_that_is_not_there_is_taken_once() -> None:
    """The next worker finds it by its digest."""
    sent = packed(WORLD)
    assert met(lambda hand: hand.receive([brought(sent)], DIGEST)) == (("", True), ("", ""))
    assert met(nothing) == (("", False), None)


def test_another_environment_than_was_asked_for_is_refused() -> None:
    """Torn on its way, or not the one."""
    why = met(lambda hand: hand.receive([brought(b"")], DIGEST))[1]
    assert why[0].startswith("a packed environment cannot be read")
    why = met(lambda hand: hand.receive([brought(packed(WORLD))], "0" * 64))[1]
    assert why == ("a node of the cluster got another environment than 000000000000", "")


def test_what_cannot_be_kept_is_taken_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    _, (why, unkept) = met(lambda hand: hand.receive([brought(packed(WORLD))], DIGEST))
    assert not why
    assert "cannot be written" in unkept


async def told(hand: Hand, *messages: ToWorker) -> bytes:
    """Return what a worker says to *messages*, in its environment."""
    await hand.receive([brought(packed(WORLD))], DIGEST)
    await hand.take(framed(*messages))
    return await hand.hear()


def test_what_stops_a_worker_is_told_the_run() -> None:
    """An episode before the beginning breaks a law."""
    config = configured(SMALL, {"users": "all"})
    unknown = Begin(config.settings() | {"agent": "nobody"}, DIGEST, ())
    _, data = met(lambda hand: told(hand, unknown))
    said = msgspec.msgpack.decode(data[4:], type=FromWorker)
    assert isinstance(said, Broke)
    assert said.kind == "ConfigError"


def test_a_worker_that_ends_by_itself_says_why() -> None:
    """It would be waited for, else."""

    async def torn(hand: Hand) -> bytes:
        await hand.receive([brought(packed(WORLD))], DIGEST)
        await hand.take(len(b"torn").to_bytes(4, "big") + b"torn")
        return await hand.hear()

    with pytest.raises(msgspec.MsgspecError):
        met(torn)


@pytest.mark.parametrize("address", ["ray://head:10001", "auto", "head", "local:", "a b:1"])
def test_what_is_no_address_of_a_cluster_is_refused(address: str) -> None:
    with pytest.raises(BillpError, match="cluster: expected local or HOST:PORT"):
        configured({"cluster": address})


def test_without_ray_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before there is a run directory."""
    monkeypatch.setitem(sys.modules, "ray", None)
    said = Shell(capsys).billp("run", "--cluster", "local", "--out", "run")
    assert said.status == 2
    assert "pip install 'billp[ray]'" in said.err
    assert not Path("run").exists()
