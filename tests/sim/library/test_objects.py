"""What is pushed comes back to the byte, whole or not at all, wherever somebody was stopped."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copytree

import pytest

from engine.errors import BillpError, ConfigError, RunDirectoryError, TransferError
from sim.library.objects import pull, pull_async, push, push_async
from sim.verification.verify import verify
from storage.datasets import generate_environment, open_environment, save
from storage.objects.manifests import StoredFile, encode, manifest_of
from storage.runs import RunDirectory
from tests.support.dying import in_own_process
from tests.support.objects import dying, pulling, pushing
from tests.support.shell import tree
from tests.support.small import recorded


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A finished run; nobody writes to it."""
    return recorded(tmp_path_factory.mktemp("recorded") / "first", episodes=2)


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """The address of a directory that others see, too."""
    (tmp_path / "shared").mkdir()
    return f"file://{tmp_path}/shared"


@pytest.fixture
def there(run: RunDirectory, shared: str) -> Path:
    """Where the objects of the run are, when it was pushed."""
    push(run.path, shared)
    return Path(shared.removeprefix("file://")) / "first"


def files_of(directory: Path) -> dict[str, bytes | None]:
    """Return everything in a directory but the lock, which holds nothing."""
    return {name: content for name, content in tree(directory).items() if name != ".lock"}


def objects_of(there: Path) -> dict[str, Path]:
    """Return the objects at an address by the names that its manifest gives them."""
    told = json.loads((there / "manifest.json").read_bytes())["files"]
    return {name: there / "files" / file["sha256"] for name, file in told.items()}


# -- there and back


def test_a_run_comes_back_to_the_byte(run: RunDirectory, shared: str, tmp_path: Path) -> None:
    sent = push(run.path, shared)
    fetched = pull(sent.address, tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(run.path)
    assert (sent.kind, sent.digest) == ("run", fetched.digest)
    assert [check.fault for check in verify(tmp_path / "back") if check.fault] == []


def test_an_environment_comes_back(shared: str, tmp_path: Path) -> None:
    environment = generate_environment(3, name="mine")
    save(environment, tmp_path / "mine")
    pull(push(tmp_path / "mine", shared).address, tmp_path / "back")
    assert open_environment(str(tmp_path / "back")).head == environment.head


def test_a_report_is_a_file(shared: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<p>all is well")
    pull(push(report, shared).address, tmp_path / "back.html")
    assert (tmp_path / "back.html").read_text() == "<p>all is well"


def test_both_can_be_awaited(run: RunDirectory, shared: str, tmp_path: Path) -> None:
    async def there_and_back() -> None:
        sent = await push_async(run.path, f"{shared}/")
        await pull_async(sent.address, tmp_path / "back")
        with pytest.raises(ConfigError, match="an event loop runs here already"):
            push(run.path, shared)

    asyncio.run(there_and_back())
    assert files_of(tmp_path / "back") == files_of(run.path)


def test_what_is_there_is_not_sent_again(run: RunDirectory, there: Path, shared: str) -> None:
    """Of what was lost, only that."""
    assert push(run.path, shared).moved == 0
    objects_of(there)["trace.jsonl"].unlink()
    assert push(run.path, shared).moved == 1


def test_the_cache_is_by_what_was_pushed(
    run: RunDirectory, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fetched is fetched once, under the name that it has at its address."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, second = pull(f"file://{there}"), pull(f"file://{there}")
    assert (first.moved, second.moved) == (first.files, 0)
    assert Path(first.path).name == "first"
    assert files_of(Path(second.path)) == files_of(run.path)


# -- what is not sent


def test_nothing_is_exchanged_unasked(run: RunDirectory, there: Path, shared: str) -> None:
    other = recorded(there.parents[1] / "other" / "first", episodes=2, seed=9)
    before = tree(there)
    with pytest.raises(TransferError, match="holds something else already"):
        push(other.path, shared)
    assert tree(there) == before
    sent = push(other.path, shared, replace=True)
    assert sent.digest == pull(f"file://{there}", there.parents[1] / "back").digest


def _unfinished(run: RunDirectory) -> None:
    run.summary.unlink()


def _altered(run: RunDirectory) -> None:
    run.trace.write_bytes(run.trace.read_bytes()[:-1])


def _linked(run: RunDirectory) -> None:
    (run.path / "passwords").symlink_to("/etc/passwd")


SPOILT: dict[str, tuple[Callable[[RunDirectory], None], str]] = {
    "unfinished": (_unfinished, "has not come to its end"),
    "altered": (_altered, "is not as it was left: 'trace.jsonl' was altered"),
    "linked": (_linked, "is neither a file nor a directory"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_only_whole_runs_are_sent(how: str, run: RunDirectory, shared: str, tmp_path: Path) -> None:
    spoil, why = SPOILT[how]
    copy = RunDirectory(Path(copytree(run.path, tmp_path / "copy")))
    spoil(copy)
    with pytest.raises(RunDirectoryError, match=why):
        push(copy.path, shared)
    assert tree(tmp_path / "shared") == {}


def test_a_run_that_is_written_is_not_sent(run: RunDirectory, shared: str, tmp_path: Path) -> None:
    copy = RunDirectory(Path(copytree(run.path, tmp_path / "copy")))
    if copy.busy is None:
        pytest.skip("this system does not tell who holds a lock")
    with copy.locked(), pytest.raises(RunDirectoryError, match="a process is writing here"):
        push(copy.path, shared)


@pytest.mark.parametrize("what", ["nothing", "folder", "notes.txt", "s3://bucket/x"])
def test_what_is_nothing_of_ours_is_not_sent(what: str, shared: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"expected a run|is an address"):
        push(what if "://" in what else tmp_path / what, shared)


def test_where_a_run_is_below_an_address_its_name_is_told(
    there: Path, shared: str, tmp_path: Path
) -> None:
    """It went there by its own name, which is soon forgotten."""
    assert there.is_dir()
    with pytest.raises(TransferError, match="nothing was pushed there") as refused:
        pull(shared, tmp_path / "back")
    assert refused.value.hint == "below it there are first"
    with pytest.raises(TransferError, match="nothing was pushed there") as refused:
        pull(f"{shared}/second", tmp_path / "back")
    assert refused.value.hint == "billp push tells the address that it used"


# -- whoever is stopped goes on


@pytest.mark.parametrize("count", [1, 2, 7, 11, 12])
def test_a_push_that_is_killed_leaves_nothing_that_looks_whole(
    run: RunDirectory, shared: str, tmp_path: Path, count: int
) -> None:
    """SIGKILL as so many objects are put; the manifest is the last, and two files are the same."""
    address = f"{shared}/first"
    work = partial(dying, partial(pushing, run.path, shared), count)
    said = in_own_process(work, tmp_path / "dead" / "any")
    assert said.status == -signal.SIGKILL, said
    with pytest.raises(TransferError, match=r"nothing was pushed|did not come to its end"):
        pull(address, tmp_path / "back")
    again = push(run.path, shared)
    assert again.moved <= 11 - max(0, count - 4)  # so many are under way at once
    assert pull(address, tmp_path / "back").digest == again.digest


@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_a_pull_that_is_killed_leaves_nothing_that_looks_whole(
    run: RunDirectory, there: Path, tmp_path: Path, count: int
) -> None:
    """And goes on with what is missing; nothing else is left beside it in the end."""
    place = tmp_path / "here" / "back"
    work = partial(dying, partial(pulling, f"file://{there}", place), count)
    said = in_own_process(work, tmp_path / "dead" / "any")
    assert said.status == -signal.SIGKILL, said
    assert not place.exists()
    done = pull(f"file://{there}", place)
    assert done.moved <= done.files - max(0, count - 4)
    assert files_of(place) == files_of(run.path)
    assert [path.name for path in place.parent.iterdir()] == ["back"]


# -- what comes from elsewhere


def test_an_altered_object_is_not_taken(run: RunDirectory, there: Path, tmp_path: Path) -> None:
    """When it is as it was again, the same command fetches it and what else is missing."""
    trace = objects_of(there)["trace.jsonl"]
    content = trace.read_bytes()
    trace.write_bytes(content[:-2] + b"x\n")
    with pytest.raises(TransferError, match=r"'trace.jsonl' is not what its manifest says"):
        pull(f"file://{there}", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    push(run.path, f"file://{there.parent}", replace=True)
    assert pull(f"file://{there}", tmp_path / "back").moved < 12
    assert files_of(tmp_path / "back") == files_of(run.path)


@pytest.mark.parametrize("left", [None, 0, 10])
def test_an_object_that_is_not_whole_is_not_taken(
    there: Path, tmp_path: Path, left: int | None
) -> None:
    trace = objects_of(there)["trace.jsonl"]
    content = trace.read_bytes()
    trace.unlink()
    if left is not None:
        trace.write_bytes(content[:left])
    with pytest.raises(TransferError, match=r"'trace.jsonl' is missing, or not whole"):
        pull(f"file://{there}", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_was_damaged_here_in_the_meantime_is_fetched_again(
    run: RunDirectory, there: Path, tmp_path: Path
) -> None:
    """Nothing that was left is believed; and what is no file of the run goes."""
    objects_of(there)["trace.jsonl"].rename(tmp_path / "kept")
    with pytest.raises(TransferError):
        pull(f"file://{there}", tmp_path / "back")
    (part,) = tmp_path.glob(".billp-*.part")
    (part / "new" / "run.toml").write_text("altered")
    (part / "new" / "more").mkdir()
    (part / "new" / "more" / "planted").write_text("planted")
    (tmp_path / "kept").rename(objects_of(there)["trace.jsonl"])
    pull(f"file://{there}", tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(run.path)


def test_more_than_there_is_room_for_is_not_begun(there: Path, tmp_path: Path) -> None:
    manifest = manifest_of("report", {"a.html": StoredFile(sha256="0" * 64, size=1 << 42)})
    (there / "manifest.json").write_bytes(encode(manifest))
    with pytest.raises(TransferError, match="bytes are to be fetched"):
        pull(f"file://{there}", tmp_path / "back")


def test_a_manifest_has_a_bound(there: Path, tmp_path: Path) -> None:
    with (there / "manifest.json").open("r+b") as file:
        file.truncate(33 << 20)
    with pytest.raises(TransferError, match="it is larger than"):
        pull(f"file://{there}", tmp_path / "back")


@pytest.mark.parametrize("name", ["manifest.json", "trace.jsonl"])
def test_a_pipe_holds_nobody_up(there: Path, tmp_path: Path, name: str) -> None:
    """Whoever may write in a shared directory can put anything there."""
    path = there / name if name == "manifest.json" else objects_of(there)[name]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TransferError, match="no regular file"):
        pull(f"file://{there}", tmp_path / "back")


@pytest.mark.parametrize("what", ["a file", "a directory", "a link"])
def test_nothing_here_is_replaced(there: Path, tmp_path: Path, what: str) -> None:
    place = tmp_path / "back"
    if what == "a file":
        place.write_text("mine")
    elif what == "a directory":
        place.mkdir()
        (place / "mine").touch()
    else:
        place.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="is there already"):
        pull(f"file://{there}", place)


def test_a_directory_of_another_is_not_entered(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all may write, one may have put a link beside the place, to be filled elsewhere."""
    objects_of(there)["trace.jsonl"].rename(tmp_path / "kept")
    with pytest.raises(TransferError):
        pull(f"file://{there}", tmp_path / "back")
    (part,) = tmp_path.glob(".billp-*.part")
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BillpError, match="is not what billp made"):
        pull(f"file://{there}", tmp_path / "back")
