"""Runs in processes of their own, which die at a chosen place; and what must hold afterwards."""

import asyncio
import os
import random
import runpy
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, ParamSpec, TypeVar

import msgspec
import pytest
from anyio import to_thread

from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest
from agents.models.recorded import Resumed
from agents.roster import AGENTS
from engine.errors import CallFailedError, FailedEpisodesError
from sim.cli import COMMANDS, main
from sim.config.layers import configured
from sim.experiments import experiment
from sim.runs.resume import resume
from sim.runs.run import run
from sim.verification.verify import verify
from storage import runs
from storage.files import AppendOnly
from storage.journal import Identity, identity, read_journal
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.shell import Said, tree
from tests.support.small import PLAIN

P = ParamSpec("P")
T = TypeVar("T")

CONCURRENCY = 8
SMALL: dict[str, Any] = {
    **PLAIN,
    "episodes": 4,
    "limit": 3,
    "arrivals": "batches:2",
    "concurrency": CONCURRENCY,
    "fsync": "none",
}
PATIENCE = 300.0  # seconds, for a machine that is busy
_TURN = Lock()

# Forks processes of a warm one that has no threads: importing anew would take a second each time,
# and what the command line imports where it is used takes longer than a small run.
_COMMANDS = (f"sim.commands.{place.partition(':')[0]}" for place, _ in COMMANDS.values())
_AGENTS = (place.partition(":")[0] for place in AGENTS.own.values())
_OTHERS = ("anyio._backends._asyncio", "pydantic", "rich.progress", "typer._adapters", "uvloop")
_TABLES = ("storage.datasets.table_files", "storage.trace_tables")  # and polars
_REMOTE = ("agents.models.remote.chat", "agents.models.remote.embeddings", "openai")
_WARM = get_context("forkserver")
_WARM.set_forkserver_preload(
    ["tests.support.dying", *_COMMANDS, *_AGENTS, *_OTHERS, *_TABLES, *_REMOTE]
)


@dataclass(frozen=True)
class Death:
    """When a process gets a signal: at the *count*-th write to *file*, with *part* of it written.

    Also at the *count*-th "memory" that is saved or call of the "replay" that is found.
    """

    file: str
    count: int = 1
    part: float = 0.0
    number: signal.Signals = signal.SIGKILL


@dataclass
class Hook:
    """Brings a *death* to this process."""

    death: Death
    seen: int = 0

    def is_due(self, file: str) -> bool:
        self.seen += file == self.death.file
        return file == self.death.file and self.seen == self.death.count

    def strike(self) -> None:
        os.kill(os.getpid(), self.death.number)

    def set(self, patch: pytest.MonkeyPatch) -> None:
        """Put itself before everything that a run does to its files."""
        patch.setattr(AppendOnly, "write", self._appending(AppendOnly.write))
        patch.setattr(runs, "write_whole", self._writing(runs.write_whole))
        patch.setattr(Memory, "save", self._before("memory", Memory.save))
        patch.setattr(Resumed, "find", self._before("replay", Resumed.find))

    def _appending(self, append: Callable[[AppendOnly, bytes], None]) -> Callable[..., None]:
        def dying(file: AppendOnly, data: bytes) -> None:
            place = 0
            if self.is_due(file.path.name):
                place = round(len(data) * self.death.part)
                append(file, data[:place])
                self.strike()
            append(file, data[place:])

        return dying

    def _writing(self, write: Callable[[Path, bytes], None]) -> Callable[..., None]:
        def dying(path: Path, data: bytes) -> None:
            due = self.is_due(path.name)
            if due and not self.death.part:
                self.strike()
            write(path, data)
            if due:
                self.strike()

        return dying

    def _before(self, file: str, do: Callable[P, T]) -> Callable[P, T]:
        def dying(*args: P.args, **kwargs: P.kwargs) -> T:
            if self.is_due(file):
                self.strike()
            return do(*args, **kwargs)

        return dying


@dataclass
class Noted:
    """The embedded model behind a bad line; what it is asked stands in a file at once.

    Every *ill*-th call fails for good, always the same ones.
    """

    path: Path
    ill: int = 0
    longest: float = 0.002
    chance: random.Random = field(default_factory=random.Random)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self._note(request)
        await asyncio.sleep(self.chance.random() ** 4 * self.longest)
        if self.ill and request.seed % self.ill == 0:
            raise CallFailedError("no reply", kind="server")
        return await self.model.reply(request)

    def _note(self, request: ChatRequest) -> None:
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(identity(request.call)) + b"\n")

    @property
    def asked(self) -> list[Identity]:
        """What any process was asked through this file, oldest first."""
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        return [msgspec.json.decode(line, type=Identity) for line in lines]


def _live(
    work: Callable[[], object],
    death: Death | None,
    out: Path,
    err: Path,
    environment: Mapping[str, str],
) -> None:
    """Do *work* until death, its words in files."""
    # What it was forked from has the environment of whichever test came first.
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    with pytest.MonkeyPatch.context() as patch:
        if death is not None:
            Hook(death).set(patch)
        work()


@dataclass(frozen=True)
class Living:
    """A process, and where its words stand."""

    process: ForkServerProcess
    out: Path
    err: Path

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def ended(self) -> Said:
        """Return what it said, at its end or when nobody has patience any more."""
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        return Said(self.process.exitcode, self.out.read_text(), self.err.read_text())


def together(works: Sequence[Callable[[], object]], place: Path) -> list[Said]:
    """Do *works* at once, each in such a process; return what they said, in their order."""
    with ExitStack() as stack:
        begun = [
            stack.enter_context(living(work, place / str(number) / "any"))
            for number, work in enumerate(works)
        ]
        return [process.ended() for process in begun]


@contextmanager
def living(work: Callable[[], object], place: Path, death: Death | None = None) -> Iterator[Living]:
    """Do *work* in a process that is forked from a warm one; what it says is put beside *place*."""
    place.parent.mkdir(parents=True, exist_ok=True)
    out, err = place.with_name("out.txt"), place.with_name("err.txt")
    process = _WARM.Process(target=_live, args=(work, death, out, err, dict(os.environ)))
    process.start()
    try:
        yield Living(process, out, err)
    finally:
        process.kill()
        process.join()
        process.close()


def in_own_process(work: Callable[[], object], place: Path, death: Death | None = None) -> Said:
    """Do *work* in such a process, to its end."""
    with living(work, place, death) as process:
        return process.ended()


def _run(out: Path, model: ChatModel, settings: dict[str, Any]) -> None:
    run(configured(SMALL, settings), out=out, model=model)


def begin(out: Path, model: Noted, death: Death, **settings: Any) -> RunDirectory:
    """Begin a run in a process that dies."""
    said = in_own_process(partial(_run, out, model, settings), out, death)
    assert said.status == -death.number, said
    return RunDirectory(out)


def go_on(directory: RunDirectory, model: Noted, death: Death, *, retry: bool = False) -> None:
    """Resume a run in a process that dies."""
    work = partial(resume, directory.path, model=model, retry_failed=retry)
    said = in_own_process(work, directory.path, death)
    assert said.status == -death.number, said


def typed(here: Path, words: Sequence[str], **environment: str) -> None:
    """Be the command line of somebody who is *here*, and has some *environment*."""
    os.chdir(here)
    os.environ.update(environment)
    main(words)


def executed(here: Path, script: Path) -> None:
    """Be Python that runs a *script* for somebody who is *here*; a warning is an error."""
    os.chdir(here)
    sys.argv = [str(script)]
    sys.path.insert(0, str(script.parent))
    warnings.simplefilter("error")
    runpy.run_path(str(script), run_name="__main__")


async def forked(words: Sequence[str]) -> bool:
    """Do what `experiment._process` does, in a process that is forked from a warm one."""
    with TemporaryDirectory() as place:
        work = partial(typed, Path.cwd(), [*words, "--quiet"], **os.environ)
        said = await to_thread.run_sync(_one_by_one, work, Path(place) / "run")
    if said.status in {0, FailedEpisodesError.exit_status}:
        return said.status == 0
    assert isinstance(said.status, int)
    raise experiment._failure(said.err, said.status)


def _one_by_one(work: Callable[[], object], place: Path) -> Said:
    with _TURN:  # threads that wait for processes would take each other's news
        return in_own_process(work, place)


def billp(directory: RunDirectory, words: Sequence[str], death: Death | None = None) -> Said:
    """Let the command line work in a process that may get a signal; it may be a mortal one."""
    return in_own_process(partial(main, words), directory.path, death)


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbed: its digest, its calls with their requests, its memories."""

    directory: RunDirectory
    digest: str
    calls: dict[Identity, str]
    memory: dict[str, bytes | None]


def undisturbed(out: Path, **settings: Any) -> Undisturbed:
    digest = run(configured(SMALL, settings), out=out).digest
    directory = RunDirectory(out)
    ends = read_journal(directory.journal)
    requests = {known: ended.request for known, ended in ends.items()}
    return Undisturbed(directory, digest, requests, tree(directory.memory))


def deaths(plain: Undisturbed) -> list[Death]:
    """Return every place where a run writes to its journal or its trace, and what comes after."""
    lines = len(plain.calls)
    releases = SMALL["episodes"] + 2
    return [
        *(Death("calls.jsonl", n + 1, part) for n in range(lines) for part in (0.0, 0.5, 1.0)),
        *(Death("trace.jsonl", n + 1, part) for n in range(releases) for part in (0.0, 0.5, 1.0)),
        *(Death("memory", n + 1) for n in range(3)),
        *(Death("summary.json", 1, part) for part in (0.0, 1.0)),
    ]


def check_same(directory: RunDirectory, plain: Undisturbed) -> None:
    """Assert that a run came to what *plain* came to, and is whole."""
    told = directory.read_summary()["digest"]
    found = sha256(directory.trace.read_bytes()).hexdigest()
    assert (told, found) == (plain.digest, plain.digest)
    assert tree(directory.memory) == plain.memory
    assert [check.fault for check in verify(directory.path) if check.fault] == []


def journaled(directory: RunDirectory) -> set[Identity]:
    """Return the calls whose end is journaled."""
    return set(read_journal(directory.journal)) if directory.journal.exists() else set()
