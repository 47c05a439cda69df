"""Which files pages read: those of the runs below a folder, whatever an address or a link says."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigError, RunDirectoryError
from sim.views.web.folder import Folder, folder_of
from tests.support.small import recorded
from tests.support.viewed import Answer, asked, viewed

SECRET = "a-secret-of-another-run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that is never changed."""
    return recorded(tmp_path_factory.mktemp("made") / "run", prompts=True).path


@pytest.fixture
def place(tmp_path: Path, made: Path) -> Path:
    """Return a folder with a run `shown`, beside a folder with one that is not to be seen."""
    for name in ("folder/shown", "other/hidden"):
        shutil.copytree(made, tmp_path / name)
    config = tmp_path / "other/hidden/run.toml"
    config.write_text(f'agent = "{SECRET}"\n{config.read_text().partition("agent")[0]}')
    (tmp_path / "other/hidden/summary.json").write_text(f'{{"environment": "{SECRET}"}}')
    return tmp_path


@pytest.fixture
def url(place: Path) -> Iterator[str]:
    with viewed(place / "folder") as url:
        yield url


OUTSIDE = [
    "..",
    "../other/hidden",
    "..%2fother%2fhidden",
    "%2e%2e/other/hidden",
    "%2e%2e%2fother%2fhidden",
    "%252e%252e%252fother%252fhidden",
    "shown/../../other/hidden",
    "shown/%2e%2e/%2e%2e/other/hidden",
    "..%5cother%5chidden",
    "..%c0%afother%c0%afhidden",
    "%2fetc",
    "/etc",
    "//etc",
    "shown%00",
    "%00",
    "shown%0a",
    "shown/run.toml",
    "shown/memory",
    "~",
    "a" * 5000,
    "a/" * 2000,
    "%ff",
    "%ed%a0%80",
    ".",
    "%20",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_address_leads_out_of_the_folder(url: str, place: Path, name: str) -> None:
    """However it is written; there is no such run, and nothing is said of what is there."""
    for page in ("run", "trend", "events"):
        for path in (f"/{page}/{name}", f"/{page}/{name.replace('other', str(place / 'other'))}"):
            answer = asked(url, path)
            assert answer.status == 404
            assert SECRET not in answer.body


def linked(place: Path, name: str, target: Path) -> Answer:
    """Return the page of a run whose file is a link to *target* instead."""
    path = place / "folder/shown" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)
    with viewed(place / "folder") as url:
        assert SECRET not in asked(url).body
        assert SECRET not in asked(url, "/trend/shown?json").body
        return asked(url, "/run/shown?json")


@pytest.mark.parametrize(
    "name", ["run.toml", "trace.jsonl", "calls.jsonl", "summary.json", "prompts.zst", "memory"]
)
def test_a_link_out_of_a_run_is_not_followed(place: Path, name: str) -> None:
    """A run from elsewhere may have links for files: it shows nothing but itself."""
    answer = linked(place, name, place / "other/hidden" / name)
    assert (answer.status, SECRET in answer.body) == (404, False)
    assert "is a link that leads out of it" in answer.body


def test_a_link_within_a_run_is_its_own_file(place: Path) -> None:
    """Such as one to a trace that is kept under another name."""
    run = place / "folder/shown"
    (run / "trace.jsonl").rename(run / "kept.jsonl")
    assert linked(place, "trace.jsonl", Path("kept.jsonl")).status == 200


def test_a_circle_of_links_is_no_run(place: Path) -> None:
    """Neither as a file of a run, nor as a run."""
    (place / "folder/circle").symlink_to("circle")
    assert linked(place, "prompts.zst", Path("prompts.zst")).status == 404
    with viewed(place / "folder") as url:
        assert asked(url, "/run/circle").status == 404
        assert asked(url).status == 200


def test_a_run_that_is_a_link_out_is_none(place: Path) -> None:
    """It is not listed, and no address shows it."""
    (place / "folder/link").symlink_to(place / "other/hidden")
    with viewed(place / "folder") as url:
        assert asked(url, "/run/link").status == 404
        assert "run/link" not in asked(url).body


@pytest.mark.parametrize(
    "name", ["run.toml", "trace.jsonl", "summary.json", "calls.jsonl", ".lock"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_holds_nobody_up(place: Path, name: str, kind: str) -> None:
    """A pipe under the name of a file would be waited for, for ever."""
    path = place / "folder/shown" / name
    path.unlink(missing_ok=True)
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with viewed(place / "folder") as url:
        assert asked(url, "/").status == 200
        for page in ("run", "trend"):
            assert asked(url, f"/{page}/shown").status in {200, 400, 404}


def test_who_is_shown_a_run_sees_no_other(place: Path, made: Path) -> None:
    """Not in the list, and not by its name, though it lies in the same folder."""
    shutil.copytree(made, place / "folder/neighbour")
    with viewed(place / "folder/shown") as url:
        assert "neighbour" not in asked(url).body
        for name in ("neighbour", "shown/../neighbour", "./neighbour"):
            assert asked(url, f"/run/{name}").status == 404
            assert asked(url, f"/events/{name}").status == 404


def test_a_name_of_any_bytes_is_a_name(place: Path, made: Path) -> None:
    """A folder's name need be no text; it is shown, and the others with it."""
    shutil.copytree(made, place / "folder" / "\udcff&<b>\x1b\u202e")
    with viewed(place / "folder") as url:
        body = asked(url).body
    assert 'href="/run/%FF%26%3Cb%3E%1B%E2%80%AE"' in body
    assert "&amp;&lt;b&gt;\\x1b\\u202e" in body
    assert not {*"\x1b\u202e\udcff"} & {*body}


def test_a_run_may_be_named_by_a_link(place: Path) -> None:
    """Whoever names a link means what it leads to."""
    (place / "latest").symlink_to(place / "folder/shown")
    folder = folder_of([place / "latest"])
    assert folder == Folder(place / "folder", ("shown",))
    assert folder.run("shown").path == place / "folder/shown"


def test_runs_may_be_named_from_where_one_stands(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dots in their paths, also more than one."""
    monkeypatch.chdir(place / "folder")
    folder = folder_of([Path("shown"), Path("../other/../other/hidden")])
    assert folder == Folder(place, ("folder/shown", "other/hidden"))
    assert folder.run("other/hidden").config.exists()


def test_what_is_no_folder_is_not_served(place: Path) -> None:
    """It is told which is none, or named twice."""
    with pytest.raises(RunDirectoryError, match="there is no such folder"):
        folder_of([place / "none"])
    with pytest.raises(ConfigError, match="named twice"):
        folder_of([place / "folder/shown", place / "folder/../folder/shown"])
