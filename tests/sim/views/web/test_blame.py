"""The page of what an episode owes its course to shows what was found, and how to ask."""

import json
from pathlib import Path

import pytest

from sim.config.layers import configured
from sim.experiments.blame.blaming import blame
from sim.experiments.blame.findings import Asked
from sim.experiments.blame.kept import keep, kept
from sim.library.run import Run
from sim.runs.run import run
from tests.sim.views.web.test_pages import got
from tests.support.small import SMALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blamed")
    run(configured(SMALL), out=folder / "first")
    return folder


def test_what_nobody_asked_is_said_with_the_command(folder: Path) -> None:
    status, text = got("/blame/first?k=2", folder)
    assert status == 200
    assert "billp blame" in text
    assert "--episode 2" in text


def test_what_was_found_is_shown_the_first_first(folder: Path) -> None:
    found = blame(folder / "first", 1, asked=Asked(draws=2, leading=2, records=1))
    digest = Run.open(folder / "first").digest
    keep(found, digest)
    assert kept(digest, 1) == found
    status, text = got("/blame/first?k=1&json", folder)
    told = json.loads(text)
    assert status == 200
    assert [row["effect"] for row in told["rows"]] == told["found"]["causes"][: len(told["rows"])]
    assert all(0 <= row["middle"] <= 100 for row in told["rows"] if row["middle"] is not None)
    assert got("/blame/first?k=1", folder)[0] == 200


def test_what_a_run_brings_along_is_no_finding(folder: Path) -> None:
    """Findings stand beside the user's own files: none comes with a run from elsewhere."""
    assert kept("0" * 64, 1) is None


@pytest.mark.parametrize("address", ["/blame/first", "/blame/first?k=99", "/blame/none?k=0"])
def test_an_episode_that_is_not_there_is_a_sentence(folder: Path, address: str) -> None:
    status, text = got(address, folder)
    assert status in {400, 404}
    assert '<p class="said">' in text
