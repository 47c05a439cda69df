"""A cache of model replies, kept from run to run: SQLite, safe for several processes at once."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from filelock import FileLock

from engine.errors import FileError
from storage.names import check_name

NAME = "replies.sqlite"
_HINT = "move it away, or name another directory"
_BUSY = 30.0  # seconds that another process may hold the file
_DAY = 86_400.0

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    finish TEXT NOT NULL,
    used REAL NOT NULL
) WITHOUT ROWID
"""
_REPLY = ("text", "prompt_tokens", "completion_tokens", "finish")
_COLUMNS = ["key", "model", "text", "prompt_tokens", "completion_tokens", "finish", "used"]


class CachedReply(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reply as it was given, with its tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str


class CacheStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache holds: replies by model, their tokens, and bytes on disk."""

    path: str
    replies: int
    models: dict[str, int]
    tokens: int
    bytes: int


@dataclass(eq=False)
class ReplyCache:
    """Replies by key in *directory*; to be closed.

    Another process may hold the file for *patience* seconds. Raises FileError if the directory
    cannot be written or holds another file of that name, and if the file fails later.
    """

    directory: Path
    patience: float = _BUSY
    _used: set[bytes] = field(default_factory=set)
    _connection: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        check_name(self.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.directory}: cannot be made: {error.strerror}") from error
        # SQLite does not wait for others who turn the write-ahead log on at the same time.
        with self._said(), self._locked():
            # Every statement by itself: no transaction locks others out while a call is made.
            self._connection = sqlite3.connect(
                self.path, timeout=self.patience, isolation_level=None
            )
            try:
                self._check_ours()
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / NAME

    def _locked(self) -> FileLock:
        return FileLock(f"{self.path}.lock", timeout=self.patience, poll_interval=0.005)

    def _check_ours(self) -> None:
        if self._connection.execute("SELECT * FROM sqlite_master").fetchone() is None:
            return
        columns = self._connection.execute("PRAGMA table_info(replies)").fetchall()
        if [name for _, name, *_ in columns] != _COLUMNS:
            raise FileError(f"{self.path}: a database of something else", hint=_HINT)

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # Nothing is lost that cannot be asked again: the log is not forced to the disk.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(_TABLE)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, OverflowError, ValueError) as error:
            # What is merely locked or full is no damage: those are operational errors.
            passing = isinstance(error, sqlite3.OperationalError | OSError | OverflowError)
            raise FileError(
                f"{self.path}: the cache cannot be used: {error}", hint="" if passing else _HINT
            ) from error

    def get(self, key: bytes) -> CachedReply | None:
        """Return the reply under *key*, if there is one."""
        with self._said():
            row = self._connection.execute(
                "SELECT text, prompt_tokens, completion_tokens, finish FROM replies WHERE key = ?",
                (key,),
            ).fetchone()
            if row is None:
                return None
            # SQLite keeps anything in any column, and others may have written here.
            found = msgspec.convert(dict(zip(_REPLY, row, strict=True)), CachedReply)
        self._used.add(key)
        return found

    def put(self, key: bytes, model: str, reply: CachedReply) -> None:
        """Keep *reply* under *key*; the first one stays."""
        row = (
            key,
            model,
            reply.text,
            reply.prompt_tokens,
            reply.completion_tokens,
            reply.finish,
            time.time(),
        )
        with self._said():
            self._connection.execute("INSERT OR IGNORE INTO replies VALUES (?,?,?,?,?,?,?)", row)

    def statistics(self) -> CacheStatistics:
        """Return what the cache holds."""
        with self._said():
            rows = self._connection.execute(
                "SELECT model, count(*), sum(prompt_tokens + completion_tokens)"
                " FROM replies GROUP BY model ORDER BY model"
            ).fetchall()
        return CacheStatistics(
            path=str(self.path),
            replies=sum(count for _, count, _ in rows),
            models={model: count for model, count, _ in rows},
            tokens=sum(tokens for *_, tokens in rows),
            bytes=sum(_size(path) for path in self.directory.glob(f"{NAME}*")),
        )

    def prune(self, *, days: float | None = None, keep: int | None = None) -> int:
        """Drop replies not used for *days*, and all but the *keep* last used; return how many."""
        dropped = 0
        with self._said():
            if days is not None:
                oldest = time.time() - days * _DAY
                dropped += self._delete("DELETE FROM replies WHERE used < ?", oldest)
            if keep is not None:
                dropped += self._delete(
                    "DELETE FROM replies WHERE key IN"
                    " (SELECT key FROM replies ORDER BY used DESC, key LIMIT -1 OFFSET ?)",
                    keep,
                )
            # What was dropped leaves gaps in the file: only this gives them back to the disk.
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return dropped

    def _delete(self, statement: str, value: float) -> int:
        return self._connection.execute(statement, (value,)).rowcount

    def close(self) -> None:
        """Note what was used, and close the file."""
        now = time.time()
        # When something was last used decides nothing but what is pruned first.
        with suppress(sqlite3.Error):
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "UPDATE replies SET used = ? WHERE key = ?", ((now, key) for key in self._used)
            )
            self._connection.execute("COMMIT")
        self.abandon()

    def abandon(self) -> None:
        """Close the file as it is; one that fails may take its time for more."""
        with suppress(sqlite3.Error):
            self._connection.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # the log: another process has just closed the file
        return 0


def open_cache(directory: Path) -> ReplyCache:
    """Return the cache in *directory*; raises FileError if there is none."""
    if not (directory / NAME).exists():
        hint = "name a directory that billp run --cache filled"
        raise FileError(f"{directory}: holds no cache of replies", hint=hint)
    return ReplyCache(directory)
