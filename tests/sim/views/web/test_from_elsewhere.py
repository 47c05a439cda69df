"""A run from elsewhere is looked at, and nothing of it is executed, whatever its files hold."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import zstandard

from sim.analysis.prompts import diff_lines
from storage.runs import RunDirectory
from tests.support.small import recorded
from tests.support.viewed import crawled, viewed

Altering: TypeAlias = Callable[[RunDirectory], object]

EVIL = "evil_module_of_a_run"
PARTS = ("agent", "quit_rule", "model", "embeddings", "environment")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that is never changed."""
    return recorded(tmp_path_factory.mktemp("made") / "run", prompts=True, episodes=2).path


@pytest.fixture
def run(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """Return a run to alter, and a module that would be imported by its name."""
    where = tmp_path / "modules"
    where.mkdir()
    (where / f"{EVIL}.py").write_text("Part = None\n")
    monkeypatch.syspath_prepend(str(where))
    monkeypatch.chdir(where)
    return RunDirectory(shutil.copytree(made, tmp_path / "runs" / "foreign"))


def everything(run: RunDirectory) -> dict[int, list[str]]:
    """Return all pages of a run that can be come to, by their status."""
    with viewed(run.path.parent) as url:
        found = crawled(url, 60)
    statuses = {answer.status for answer in found.values()}
    return {
        status: [path for path, answer in found.items() if answer.status == status]
        for status in statuses
    }


def changed(path: Path, pattern: bytes, new: bytes) -> None:
    old = path.read_bytes()
    text = re.sub(pattern, lambda found: found.expand(new), old)
    assert text != old
    path.write_bytes(text)


def with_parts(run: RunDirectory) -> None:
    """Name parts everywhere that are in a module of whoever made the run."""
    for name in PARTS:
        changed(run.config, rb'(?m)^%b = ".*"$' % name.encode(), f'{name} = "{EVIL}:Part"'.encode())
    changed(run.config, rb"(?m)^metrics = .*$", f'metrics = ["{EVIL}:Part"]'.encode())
    changed(run.trace, rb'"agent":"\w+"', f'"agent":"{EVIL}:Part"'.encode())
    changed(run.trace, rb'"settings":\[', f'"settings":[["quit_rule","{EVIL}:Part"],'.encode())


def with_a_rule(run: RunDirectory) -> None:
    """Name a quit rule only, and lose the prompts: they would be made again."""
    changed(run.config, rb'(?m)^quit_rule = ".*"$', f'quit_rule = "{EVIL}:Part"'.encode())
    run.prompts.unlink()


def unfinished(run: RunDirectory) -> None:
    with_parts(run)
    run.summary.unlink()
    lines = run.trace.read_bytes().splitlines(keepends=True)
    run.trace.write_bytes(b"".join(lines[: len(lines) // 2]))


class _Executed:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"import {EVIL}",)


def with_pickles(run: RunDirectory) -> None:
    for path in run.memory.glob("*.npy"):
        np.save(path, np.array([_Executed()], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("altering", [with_parts, with_a_rule, unfinished, with_pickles])
def test_nothing_of_a_run_is_executed(run: RunDirectory, altering: Altering) -> None:
    """Neither a part that it names, nor an object in its files; its pages are made all the same."""
    altering(run)
    found = everything(run)
    assert EVIL not in sys.modules
    assert len(found[200]) > 20
    assert max(found) < 500


def test_what_a_run_names_would_be_imported(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: of a run that counts as written here, parts are imported."""
    with_a_rule(run)
    read = RunDirectory.read_proven
    monkeypatch.setattr(RunDirectory, "read_proven", lambda self: (read(self)[0], True))
    everything(run)
    assert sys.modules.pop(EVIL, None)


def in_trace(pattern: bytes, new: bytes) -> Altering:
    return lambda run: changed(run.trace, pattern, new)


def written(name: str, content: bytes) -> Altering:
    return lambda run: (run.path / name).write_bytes(content)


def bomb(size: int) -> bytes:
    """Return a few bytes that are *size* MiB once they are unpacked."""
    packing = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(packing.compress(bytes(1 << 20)) for _ in range(size)) + packing.flush()


DAMAGE: dict[str, Altering] = {
    "items below all": in_trace(rb'"item":\d+', b'"item":-99999'),
    "items beyond all": in_trace(rb'"item":\d+', b'"item":99999999999'),
    "users beyond all": in_trace(rb'"(user|session|arrival)":\d+', rb'"\1":9223372036854775807'),
    "steps below all": in_trace(rb'"step":\d+', b'"step":-5'),
    "one step": in_trace(rb'"step":\d+', b'"step":0'),
    "numbers beyond all": in_trace(rb'"reward":[-\d.]+', b'"reward":1e308'),
    "no numbers": in_trace(rb'"reward":[-\d.]+', b'"reward":NaN'),
    "no beginnings": in_trace(rb'(?m)^.*"type":"EpisodeStarted".*\n', b""),
    "no head": in_trace(rb'\A.*"type":"RunStarted".*\n', b""),
    "nothing but a head": in_trace(rb"(?s)\A([^\n]*\n).*", rb"\1"),
    "settings of other kinds": in_trace(rb'\["(critic|quit)\.(\w+)",[-\d.]+\]', rb'["\1.\2","x"]'),
    "an empty trace": written("trace.jsonl", b""),
    "a trace of zeros": written("trace.jsonl", bytes(1 << 16)),
    "a journal of something": written("calls.jsonl", b'{"a":1}\n\xff\xfe\n' * 100),
    "an empty configuration": written("run.toml", b""),
    "a configuration of other kinds": written(
        "run.toml", b"agent = 3\nepisodes = 'x'\nquit_rule = [1]\nenvironment = []\nseed = 1e9\n"
    ),
    "a summary within itself": written("summary.json", b'{"a":' * 100_000),
    "a summary of other kinds": written("summary.json", b'{"digest": 3, "r_traj": "x"}'),
    "prompts that are no archive": written("prompts.zst", b"prompts"),
    "prompts that unpack to very much": written("prompts.zst", bomb(200)),
    "memories of something": written("memory/actor.jsonl", b'{"x":[\n'),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_no_damage_is_a_fault_of_the_pages(run: RunDirectory, damage: str) -> None:
    """Each page shows what can be read, or says in a sentence what cannot; others go on."""
    DAMAGE[damage](run)
    found = everything(run)
    assert max(found) < 500
    assert "/" in found[200]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["a", "b"] * 2_000, ["b", "a", "a"] * 1_333),
        ([str(n % 101) for n in range(4_000)], [str(n % 102) for n in range(4_000)]),
    ],
)
def test_no_prompts_take_for_ever_to_compare(old: list[str], new: list[str]) -> None:
    """Lines that repeat themselves would take minutes, if each could be any of the others."""
    lines = diff_lines("\n".join(old), "\n".join(new))
    assert lines is not None
    assert [one.text for one in lines if one.change == "added"] != []


def test_a_page_that_fails_says_so(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is a page like others, and ends none of those."""
    nothing: dict[str, Any] = {}
    monkeypatch.setattr(RunDirectory, "read_config", lambda self: nothing["\x1b[31m<b>"])
    with viewed(run.path.parent) as url:
        found = crawled(url)
    failed = found["/run/foreign"]
    assert failed.status == 500
    assert "KeyError: &#39;\\x1b[31m&lt;b&gt;&#39;" in failed.body
    assert found["/"].status == 200
