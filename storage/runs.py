"""The run directory: which file is where, who may write, and what a run was.

::

    run.toml       the configuration, complete
    calls.jsonl    write-ahead journal of model calls
    prompts.zst    the requests' texts by digest, for people
    trace.jsonl    the canonical trace
    embeddings/    vectors from a service
    memory/        the memories at the end
    summary.json   metrics, digest, cost
"""

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import tomli_w
from filelock import FileLock, Timeout

from engine.errors import RunDirectoryError

RUNS = Path("traces") / "runs"
"""Where runs go that are not told where to go."""


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
    def memory(self) -> Path:
        """The memories at the end."""
        return self.path / "memory"

    @property
    def vectors(self) -> Path:
        """Vectors from a service."""
        return self.path / "embeddings" / "vectors.jsonl"

    def write_config(self, settings: dict[str, Any]) -> None:
        """Write run.toml."""
        write_whole(self.config, tomli_w.dumps(settings).encode())

    def read_config(self) -> dict[str, Any]:
        """Return what run.toml says."""
        try:
            return tomllib.loads(self.config.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            hint = "name a directory that billp run made, such as traces/runs/…"
            raise RunDirectoryError(f"{self.path}: not a run directory", hint=hint) from error
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{self.config}: cannot be read: {error}") from error

    def write_summary(self, summary: msgspec.Struct | dict[str, Any]) -> None:
        """Write summary.json."""
        text = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        write_whole(self.summary, text + b"\n")

    def read_summary(self) -> dict[str, Any]:
        """Return what summary.json says."""
        try:
            found: dict[str, Any] = msgspec.json.decode(self.summary.read_bytes(), type=dict)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            hint = "an unfinished run has none: finish it with billp resume"
            raise RunDirectoryError(f"{self.summary}: cannot be read", hint=hint) from error
        return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing here; raises RunDirectoryError if one does."""
        # The file of the lock stays: were it removed, one process could lock the old file that it
        # had opened and another a new one, and both would write.
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunDirectoryError(f"{self.path}: another process is writing here") from error
        except OSError as error:
            raise RunDirectoryError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()


def check_free(path: Path) -> None:
    """Raise RunDirectoryError if *path* holds anything."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        what = "holds another run" if (path / "run.toml").exists() else "is not empty"
        hint = "choose another --out, or resume the run that is there with billp resume"
        raise RunDirectoryError(f"{path}: the output directory {what}", hint=hint)


def new_run(out: Path | None, name: str) -> RunDirectory:
    """Make an empty run directory: *out*, or the next free `traces/runs/NAME-N`."""
    if out is None:
        return RunDirectory(_next_free(RUNS, name))
    check_free(out)
    path = out
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise RunDirectoryError(f"{path}: cannot be written")
    return RunDirectory(path)


def _next_free(parent: Path, name: str) -> Path:
    """Make the directory of the first number that is free: no other process gets the same."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            with suppress(FileExistsError):
                (parent / f"{name}-{number}").mkdir()
                break
    except OSError as error:
        raise RunDirectoryError(f"{parent}: cannot be written: {error.strerror}") from error
    return parent / f"{name}-{number}"


def open_run(path: Path) -> RunDirectory:
    """Return the run directory at *path*; raises RunDirectoryError if it is none."""
    run = RunDirectory(path)
    if not run.config.exists():
        hint = "name a directory that billp run made, such as traces/runs/…"
        raise RunDirectoryError(f"{path}: not a run directory", hint=hint)
    return run


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or the new one, never half of it."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise RunDirectoryError(f"{path}: cannot be written: {error.strerror}") from error
