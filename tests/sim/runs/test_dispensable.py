"""What a run can do without: where it fails, that is said, and no reply is lost and no run stopped.

The cache, the prompts' texts, those who are told of calls, and those who show the run.
"""

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from agents.models.embedded import EmbeddedModel
from agents.models.guards import cached
from agents.models.model import ChatReply, ChatRequest
from engine.errors import FileError
from sim.config.layers import configured
from sim.metrics.summary import Summary
from sim.runs.resume import resume
from sim.runs.run import run
from sim.runs.watching import Underway
from storage.disk import OperatingSystem
from storage.journal import read_journal
from storage.replies import NAME, open_cache
from storage.runs import RunDirectory
from storage.vectors import read_vectors
from tests.sim.runs.test_embedding_costs import FEW as EMBEDDING
from tests.sim.runs.test_embedding_costs import Service
from tests.support.disks import on
from tests.support.small import SMALL, Counted, words

OFF = "the cache is off from now on, and the run goes on without it"

Log = list[MutableMapping[str, Any]]


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged."""
    with capture_logs() as entries:
        yield entries


def said(log: Log, event: str) -> str:
    """Return why *event*, which happened just once, did; it is all that is logged."""
    (entry,) = log
    assert entry["event"] == event
    return str(entry.get("error", ""))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run that has everything that it could do without."""
    return run(configured(SMALL), out=tmp_path_factory.mktemp("plain") / "run")


@dataclass
class Midway:
    """The embedded model; something *happens* at the *due*-th call, before it is answered."""

    happens: Callable[[], None]
    due: int = 20
    asked: int = 0
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        if self.asked == self.due:
            self.happens()
        return await self.model.reply(request)


def check_whole(out: Path, plain: Summary, asked: int) -> None:
    """Assert that a run came to what *plain* came to, and that all it paid for is journaled."""
    directory = RunDirectory(out)
    assert directory.read_summary()["digest"] == plain.digest
    assert len(read_journal(directory.journal)) == asked == plain.calls


# -- the cache


def test_a_locked_cache_costs_no_reply(
    plain: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    """Another process holds it from the middle of the run on: one warning, and on without it."""
    monkeypatch.setattr(cached, "_MOMENT", 0.05)
    out, place = tmp_path / "run", tmp_path / "cache"
    with closing(open_made(place)) as other:
        model = Midway(lambda: other.execute("BEGIN IMMEDIATE").close())
        run(configured(SMALL, {"cache": str(place)}), out=out, model=model)
    check_whole(out, plain, model.asked)
    assert "database is locked" in said(log, OFF)
    with closing(open_cache(place)) as cache:
        assert cache.statistics().replies == 19


def open_made(place: Path) -> sqlite3.Connection:
    """Make a cache, and return a connection of a stranger's to it."""
    run(configured(SMALL, {"cache": str(place), "episodes": 1}), out=place.with_name("first"))
    connection = sqlite3.connect(place / NAME, isolation_level=None)
    connection.execute("DELETE FROM replies")
    return connection


def test_a_locked_cache_blocks_a_run_for_a_moment_only() -> None:
    """Who holds it may hold it for long, and nobody else gets on while a call waits for it."""
    assert 0 < cached._MOMENT <= 3


@dataclass
class Boundless:
    """The embedded model, as a service would have it whose counts of tokens know no bounds."""

    tokens: int
    asked: int = 0
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        reply = await self.model.reply(request)
        return msgspec.structs.replace(reply, prompt_tokens=self.tokens)


def test_a_reply_that_the_cache_cannot_hold_is_journaled(tmp_path: Path, log: Log) -> None:
    """SQLite's integers end at 2⁶³ − 1, those of services do not."""
    model, out = Boundless(2**63), tmp_path / "run"
    summary = run(configured(SMALL, {"cache": str(tmp_path / "cache")}), out=out, model=model)
    ends = read_journal(RunDirectory(out).journal).values()
    assert [ended.prompt_tokens for ended in ends] == [2**63] * model.asked
    assert summary.failed_calls == 0
    assert "too large" in said(log, OFF)


def test_a_cache_that_is_gone_costs_no_reply(plain: Summary, tmp_path: Path, log: Log) -> None:
    """Its table is dropped by another process in the middle of the run."""
    out, place = tmp_path / "run", tmp_path / "cache"
    with closing(open_made(place)) as other:
        model = Midway(lambda: other.execute("DROP TABLE replies").close())
        run(configured(SMALL, {"cache": str(place)}), out=out, model=model)
    check_whole(out, plain, model.asked)
    assert "no such table" in said(log, OFF)


def test_a_cache_that_fills_with_nonsense_costs_no_reply(
    plain: Summary, tmp_path: Path, log: Log
) -> None:
    """SQLite keeps anything in any column; what is found is not believed."""
    out, place = tmp_path / "run", tmp_path / "cache"
    run(configured(SMALL, {"cache": str(place)}), out=tmp_path / "before")
    with closing(sqlite3.connect(place / NAME)) as other, other:
        other.execute("UPDATE replies SET prompt_tokens = 'many', text = x'ff'")
    model = Counted()
    run(configured(SMALL, {"cache": str(place)}), out=out, model=model)
    check_whole(out, plain, len(model.asked))
    assert said(log, OFF)


def test_a_damaged_cache_costs_no_reply(plain: Summary, tmp_path: Path, log: Log) -> None:
    """Most of its pages are spoilt, which only shows when they are read."""
    out, place = tmp_path / "run", tmp_path / "cache"
    run(configured(SMALL, {"cache": str(place)}), out=tmp_path / "before")
    content = bytearray((place / NAME).read_bytes())
    for start in range(8_192, len(content), 4_096):
        content[start : start + 200] = b"\xff" * 200
    (place / NAME).write_bytes(content)
    summary = run(configured(SMALL, {"cache": str(place)}), out=out)
    assert summary.digest == plain.digest
    assert said(log, OFF)


FULL = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
from sim.cli import main
main()
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="there is no such limit here")
def test_a_cache_on_a_full_disk_costs_no_reply(plain: Summary, tmp_path: Path) -> None:
    """No file grows beyond 150 kB here; the cache is the first that would. Exit status 0."""
    out = tmp_path / "run"
    where = ["run", "--quiet", "--out", str(out), "--cache", str(tmp_path / "cache")]
    command = [sys.executable, "-c", FULL, *where, *words(SMALL)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done
    assert (done.stderr.count(OFF), len(done.stderr.splitlines())) == (1, 1)
    check_whole(out, plain, plain.calls)


def test_vectors_are_written_before_they_are_cached(tmp_path: Path, log: Log) -> None:
    """What a service said of a text is not lost to a cache that fails."""
    out, place, service = tmp_path / "run", tmp_path / "cache", Service()
    with closing(open_made(place)) as other:
        other.execute("CREATE TRIGGER no BEFORE INSERT ON replies BEGIN SELECT RAISE(FAIL, '');END")
        run(configured(EMBEDDING, {"cache": str(place)}), out=out, model=service)
    known, _ = read_vectors(RunDirectory(out).vectors)
    assert {entry.attempts for entry in known.values()} == {1}
    assert len(known) == service.texts.total()
    assert said(log, OFF)


def test_vectors_come_from_the_cache(tmp_path: Path) -> None:
    """They are kept there once they are written: another run asks for none."""
    cache = {"cache": str(tmp_path / "cache")}
    first = run(configured(EMBEDDING, cache), out=tmp_path / "first", model=Service())
    again = Service()
    second = run(configured(EMBEDDING, cache), out=tmp_path / "second", model=again)
    assert (second.digest, again.texts.total(), again.chats) == (first.digest, 0, 0)


# -- the prompts' texts


def test_prompts_on_a_full_disk_cost_nothing(plain: Summary, tmp_path: Path, log: Log) -> None:
    """One warning; the run comes to its end."""
    out = tmp_path / "run"
    model = Midway(lambda: os.symlink("/dev/full", out / "prompts.zst"))
    run(configured(SMALL, {"prompts": True}), out=out, model=model)
    check_whole(out, plain, model.asked)
    why = said(log, "prompts are kept no longer: they cannot be written")
    assert why == "No space left on device"


# -- who is told, and who shows


@dataclass
class Wrong:
    """A view that is wrong about itself at some moment, and tells nobody but who calls it."""

    when: str
    calls: int = 0

    def attach(self, underway: Underway) -> None:
        if self.when == "attached":
            raise OSError(errno.EPIPE, "broken pipe")
        if self.when == "told":
            underway.access.witnesses.append(self.told)

    async def show(self) -> None:
        if self.when == "showing":
            raise OSError(errno.EPIPE, "broken pipe")

    def told(self, request: object, ended: object) -> None:
        self.calls += 1
        raise OSError(errno.ENOSPC, "no space")


@pytest.mark.parametrize("when", ["attached", "showing", "told"])
def test_a_view_that_raises_is_dropped_and_said(
    when: str, plain: Summary, tmp_path: Path, log: Log
) -> None:
    """Once; the run goes on to its end."""
    view, model = Wrong(when), Counted()
    run(configured(SMALL), out=tmp_path / "run", model=model, views=[view])
    check_whole(tmp_path / "run", plain, len(model.asked))
    said(log, "witness dropped" if when == "told" else "view dropped")
    assert view.calls == (when == "told")


# -- the end of a run


@dataclass
class Full(OperatingSystem):
    """A disk without room for files of a *name*."""

    name: str
    opened: set[int] = field(default_factory=set)

    def open(self, path: Path) -> int:
        file = super().open(path)
        (self.opened.add if self.name in str(path) else self.opened.discard)(file)
        return file

    def write(self, file: int, data: memoryview, place: int) -> int:
        if file in self.opened:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(file, data, place)


@pytest.mark.parametrize("name", ["/memory/", "summary.json"])
def test_an_end_without_room_can_be_made_up_for(name: str, plain: Summary, tmp_path: Path) -> None:
    """One sentence with the way on; then the run is finished without a call."""
    out, later = tmp_path / "run", Counted()
    with on(Full(name)), pytest.raises(FileError, match="cannot be written: No space") as caught:
        run(configured(SMALL), out=out)
    assert f"billp resume {out}" in caught.value.hint
    resume(out, model=later)
    check_whole(out, plain, plain.calls)
    assert later.asked == []
