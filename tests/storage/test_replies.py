"""The cache of replies on disk: what is put is found, by several processes at once."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import FileError
from storage.replies import NAME, CachedReply, ReplyCache, open_cache
from tests.support.drawn import TEXTS
from tests.support.shell import tree

REPLY = CachedReply(text="Take Puzzle.", prompt_tokens=50, completion_tokens=3, finish="stop")
DAY = 86_400.0


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def said(text: str) -> CachedReply:
    return CachedReply(text=text, prompt_tokens=1, completion_tokens=1, finish="length")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ReplyCache]:
    with closing(ReplyCache(tmp_path / "cache")) as opened:
        yield opened


def filled(directory: Path, count: int, model: str = "embedded") -> Path:
    """Return *directory* with a cache of so many replies in it."""
    with closing(ReplyCache(directory)) as cache:
        for number in range(count):
            cache.put(key(number), model, said("so long a text " * 20))
    return directory


def age(directory: Path, days: dict[int, float]) -> None:
    """Let replies have been used last so many *days* ago."""
    with closing(sqlite3.connect(directory / NAME)) as connection:
        for number, value in days.items():
            last = time.time() - value * DAY
            connection.execute("UPDATE replies SET used = ? WHERE key = ?", (last, key(number)))
        connection.commit()


def kept(directory: Path, count: int) -> list[int]:
    """Return which of the first *count* replies are still there."""
    with closing(open_cache(directory)) as cache:
        return [number for number in range(count) if cache.get(key(number)) is not None]


# -- what is put is found


def test_a_reply_is_found_again(cache: ReplyCache) -> None:
    """As it was given, with its tokens and why it ended."""
    assert cache.get(key(1)) is None
    cache.put(key(1), "embedded", REPLY)
    assert cache.get(key(1)) == REPLY
    assert cache.get(key(2)) is None


def test_replies_outlive_the_process(tmp_path: Path) -> None:
    filled(tmp_path / "cache", 3)
    assert kept(tmp_path / "cache", 4) == [0, 1, 2]


def test_the_first_reply_stays(cache: ReplyCache) -> None:
    """Two runs that asked at the same time go on with what they got; later ones get the first."""
    cache.put(key(1), "embedded", REPLY)
    cache.put(key(1), "embedded", said("another"))
    assert cache.get(key(1)) == REPLY


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=TEXTS, name=st.binary(min_size=1))
def test_any_text_is_kept(cache: ReplyCache, text: str, name: bytes) -> None:
    """Empty, with NUL, of any script."""
    whole = b"any/" + name + text.encode()
    cache.put(whole, "embedded", said(text))
    assert cache.get(whole) == said(text)


def test_statistics_tell_what_is_there(tmp_path: Path) -> None:
    """Replies by model, their tokens, and the bytes on disk."""
    directory = filled(tmp_path / "cache", 3)
    with closing(open_cache(directory)) as cache:
        cache.put(key(9), "another", REPLY)
        found = cache.statistics()
        size = sum(path.stat().st_size for path in directory.iterdir())
    assert (found.replies, found.models) == (4, {"another": 1, "embedded": 3})
    assert (found.tokens, found.bytes) == (3 * 2 + 53, size)


# -- what is dropped


def test_old_replies_are_dropped(tmp_path: Path) -> None:
    """Those that were not used for so many days."""
    directory = filled(tmp_path / "cache", 4)
    age(directory, {0: 40, 1: 29, 2: 31})
    with closing(open_cache(directory)) as cache:
        assert cache.prune(days=30) == 2
    assert kept(directory, 4) == [1, 3]


def test_those_last_used_are_kept(tmp_path: Path) -> None:
    directory = filled(tmp_path / "cache", 5)
    age(directory, {0: 5, 1: 1, 2: 4, 3: 2, 4: 3})
    with closing(open_cache(directory)) as cache:
        assert cache.prune(keep=2) == 3
        assert cache.prune(keep=9) == 0
    assert kept(directory, 5) == [1, 3]


def test_both_at_once_drop_what_either_would(tmp_path: Path) -> None:
    directory = filled(tmp_path / "cache", 5)
    age(directory, {0: 50, 1: 1, 2: 40, 3: 2, 4: 3})
    with closing(open_cache(directory)) as cache:
        assert cache.prune(days=30, keep=2) == 3
    assert kept(directory, 5) == [1, 3]


def test_a_reply_that_is_used_is_young_again(tmp_path: Path) -> None:
    """Its last use counts, not when it was given."""
    directory = filled(tmp_path / "cache", 2)
    age(directory, {0: 40, 1: 40})
    assert kept(directory, 1) == [0]  # looks at the first
    with closing(open_cache(directory)) as cache:
        cache.prune(days=30)
    assert kept(directory, 2) == [0]


def test_pruning_gives_the_space_back(tmp_path: Path) -> None:
    directory = filled(tmp_path / "cache", 500)
    with closing(open_cache(directory)) as cache:
        before = cache.statistics().bytes
        cache.prune(keep=10)
        assert cache.statistics().bytes < before / 5


def test_a_cache_can_be_pruned_while_it_is_used(tmp_path: Path) -> None:
    """What was dropped is asked again and kept again."""
    directory = filled(tmp_path / "cache", 5)
    with closing(open_cache(directory)) as running, closing(open_cache(directory)) as other:
        assert running.get(key(1)) is not None
        assert other.prune(keep=0) == 5
        assert running.get(key(1)) is None
        running.put(key(1), "embedded", REPLY)
    assert kept(directory, 5) == [1]


# -- several processes at once


# Opens a cache whenever it is told where, in step with others, and fills it in an order of its own.
WORK = """
import random, sys
from contextlib import closing
from pathlib import Path
from storage.replies import CachedReply, ReplyCache

chance = random.Random(sys.argv[1])
for line in sys.stdin:
    with closing(ReplyCache(Path(line.strip()))) as cache:
        for one in chance.sample(range(40), 40):
            key, text = one.to_bytes(16, "big"), f"reply {one}"
            reply = CachedReply(text=text, prompt_tokens=1, completion_tokens=1, finish="length")
            assert cache.get(key) in (None, reply)
            cache.put(key, "embedded", reply)
    print("done", flush=True)
"""


def at_once(processes: list["subprocess.Popen[str]"], directory: Path) -> list[str]:
    """Let all processes work on one cache at the same moment; return what they say."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{directory}\n")
        process.stdin.flush()
    return [process.stdout.readline() for process in processes if process.stdout is not None]


def test_processes_share_a_cache(tmp_path: Path) -> None:
    """Even where all make it at the same moment: nobody fails, every reply is whole."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORK, str(n)], stdin=pipe, stdout=pipe, text=True
                )
            )
            for n in range(4)
        ]
        for number in range(20):
            assert at_once(workers, tmp_path / str(number)) == ["done\n"] * 4
    for number in range(20):
        assert kept(tmp_path / str(number), 41) == [*range(40)]


# -- what is no cache


def foreign(directory: Path, table: str) -> None:
    directory.mkdir()
    with closing(sqlite3.connect(directory / NAME)) as connection:
        connection.execute(table)
        connection.commit()


@pytest.mark.parametrize(
    "table", ["CREATE TABLE addresses (name, street)", "CREATE TABLE replies (key, text)"]
)
def test_a_foreign_database_is_left_alone(tmp_path: Path, table: str) -> None:
    """One sentence, and not a byte of it changes."""
    foreign(tmp_path / "cache", table)
    before = tree(tmp_path)[f"cache/{NAME}"]
    with pytest.raises(FileError, match=f"{NAME}: a database of something else") as caught:
        ReplyCache(tmp_path / "cache")
    assert caught.value.hint == "move it away, or name another directory"
    assert tree(tmp_path)[f"cache/{NAME}"] == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_text("Dear diary, " * 100)
    with pytest.raises(FileError, match="cannot be used: file is not a database") as caught:
        ReplyCache(tmp_path)
    assert caught.value.hint == "move it away, or name another directory"
    assert path.read_text() == "Dear diary, " * 100


def damaged(directory: Path) -> Path:
    """Return *directory* with a cache most of whose pages are spoilt."""
    path = filled(directory, 400) / NAME
    content = bytearray(path.read_bytes())
    for place in range(8_192, len(content), 4_096):
        content[place : place + 200] = b"\xff" * 200
    path.write_bytes(content)
    return directory


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    with closing(ReplyCache(damaged(tmp_path / "cache"))) as cache:
        with pytest.raises(FileError, match="cannot be used: database disk image is") as caught:
            [cache.get(key(number)) for number in range(400)]
        assert caught.value.hint == "move it away, or name another directory"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file: cannot be made: File exists"):
        ReplyCache(tmp_path / "file")
    (tmp_path / "cache" / NAME).mkdir(parents=True)
    with pytest.raises(FileError, match="cannot be used: unable to open database file"):
        ReplyCache(tmp_path / "cache")


def test_looking_makes_no_cache(tmp_path: Path) -> None:
    """Where there is none, it is said, and nothing is made."""
    with pytest.raises(FileError, match="holds no cache of replies"):
        open_cache(tmp_path / "nowhere")
    assert tree(tmp_path) == {}
