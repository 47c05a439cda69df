"""The run directory: which file is where, who may write, and what a run was.

::

    run.toml       the configuration, complete
    calls.jsonl    write-ahead journal of model calls
    batches.jsonl  which calls were sent in which batch, if any were
    prompts.zst    the requests' texts by digest, for people
    trace.jsonl    the canonical trace
    checkpoint.jsonl  what episodes left, until the run has come to its end
    embeddings/    vectors from a service
    memory/        the memories at the end
    summary.json   metrics, digest, cost
    .origin        the proof that run.toml was written here
    manifest.json  the sha256 of every file, written last
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from filelock import FileLock, Timeout
from structlog.contextvars import bound_contextvars

from engine.errors import BillpError, RunDirectoryError
from storage.batches import BatchFile
from storage.checkpoints import CheckpointFile
from storage.files import AppendOnly, Durability, HeldBack, make_directory, remove, whole
from storage.holding import is_held
from storage.journal import Journal, read_journal
from storage.objects.addresses import check_local, check_out
from storage.origin import NAME as ORIGIN
from storage.origin import prove, proven
from storage.prompt_texts import PromptTexts
from storage.reading import SETTINGS_SIZE, parse_toml, read_small
from storage.traces import TraceWriter, survey
from storage.vectors import VectorFile, every_vector
from storage.within import check_within

RUNS = Path("traces") / "runs"
"""Where runs go that are not told where to go."""

_SUMMARY_SIZE = 64 << 20
_MOMENT = 3.0  # seconds that whoever was told to stop may take for it
_BEFORE = frozenset(
    {".lock", ORIGIN, f"{ORIGIN}.part", "run.toml.part", "calls.jsonl", "embeddings"}
)
"""What a directory may hold before it holds a run: run.toml comes after what a fork inherits."""


@dataclass(frozen=True)
class RunDirectory:
    """A directory that holds one run."""

    path: Path

    @property
    def trace(self) -> Path:
        """The canonical trace."""
        return self.path / "trace.jsonl"

    @property
    def journal(self) -> Path:
        """The write-ahead journal of model calls."""
        return self.path / "calls.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What episodes left for the memories, while the run is unfinished."""
        return self.path / "checkpoint.jsonl"

    @property
    def batches(self) -> Path:
        """What was sent to a service in batches."""
        return self.path / "batches.jsonl"

    @property
    def prompts(self) -> Path:
        """The requests' texts."""
        return self.path / "prompts.zst"

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.path / "run.toml"

    @property
    def summary(self) -> Path:
        """What came of the run."""
        return self.path / "summary.json"

    @property
    def manifest(self) -> Path:
        """The sha256 and size of every file."""
        return self.path / "manifest.json"

    @property
    def memory(self) -> Path:
        """The memories at the end."""
        return self.path / "memory"

    @property
    def vectors(self) -> Path:
        """Vectors from a service."""
        return self.path / "embeddings" / "vectors.jsonl"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.summary.exists()

    @property
    def busy(self) -> bool | None:
        """Whether a process of this machine writes here; None where that cannot be told."""
        return is_held(self.path / ".lock")

    def write_config(self, settings: dict[str, Any]) -> None:
        """Write run.toml, and the proof that it was written here."""
        content = tomli_w.dumps(settings).encode()
        try:
            old = read_small(self.config, SETTINGS_SIZE) if self.config.exists() else None
            prove(self.path, old, content)
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from error
        write_whole(self.config, content)

    def read_config(self) -> dict[str, Any]:
        """Return what run.toml says."""
        with self._reading() as content:
            return parse_toml(content)

    def read_proven(self) -> tuple[dict[str, Any], bool]:
        """Return what run.toml says, and whether it was written here and is as it was left."""
        with self._reading() as content:
            return parse_toml(content), proven(self.path, content)

    @contextmanager
    def _reading(self) -> Iterator[bytes]:
        """Give the bytes of run.toml to parse."""
        try:
            yield read_small(self.config, SETTINGS_SIZE)
        except FileNotFoundError as error:
            raise _no_run(self.path) from error
        except OSError as error:
            raise RunDirectoryError(f"{self.config}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise RunDirectoryError(f"{self.config}: cannot be read: {error}") from error

    def write_summary(self, summary: msgspec.Struct | dict[str, Any]) -> None:
        """Write summary.json."""
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        write_whole(self.summary, text + b"\n")

    def read_summary(self) -> dict[str, Any]:
        """Return what summary.json says."""
        try:
            content = read_small(self.summary, _SUMMARY_SIZE)
            found: dict[str, Any] = msgspec.json.decode(content, type=dict)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            hint = "an unfinished run has none: finish it with billp resume"
            raise RunDirectoryError(f"{self.summary}: cannot be read", hint=hint) from error
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here; raises RunDirectoryError if one goes on to.

        What is logged meanwhile names the run.
        """
        # The file of the lock stays: were it removed, one process could lock the old file that it
        # had opened and another a new one, and both would write.
        check_within(self.path)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=_MOMENT)
        except Timeout as error:
            raise RunDirectoryError(f"{self.path}: another process is writing here") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            with bound_contextvars(run=self.path.resolve().name):
                yield
        finally:
            lock.release()

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Lock the directory for a new run, rid of what one left that was killed before it began.

        Raises RunDirectoryError if it is in use, or was taken in the meantime.
        """
        with self.locked():
            check_free(self.path)
            # Left by a fork that was killed while it inherited: its parent has all of it.
            for path in (self.journal, self.vectors):
                remove(path)
            yield


@dataclass(frozen=True)
class Kept:
    """What of a run is kept beside journal and trace, and when it is forced to the disk."""

    durability: Durability
    vectors: bool
    prompts: bool
    batches: bool = False


@dataclass(frozen=True)
class Files:
    """What is written while a run runs."""

    journal: Journal
    vectors: VectorFile | None
    trace: TraceWriter
    prompts: PromptTexts | None
    checkpoint: CheckpointFile
    batches: BatchFile | None = None


@contextmanager
def written_in(
    directory: RunDirectory,
    kept: Kept,
    *,
    journaled: int = 0,
    forgotten: int = 0,
    checked: int = 0,
) -> Iterator[Files]:
    """Open the files of a run, after *journaled* bytes of its journal and all whole lines.

    Of its checkpoint the first *checked* bytes are believed.
    Vectors that failed within the first *forgotten* bytes of their file are asked for again. No
    line comes to the trace before the replies and vectors that it depends on are on the disk.
    Whatever happens, all files are closed whole.
    """
    durability = kept.durability
    with ExitStack() as opened:
        journal = opened.enter_context(closing(Journal(directory.journal, durability, journaled)))
        before, vectors = [journal.file], None
        if kept.vectors:
            vectors = VectorFile(directory.vectors, durability, forgotten)
            opened.enter_context(closing(vectors))
            before.append(vectors.file)
        file = AppendOnly(directory.trace, durability, survey(directory.trace).size)
        # Closed after the trace, which is forced when it is closed.
        checkpoint = CheckpointFile(directory.checkpoint, file, checked)
        opened.enter_context(closing(checkpoint))
        trace = opened.enter_context(closing(TraceWriter(HeldBack(file, before))))
        prompts = PromptTexts(directory.prompts, resumed=journaled > 0) if kept.prompts else None
        if prompts is not None:
            opened.enter_context(closing(prompts))
        batches = BatchFile(directory.batches, durability) if kept.batches else None
        if batches is not None:
            opened.enter_context(closing(batches))
        yield Files(journal, vectors, trace, prompts, checkpoint, batches)


def check_free(path: Path) -> None:
    """Raise RunDirectoryError if *path* holds anything that could be missed.

    Raises ConfigError if it cannot be written down, or is an address.
    """
    check_out(path)
    if not path.exists() or (path.is_dir() and _is_unbegun(path)):
        return
    what = "holds another run" if (path / "run.toml").exists() else "is not empty"
    hint = "choose another --out, or resume the run that is there with billp resume"
    raise RunDirectoryError(f"{path}: the output directory {what}", hint=hint)


def _is_unbegun(path: Path) -> bool:
    """Tell whether nothing is at *path* but what is left of a run that was killed before it began.

    It has paid for nothing: what a fork inherits was paid by its parent.
    """
    names = {entry.name for entry in path.iterdir()}
    if not names <= _BEFORE:
        return False
    directory = RunDirectory(path)
    try:
        calls = read_journal(directory.journal).every() if directory.journal.exists() else ()
        paid = [*(call.attempts for call in calls), *_paid_vectors(directory.vectors)]
    except BillpError:
        return False
    return not any(paid)


def _paid_vectors(path: Path) -> Iterator[int]:
    return (entry.attempts for entry in every_vector(path))


def new_run(out: Path | None, name: str) -> RunDirectory:
    """Make an empty run directory: *out*, or the next free `traces/runs/NAME-N`."""
    if out is None:
        return RunDirectory(_next_free(RUNS, name))
    check_free(out)
    try:
        make_directory(out)
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise RunDirectoryError(f"{out}: cannot be written")
    return RunDirectory(out)


def _next_free(parent: Path, name: str) -> Path:
    """Make the directory of the first number that is free: no other process gets the same."""
    try:
        numbered = (parent / f"{name}-{number}" for number in count(1))
        return next(path for path in numbered if make_directory(path))
    except OSError as error:
        raise RunDirectoryError(f"{parent}: cannot be written: {error.strerror}") from error


def open_run(path: Path) -> RunDirectory:
    """Return the run directory at *path*; raises RunDirectoryError if it is none."""
    check_local(path, "fetch it first: billp pull")
    run = RunDirectory(path)
    if not run.config.exists():
        if (path / ".lock").exists() and not run.trace.exists():
            hint = "begin it again: nothing was asked yet"
            raise RunDirectoryError(f"{path}: the run was killed before it began", hint=hint)
        raise _no_run(path)
    return run


def _no_run(path: Path) -> RunDirectoryError:
    """Return the error that says that *path* is no run, and where one finds those there are."""
    hint = "name a directory that billp run made; billp runs lists those in traces/runs"
    if path.is_dir():
        hint = f"name a directory that billp run made; list those below it with billp runs {path}"
    return RunDirectoryError(f"{path}: not a run directory", hint=hint)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    try:
        with whole(path) as file:
            file.write(data)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written: {error.strerror}") from error
