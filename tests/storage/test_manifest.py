"""manifest.json: written last, of every file; and directories that mean ill are refused."""

import os
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from shutil import copytree

import msgspec
import numpy as np
import pytest
from numpy.lib import format as npy

from agents.models.embedded import EmbeddedModel
from engine.errors import ConfigError, FileError, ServiceError
from sim.config.layers import configured
from sim.runs.resume import resume
from sim.runs.run import run as run_episodes
from sim.verification.verify import verify
from storage.manifest import read_manifest, write_manifest
from storage.memory import open_keys, read_keys
from storage.runs import RunDirectory
from tests.sim.verification.test_alterations import faults
from tests.support.altering import make_again
from tests.support.bombs import packed_zeros
from tests.support.small import SMALL, Counted, Failing, recorded

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return recorded(tmp_path_factory.mktemp("whole") / "run", episodes=3)


@pytest.fixture
def run(whole: RunDirectory, tmp_path: Path) -> RunDirectory:
    return RunDirectory(Path(copytree(whole.path, tmp_path / "run")))


def fault(run: RunDirectory, name: str = "files") -> str:
    """Return the fault that a check found, as one sentence."""
    (found,) = [check.fault for check in verify(run.path) if check.name == name]
    assert "\n" not in found
    return found


# -- written last


def test_every_file_is_listed_but_the_lock_and_the_list(run: RunDirectory) -> None:
    manifest, digest = read_manifest(run)
    names = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {*manifest.files} == names - {".lock", "manifest.json"}
    assert digest == sha256(run.manifest.read_bytes()).hexdigest()
    trace = manifest.files["trace.jsonl"]
    assert (trace.sha256, trace.size) == (run.read_summary()["digest"], run.trace.stat().st_size)


def test_a_run_tells_the_digest_of_its_manifest(tmp_path: Path) -> None:
    summary = run_episodes(configured(SMALL, {"agent": "popular"}), out=tmp_path / "run")
    assert summary.manifest == read_manifest(RunDirectory(tmp_path / "run"))[1]
    assert "manifest" not in RunDirectory(tmp_path / "run").read_summary()


def test_a_run_that_was_stopped_has_none_until_it_is_finished(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(ServiceError):
        recorded(run.path, Counted(9))
    assert not run.manifest.exists()
    resume(run.path, model=EmbeddedModel())
    assert not faults(run)


def test_a_run_killed_before_its_manifest_gets_one(run: RunDirectory) -> None:
    """It is finished; until then the lack is said, with the way to mend it."""
    run.manifest.unlink()
    assert fault(run).endswith("billp resume lists the files as they are now")
    assert resume(run.path) is None
    assert not faults(run)


def test_a_retry_takes_the_manifest_away_before_all_else(tmp_path: Path) -> None:
    """While files change there is none that tells of the old ones."""
    run = recorded(tmp_path / "run", Failing())
    with pytest.raises(ServiceError):
        resume(run.path, retry_failed=True, model=Counted(0))
    assert not run.manifest.exists()
    assert not faults(run)
    resume(run.path, retry_failed=True, model=EmbeddedModel())
    assert not faults(run)


def test_a_retry_that_is_refused_leaves_the_manifest(run: RunDirectory) -> None:
    with pytest.raises(ConfigError):
        resume(run.path, retry_failed=True, settings=[{"seed": 9}], model=EmbeddedModel())
    assert not faults(run)


def test_a_manifest_without_a_summary_is_said(run: RunDirectory) -> None:
    run.summary.unlink()
    write_manifest(run)
    assert "there is one, but no summary" in fault(run)


def test_each_way_to_differ_is_said(run: RunDirectory) -> None:
    run.journal.unlink()
    run.config.write_text(run.config.read_text() + "\n")
    (run.path / "notes.txt").write_text("mine")
    what = "'calls.jsonl' is missing; 'run.toml' was altered; 'notes.txt' was added"
    assert fault(run) == f"{run.path}: {what}"


# -- what is refused


NAMES = ["/etc/passwd", "../other/trace.jsonl", "memory/../../x", "", ".", "a//b", "manifest.json"]


@pytest.mark.parametrize("name", NAMES)
def test_a_manifest_names_files_of_the_run_alone(name: str, run: RunDirectory) -> None:
    listed = msgspec.json.decode(run.manifest.read_bytes())
    listed["files"][name] = {"sha256": "0" * 64, "size": 1}
    run.manifest.write_bytes(msgspec.json.encode(listed))
    assert fault(run) == f"{run.manifest}: names {name!r}, which is no file of the run"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"[" * 100_000, b'{"files":' * 50_000, b'{"files":{"a":{"size":1}}}'],
)
def test_what_is_no_manifest_is_said(content: bytes, run: RunDirectory) -> None:
    run.manifest.write_bytes(content)
    assert fault(run).startswith(f"{run.manifest}: not a manifest: ")


def test_a_manifest_without_end_is_not_read(run: RunDirectory) -> None:
    os.truncate(run.manifest, 1 << 40)
    assert "no file of less than" in fault(run)


@pytest.mark.parametrize("name", ["trace.jsonl", "memory", "run.toml", "more"])
def test_links_are_not_followed(name: str, run: RunDirectory, tmp_path: Path) -> None:
    """Wherever they lead, be it to the very file."""
    path, aside = run.path / name, tmp_path / "aside"
    if path.exists():
        path.rename(aside)
    path.symlink_to(aside)
    if name == "run.toml":
        assert path.exists()
    assert [check.name for check in verify(run.path)] == ["files"]
    assert fault(run) == f"{run.path}: {name!r} is neither file nor directory: not followed"


def test_a_pipe_holds_nobody(run: RunDirectory) -> None:
    run.journal.unlink()
    os.mkfifo(run.journal)
    assert "'calls.jsonl' is neither file nor directory" in fault(run)


def test_a_link_in_place_of_the_manifest_is_said(run: RunDirectory, tmp_path: Path) -> None:
    run.manifest.rename(tmp_path / "aside")
    run.manifest.symlink_to(tmp_path / "aside")
    assert "not a manifest" in fault(run)


def _header(shape: str, descr: str = "'|i1'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return npy.magic(1, 0) + len(text).to_bytes(2, "little") + text


KEYS = {
    "more rows than there are atoms": _header(f"({2**60}, 256)"),
    "rows of nothing": _header(f"({2**60}, 0)"),
    "fewer than none": _header("(-1, 256)"),
    "objects": _header("(1, 1)", "'|O'") + b"cos\nsystem\n(S'true'\ntR.",
    "other numbers": _header("(1, 32)", "'<f8'") + bytes(256),
    "nested": _header("(" * 3_000),
    "another version": npy.magic(3, 0) + bytes(99),
    "no header": b"\x93NUMPY",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_believed_only_if_they_are_there(kind: str, run: RunDirectory) -> None:
    """Nothing is made of the size that a header claims, and nothing is unpickled."""
    path = run.memory / "actor.npy"
    path.write_bytes(KEYS[kind])
    make_again(run)
    assert fault(run, "memory").startswith(f"{path}: ")
    for read in (open_keys, read_keys):
        with pytest.raises(FileError, match=r"actor\.npy: "):
            read(path)


def test_keys_are_read_as_they_were_saved(tmp_path: Path) -> None:
    keys = np.arange(-6, 6, dtype=np.int8).reshape(4, 3)
    np.save(tmp_path / "keys.npy", keys)
    assert (read_keys(tmp_path / "keys.npy") == keys).all()


def _line_without_end(run: RunDirectory) -> None:
    os.truncate(run.trace, 200 * MEGABYTE)


def _deep_summary(run: RunDirectory) -> None:
    run.summary.write_bytes(b"[" * MEGABYTE)


def _deep_journal(run: RunDirectory) -> None:
    run.journal.write_bytes(b'{"type":"CallEnded","more":' + b"[" * MEGABYTE + b"}\n")


def _deep_memory(run: RunDirectory) -> None:
    path = run.memory / "actor.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"item":', b'"x":' + b"[" * MEGABYTE, 1))


def _deep_config(run: RunDirectory) -> None:
    run.config.write_text("a = " + "[" * 500_000)


def _endless_config(run: RunDirectory) -> None:
    os.truncate(run.config, 1 << 33)


def _endless_texts(run: RunDirectory) -> None:
    run.prompts.write_bytes(packed_zeros(2_000))


BOMBS: dict[str, tuple[Callable[[RunDirectory], None], str]] = {
    "a line without end": (_line_without_end, "files"),
    "a deep summary": (_deep_summary, "digest"),
    "a deep journal": (_deep_journal, "journal"),
    "a deep memory": (_deep_memory, "memory"),
    "a deep configuration": (_deep_config, "settings"),
    "texts without end": (_endless_texts, "prompts"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_means_ill_is_refused_in_one_sentence(kind: str, run: RunDirectory) -> None:
    """In bounded memory, whatever it claims to be."""
    spoil, name = BOMBS[kind]
    spoil(run)
    make_again(run)
    tracemalloc.start()
    try:
        assert fault(run, name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * MEGABYTE
