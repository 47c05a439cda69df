"""Directories that mean harm: pipes, devices, links, bombs and depth in place of our files.

Whatever is there, a command ends, in one sentence if not well, and nothing outside is changed.
"""

import os
import re
import shutil
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from types import FrameType

import numpy as np
import polars as pl
import pytest

from engine.errors import BillpError, DataError, FileError, RunDirectoryError
from sim import Run
from sim.cli import main
from storage.arrays import read_array
from storage.datasets import load, save
from storage.datasets.directories import HEAD, ITEMS, USERS
from storage.datasets.parquet import unpacked_size
from storage.datasets.synthetic import build_synthetic
from storage.datasets.table_files import read_parquet, texts
from storage.prompt_texts import read_prompts
from storage.reading import LONGEST_LINE, lines_of, open_regular, parse_toml
from tests.support.bombs import packed_zeros
from tests.support.shell import Said, Shell, tree

FEW = ("--episodes", "4", "--arrivals", "batches:2", "--set", "limit=4", "--set", "fsync=none")
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"
WATCH = 60  # seconds after which whoever waits for ever is woken, and the test fails


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    """Nothing here waits for anything."""

    def wake(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it waits for ever")

    signal.signal(signal.SIGALRM, wake)
    signal.alarm(WATCH)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of other seeds, and one that was stopped."""
    place = tmp_path_factory.mktemp("recorded")
    words = ("run", *FEW, "--quiet", "--out")
    for name, more in (("one", ()), ("two", ("--seed", "5")), ("half", ("--max-calls", "20"))):
        with pytest.raises(SystemExit):
            main([*words, str(place / name), *more])
    return place


@pytest.fixture
def shell(
    recorded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("one", "two", "half"):
        shutil.copytree(recorded / name, name)
    return Shell(capsys)


def put(path: Path, kind: str) -> None:
    """Put something else in the place of a file or directory."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "sparse":
            path.touch()
            os.truncate(path, 1 << 28)
        case _:
            path.write_bytes(CONTENTS[kind])


CONTENTS = {
    "nothing": b"",
    "deep": DEEP,
    "arrays": b"a = " + b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "dotted": b"prices" + b".a" * 100_000 + b" = 1\n",
    "noise": bytes(range(256)) * 64,
    "npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9_000) + b"(" * 9_000,
}
KINDS = ("pipe", "device", "directory", "loop", "sparse", *CONTENTS)
NAMES = (
    *("run.toml", "trace.jsonl", "calls.jsonl", "prompts.zst", "summary.json", "manifest.json"),
    *("memory", "memory/planner.npy", "memory/planner.jsonl", ".lock", ".origin"),
)
LOOKING: Sequence[Sequence[str]] = (
    *(("show", "one", "0"), ("show", "one", "1:0", "--prompt", "actor"), ("replay", "one")),
    *(("trace", "stats", "one"), ("diff", "one", "two"), ("memory", "one", "--like", "Puzzle")),
    *(("compare", "one", "two"), ("critic", "one", "--states", "3", "--rollouts", "2")),
    *(("verify", "one"), ("resume", "one"), ("fork", "one", "--at", "1:0", "--out", "fork")),
)


def ended_well(said: Said) -> bool:
    """Tell whether a command said what it wanted, or one sentence and at most a hint."""
    errors = [line for line in said.err.splitlines() if line.startswith("billp: ")]
    return "Traceback" not in said.err and (said.status == 0 or len(errors) == 1 or bool(said.out))


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_for_a_file_of_a_run_holds_nobody_up(shell: Shell, name: str) -> None:
    """Nor does it end in a traceback, whoever looks, or goes on."""
    for kind in KINDS:
        for run in ("one", "half"):
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree("two", run)
        Path("half/summary.json").unlink(missing_ok=True)
        Path("half/manifest.json").unlink(missing_ok=True)
        for run in ("one", "half"):
            put(Path(run, name), kind)
        for words in (("replay", "one"), ("show", "one", "0"), ("resume", "half", "--quiet")):
            said = shell.billp(*words)
            assert ended_well(said), (kind, words, said)


LOOKS: tuple[Callable[[Run], object], ...] = (
    *map(attrgetter, ("config", "digest", "summary", "metrics", "head", "imported")),
    *(lambda run: run.frame("PlanMade"), lambda run: run.calls()),
    lambda run: [episode.recollections for episode in run.episodes()],
    lambda run: list(run.memory("planner").entries()),
)


@pytest.mark.parametrize("name", NAMES)
def test_who_holds_a_run_in_python_is_told(shell: Shell, name: str) -> None:
    """Also a notebook, which shows the sentence."""
    for kind in KINDS:
        for run in map(Path, ("one", "half")):
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree("two", run)
        Path("half/summary.json").unlink(missing_ok=True)
        for run in (Path("one"), Path("half")):
            put(run / name, kind)
            for look in LOOKS:
                with suppress(BillpError):
                    look(Run.open(run))
            with suppress(RunDirectoryError):
                assert Run.open(run)._repr_html_()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_who_look_at_a_run_come_to_an_end(shell: Shell, name: str) -> None:
    """The same, for all commands that read a run."""
    for kind in KINDS:
        shutil.rmtree("one")
        shutil.copytree("two", "one")
        put(Path("one", name), kind)
        for words in LOOKING:
            if (kind, words[0]) == ("sparse", "verify"):
                continue  # it reads all of it, which takes its time
            signal.alarm(WATCH)
            said = shell.billp(*words)
            assert ended_well(said), (kind, words, said)
            shutil.rmtree("fork", ignore_errors=True)


# -- nothing is written through a link


@pytest.mark.parametrize(
    "name",
    [
        *("run.toml", "run.toml.part", ".origin", ".origin.part", ".lock", "calls.jsonl"),
        *("trace.jsonl", "prompts.zst", "summary.json.part", "memory", "embeddings"),
    ],
)
def test_nothing_is_written_through_a_link(shell: Shell, tmp_path: Path, name: str) -> None:
    """A run that goes on changes its own directory, and nothing else."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = Path("half", name)
    target = outside / "target"
    if path.is_file():
        shutil.copy(path, target)
        path.unlink()
    elif name in {"memory", "embeddings"}:
        target.mkdir()
    else:
        target.write_text("mine")
    path.symlink_to(target)
    before = tree(outside)
    sentence, _ = shell.refusal("resume", "half", "--set", "max_calls=0", "--trust")
    assert sentence.startswith(f"half/{name}: is a link that leads out of the run directory")
    assert tree(outside) == before


def test_a_link_within_the_directory_is_followed(shell: Shell) -> None:
    """And the directory itself may be one."""
    Path("half/trace.jsonl").rename("half/elsewhere")
    Path("half/trace.jsonl").symlink_to("elsewhere")
    Path("latest").symlink_to("half")
    assert shell.billp("resume", "latest", "--set", "max_calls=0").status == 0


def test_a_new_run_does_not_begin_in_a_trap(shell: Shell, tmp_path: Path) -> None:
    """A directory that looks like one in which a run was killed before it began."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "vectors.jsonl").write_text("mine")
    Path("trap").mkdir()
    Path("trap/embeddings").symlink_to(tmp_path / "outside")
    assert "is a link" in shell.refusal("run", *FEW, "--out", "trap")[0]
    assert (tmp_path / "outside" / "vectors.jsonl").read_text() == "mine"


# -- what belongs to another run


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("trace.jsonl", "RunStarted.seed: recorded 5, got 0"),
        ("calls.jsonl", "the planner's call at step 0 is not in the journal"),
        ("run.toml", "RunStarted.seed: recorded 0, got 5"),
    ],
)
def test_files_of_another_run_are_found(shell: Shell, name: str, sentence: str) -> None:
    """By whoever runs it again, in one sentence; verify tells which file it is."""
    shutil.copy(Path("two", name), Path("one", name))
    said = shell.billp("replay", "one")
    assert said.status in {1, 2}
    assert sentence in said.out + said.err
    assert shell.billp("verify", "one").status == 1
    shutil.copy(Path("two", name), Path("half", name))
    resumed = shell.billp("resume", "half", "--set", "max_calls=0", "--trust")
    assert ended_well(resumed), resumed
    if resumed.status == 0:  # the trace was not explained, so all was asked anew
        assert name == "calls.jsonl"
        assert Path("half/trace.jsonl").read_bytes() == Path("one/trace.jsonl").read_bytes()


def test_a_name_in_a_trace_is_no_way_out(shell: Shell, tmp_path: Path) -> None:
    """Of a memory, say: whoever verifies reads no other file for it."""
    (tmp_path / "outside.jsonl").write_text("{}\n" * 100)
    trace = Path("one/trace.jsonl")
    lines = trace.read_bytes().replace(b'"memory":"planner"', b'"memory":"../../outside"')
    assert trace.read_bytes() != lines
    trace.write_bytes(lines)
    said = shell.billp("verify", "one")
    assert said.status == 1
    # As a word: a digest may have any three digits, and the manifest's is another each time.
    assert not re.search(r"\b100\b", said.out)


# -- reading


def test_lines_without_an_end_are_not_gathered(tmp_path: Path) -> None:
    """Zeros as far as anybody reads, which take no place on the disk."""
    put(tmp_path / "file", "sparse")
    with (
        open_regular(tmp_path / "file") as file,
        pytest.raises(OSError, match=f"a line of more than {LONGEST_LINE:,} bytes"),
    ):
        next(lines_of(file))


@pytest.mark.parametrize("text", [b"a=" + b"[" * 10**5, b"a" + b".a" * 10**5 + b"=1", b"\xff"])
def test_toml_is_not_nested_for_ever(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deep|too many parts|codec"):
        parse_toml(text)


def npy(head: str, data: bytes = b"") -> bytes:
    padded = head.ljust(118).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


@pytest.mark.parametrize(
    "content",
    [
        npy(f"{{'descr': '|i1', 'fortran_order': False, 'shape': ({2**60}, 4096)}}"),
        npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**63},)}}", bytes(80)),
        npy("{'descr': '|i1', 'fortran_order': False, 'shape': (-1, 4)}", bytes(8)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"cos\nsystem\n."),
        npy("{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000000,)}"),
        npy("{'descr': '|i1', 'fortran_order': False, 'shape': (4,)}", bytes(3)),
        npy("{'descr': [('a', '|i1')] * 10**9}"),
        npy("(" * 110),
        b"PK\x03\x04" + bytes(100),
        b"\x93NUMPY\x09\x00" + bytes(100),
        b"\x93NUMPY",
        b"",
    ],
)
def test_an_array_is_what_is_there(tmp_path: Path, content: bytes) -> None:
    """Its head is believed as far as the file goes; objects are not read."""
    (tmp_path / "array.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"it is no array|its head claims"):
        read_array(tmp_path / "array.npy")


@pytest.mark.parametrize(
    "array", [np.zeros((0, 4), np.int8), np.eye(3), np.arange(6).reshape(2, 3).T]
)
def test_arrays_are_read_as_they_were_saved(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "array.npy", array)
    assert (read_array(tmp_path / "array.npy") == array).all()


def test_texts_of_requests_that_burst_are_refused(tmp_path: Path) -> None:
    """A frame of some kilobytes that stands for a gigabyte."""
    packed = packed_zeros(1 << 10)
    (tmp_path / "prompts.zst").write_bytes(packed)
    assert len(packed) < 1 << 20
    with pytest.raises(FileError, match="unpacks to more than"):
        list(read_prompts(tmp_path / "prompts.zst"))


# -- Parquet


def parquet(**columns: Sequence[object]) -> bytes:
    file = BytesIO()
    pl.DataFrame(columns).write_parquet(file, compression="zstd", statistics=False)
    return file.getvalue()


def test_what_comes_of_a_table_is_known_before(tmp_path: Path) -> None:
    """A few kilobytes of one letter, and of one number."""
    letters = parquet(user=["a" * (1 << 26)])
    assert len(letters) < 1 << 16
    assert unpacked_size(letters) >= 1 << 26
    numbers = parquet(user=[0.0] * (1 << 20))
    assert unpacked_size(numbers) >= 1 << 23
    assert unpacked_size(parquet(user=["a", "b"], tags=[["x"], ["y", "z"]])) < 1_000


def test_a_table_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its pages, whatever its foot says, and before it is read."""
    monkeypatch.setattr("storage.datasets.table_files.LARGEST", 1 << 20)
    path = tmp_path / "users.parquet"
    path.write_bytes(parquet(user=["a" * (1 << 22)]))
    with pytest.raises(DataError, match=r"comes to 4,194,[0-9]+ bytes, more than 1,048,576"):
        read_parquet(path)
    path.write_bytes(parquet(user=["a" * 100] * 50_000))
    with pytest.raises(DataError, match="more than 1,048,576"):
        texts(read_parquet(path), "user", path)


def said_of(path: Path) -> str:
    try:
        return str(len(texts(read_parquet(path), "user", path)))
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_tables_are_refused_in_a_sentence(tmp_path: Path, seed: int) -> None:
    """Bytes that were changed anywhere, ends that were cut: polars may panic, we do not."""
    whole = parquet(user=[str(number) for number in range(300)], tags=[["a"]] * 300)
    path = tmp_path / "users.parquet"
    drawn = np.random.default_rng(seed)
    for _ in range(100):
        damaged = bytearray(whole)
        for place in drawn.integers(0, len(whole), 3):
            damaged[place] = drawn.integers(256)
        path.write_bytes(damaged[: drawn.integers(len(whole) // 2, 2 * len(whole))])
        assert "\n" not in said_of(path)


# -- environments


@pytest.fixture
def world(tmp_path: Path) -> Path:
    save(build_synthetic(seed=4, users=20, items=50, categories=6), tmp_path / "world")
    return tmp_path / "world"


ARRAYS = ("popularity.npy", "user_factors.npy", "offsets.npy", "history_items.npy", "test.npy")


@pytest.mark.parametrize("name", [HEAD, ITEMS, USERS, *ARRAYS])
def test_what_stands_for_a_file_of_an_environment_holds_nobody_up(world: Path, name: str) -> None:
    for kind in KINDS:
        if kind == "sparse" and not name.endswith("l"):
            continue  # zeros are read as such
        put(world / name, kind)
        with pytest.raises(DataError) as caught:
            load(world)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value) + "environment.toml"


def test_a_name_that_is_none_is_no_environment(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an environment"):
        load(Path("a\0b"))


# -- files that are imported


@pytest.mark.parametrize("kind", ["deep", "directory", "pipe", "noise", "nothing"])
def test_what_cannot_be_imported_is_told(shell: Shell, kind: str) -> None:
    put(Path("trajectories.json"), kind)
    said = shell.billp("import-trajectories", "trajectories.json", "--out", "imported")
    assert said.status == 2
    assert ended_well(said)


@pytest.mark.parametrize("depth", [100, 400, 480, 490, 500, 900, 990])
@pytest.mark.parametrize("around", ['{"traj_by_line": [%s]}', '{"7": {"traj_by_line": [%s]}}'])
def test_lines_that_are_nested_are_told(shell: Shell, depth: int, around: str) -> None:
    """However deep they are: what can be read can be told."""
    Path("trajectories.json").write_text(around % ("[" * depth + "]" * depth))
    said = shell.billp("import-trajectories", "trajectories.json", "--out", "imported")
    assert said.status == 2
    assert ended_well(said)
