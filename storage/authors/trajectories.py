"""Trajectory files of BiLLP's authors' code: which entries they hold, and what came of each."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

from engine.errors import DataError
from storage.authors.recordings import Fault, Outcome, RecordedLines, RecordedStep, read_lines
from storage.reading import open_regular

End: TypeAlias = Literal["quit", "limit"]
ENDLESS: Fault = "episode without end"
_DIGITS = 15  # of a number that all readers of JSON keep


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """An episode of a user; *fault* says what is missing from it, if anything is."""

    user: int
    steps: tuple[RecordedStep, ...]
    end: End | None
    fault: str


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """The episodes of a file in its order, the file's sha256, and a count of what is unreadable."""

    digest: str
    episodes: tuple[RecordedEpisode, ...]
    unreadable: dict[Fault, int]


def read_recordings(path: Path) -> Recordings:
    """Return what a trajectory file holds: an object of users' entries, a list, or JSON lines.

    Raises DataError if it is no such file or nothing in it can be read.
    """
    data = _content(path)
    strange: Counter[Fault] = Counter()
    entries = [entry for one in _documents(path, data) for entry in _entries(one, strange)]
    if not entries:
        hint = "it must hold entries with traj_by_line, as the code of BiLLP's authors writes them"
        raise DataError(f"{path}: holds no recorded trajectory", hint=hint)
    told = [read_lines(entry.lines) for entry in entries]
    limit = max(lines.count for lines in told)
    episodes = [_episode(*one, limit) for one in zip(_users(entries), told, strict=True)]
    unreadable = dict(sorted((strange + _faults(told, episodes)).items()))
    found = tuple(episode for episode in episodes if episode.steps)
    if not found:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in unreadable.items())
        raise DataError(f"{path}: holds no recommendation that can be read: {kinds}")
    return Recordings(digest=sha256(data).hexdigest(), episodes=found, unreadable=unreadable)


def _episode(user: int, lines: RecordedLines, limit: int) -> RecordedEpisode:
    """Return the episode of *lines*; who is still there after *limit* steps stayed to the limit.

    The files do not tell the limit, but a run has one for all its users: nobody makes more steps.
    """
    ends: dict[Outcome | None, End] = {"left": "quit", "finished": "limit"}
    stayed = lines.outcome == "continued" and lines.count == limit
    end = "limit" if stayed else ends.get(lines.outcome)
    fault = lines.fault or ("" if end else ENDLESS)
    return RecordedEpisode(user=user, steps=lines.steps, end=end, fault=fault)


def _faults(told: Iterable[RecordedLines], episodes: Iterable[RecordedEpisode]) -> Counter[Fault]:
    faults: Counter[Fault] = Counter()
    for lines, episode in zip(told, episodes, strict=True):
        faults.update(lines.faults)
        if not episode.steps:
            faults["episode without steps"] += 1
        elif episode.end is None and lines.outcome != "invalid":
            faults[ENDLESS] += 1
    return faults


@dataclass(frozen=True)
class _Entry:
    """A user's entry in a file; *user* is None if it is not written there as a number."""

    user: int | None
    lines: tuple[str, ...]


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read()
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not data.strip():
        raise DataError(f"{path}: is empty")
    return data


def _documents(path: Path, data: bytes) -> list[Any]:
    """Return the one JSON value of a file, or those of its lines."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not JSON: {error.reason} at byte {error.start}") from error
    try:
        return [_parsed(path, 1, text)]
    except DataError:
        lines = [pair for pair in enumerate(text.split("\n"), 1) if pair[1].strip()]
        if len(lines) == 1 or not _is_json(path, lines[0][1]):
            raise
    return [_parsed(path, place, line) for place, line in lines]


def _is_json(path: Path, text: str) -> bool:
    try:
        _parsed(path, 1, text)
    except DataError:
        return False
    return True


def _parsed(path: Path, first: int, text: str) -> Any:
    """Return the JSON value of *text*, which begins in the line *first* of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = first + error.lineno - 1
        reason = error.msg[:1].lower() + error.msg[1:]
        raise DataError(f"{path}:{place}: not JSON, or cut short: {reason}") from error
    except (ValueError, RecursionError) as error:  # numbers too long, nesting too deep
        raise DataError(f"{path}:{first}: not JSON that can be read: {error}") from error


def _entries(value: Any, strange: Counter[Fault]) -> Iterator[_Entry]:
    """Yield the entries of a JSON value: an entry, an object of entries, or a list of these."""
    for one in value if isinstance(value, list) else [value]:
        several = isinstance(one, dict) and _lines(one) is None
        for key, entry in one.items() if several else [("", one)]:
            lines = _lines(entry)
            if lines is None:
                strange["not an episode"] += 1
            else:
                yield _Entry(_user(entry.get("userid"), key), lines)


def _lines(value: Any) -> tuple[str, ...] | None:
    """Return the lines of an entry; None if it is none."""
    if not isinstance(value, dict):
        return None
    lines, text = value.get("traj_by_line"), value.get("traj")
    if isinstance(lines, list):
        return tuple(_clean(str(line)) for line in lines)
    return tuple(_clean(text).split("\n")) if isinstance(text, str) else None


def _clean(text: str) -> str:
    """Return *text* as valid UTF-8: JSON may hold halves of characters."""
    return text.encode(errors="replace").decode()


def _user(written: Any, key: str) -> int | None:
    """Return the number of a user, as *written* in the entry or else its *key*."""
    for one in (written, key):
        text = "" if isinstance(one, bool) else str(one)
        if text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
            return int(text)
    return None


def _users(entries: Sequence[_Entry]) -> list[int]:
    """Return the users' numbers; their places if one has none."""
    users = [entry.user for entry in entries if entry.user is not None]
    return users if len(users) == len(entries) else list(range(len(entries)))
