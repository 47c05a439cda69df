"""Provenance: which code, on what machine, worked on a run, and when.

None of it decides what a run comes to; it is for whoever asks later how a trace was made.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shlex import join
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from engine.errors import RunDirectoryError
from engine.text import visible

NAME = "provenance"
"""What run.toml and summary.json call it."""

_OURS = {"billp", "billp.exe", "billp.py"}
_PACKAGES = ("engine", "storage", "agents", "sim")
_PATIENCE = 2.0  # seconds that git may take
_LONGEST = 4_000  # characters of a command
_MOST = 100  # processes of a run that are told
_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process that worked on a run: *version* of billp, *python*, *platform*.

    Where billp is a checkout of git, *commit* is that of the code, and *changed* says whether files
    had been changed since; else there is none. *command* is what was typed to begin it: of a
    program that is not billp only its name, for nobody knows what its words are. It *started* and
    *ended* in UTC. Of one that was stopped the end is when it had last written something; while
    one runs there is none.
    """

    version: str
    python: str
    platform: str
    command: str
    started: str
    commit: str = ""
    changed: bool = False
    ended: str = ""

    def over(self, when: datetime | None = None) -> "Process":
        """Return the process as it has ended, *when* or now."""
        return msgspec.structs.replace(self, ended=moment(when or datetime.now(UTC)))


def this_process() -> Process:
    """Return what is known of this process, which starts to work on a run now."""
    code = checkout_of(Path(__file__).resolve())
    return Process(
        version=this_version(),
        python=platform.python_version(),
        platform=platform.platform(),
        command=command(sys.argv),
        started=moment(datetime.now(UTC)),
        commit=code.commit,
        changed=code.changed,
    )


def this_code() -> str:
    """Return what tells one state of our code from another, as far as it is known."""
    code = checkout_of(Path(__file__).resolve())
    return f"{this_version()}{'+' if code.commit else ''}{code.commit}"


@cache
def this_source() -> str:
    """Return the sha256 of our code as it lies here: what decides bytes, version or not."""
    root, digest = Path(__file__).resolve().parents[1], sha256()
    found = (path for package in _PACKAGES for path in (root / package).rglob("*.py"))
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in found):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def moment(when: datetime) -> str:
    """Return a time as it is written down: UTC, ISO 8601, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def command(words: Sequence[str]) -> str:
    """Return a command line as a shell takes it, without what may be secret in it.

    No option of billp's is a key: they name files and variables that hold one. Addresses may have a
    user with a password in them, and a query.
    """
    program, *rest = words or [""]
    name = Path(program).name
    if name not in _OURS:
        return visible(name)[:_LONGEST]
    text = visible(join(["billp", *map(_harmless, rest)]))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _harmless(word: str) -> str:
    head, scheme, rest = word.partition("://")
    if not scheme:
        return word
    before, _, kind = head.rpartition("=")
    try:
        parts = urlsplit(f"{kind}://{rest}")
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        bare = f"{kind}://…"
    return f"{before}={bare}" if before else bare


def read_provenance(settings: Mapping[str, Any]) -> tuple[Process, ...]:
    """Return the processes that a run.toml tells of, oldest first; raises RunDirectoryError."""
    try:
        return msgspec.convert(settings.get(NAME, ()), tuple[Process, ...])
    except msgspec.ValidationError as error:
        raise RunDirectoryError(f"run.toml: {NAME}: {error}") from error


def written(processes: Sequence[Process]) -> dict[str, Any]:
    """Return what run.toml says of *processes*: of very many the first and the last ones."""
    told = [*processes] if len(processes) <= _MOST else [processes[0], *processes[1 - _MOST :]]
    return {NAME: msgspec.to_builtins(told)}


def last_sign(paths: Sequence[Path]) -> datetime | None:
    """Return when one of *paths* was last written; None if there is none."""
    times = [path.stat().st_mtime for path in paths if path.exists()]
    return datetime.fromtimestamp(max(times), UTC) if times else None


@cache
def this_version() -> str:
    """Return the version of billp that is installed here."""
    try:
        return version("billp")
    except PackageNotFoundError:  # the code lies on the path, and was never installed
        return "unknown"


@dataclass(frozen=True)
class Checkout:
    """The *commit* that is checked out, if there is one, and whether files have *changed* since."""

    commit: str = ""
    changed: bool = False


@cache  # the code of a process is what it was when it was imported
def checkout_of(file: Path) -> Checkout:
    """Return the state of the checkout of git that *file* is part of."""
    # A package that is installed may lie within somebody else's checkout.
    if _git(file.parent, "ls-files", "--error-unmatch", "--", file.name) is None:
        return Checkout()
    told = _git(file.parent, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    lines = (told or "").splitlines()
    commits = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    changed = any(not line.startswith("#") for line in lines)
    return Checkout(commits[0], changed) if commits else Checkout()


def _git(place: Path, *words: str) -> str | None:
    """Return what git says, None if it cannot; it runs no hook, writes nothing, asks nobody."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    still = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        done = subprocess.run(
            ["git", "-C", str(place), *_SAFE, *words],
            env={**own, **still, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
