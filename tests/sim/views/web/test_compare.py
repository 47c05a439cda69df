"""The page that compares runs, and that of two episodes side by side."""

import json
from pathlib import Path

import anyio
import pytest

from engine.errors import BillpError, ConfigError, RunDirectoryError
from sim.analysis.compare import compare
from sim.views.comparison import as_latex
from sim.views.web.compare import ChoiceFacts, CompareFacts, compare_page
from sim.views.web.diff import DiffFacts, diff_page
from sim.views.web.folder import Folder
from sim.views.web.page import Asked
from storage.runs import RunDirectory
from tests.support.pages import got
from tests.support.small import recorded

BOTH = ["set/act-only", "set/random"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two agents under one seed."""
    folder = tmp_path_factory.mktemp("runs")
    for agent in ("act-only", "random"):
        recorded(folder / "set" / agent, agent=agent, episodes=4)
    return folder


def asked(place: Path, runs: list[str], run: str = "", **query: str) -> Asked:
    return Asked(Folder(place), run, query=query, several={"run": runs})


def compared(place: Path, runs: list[str], run: str = "", **query: str) -> CompareFacts:
    facts = compare_page(asked(place, runs, run, **query)).facts
    assert isinstance(facts, CompareFacts)
    return facts


def beside(place: Path, runs: list[str], **query: str) -> DiffFacts:
    facts = diff_page(asked(place, runs, **query)).facts
    assert isinstance(facts, DiffFacts)
    return facts


def page(folder: Path, address: str) -> str:
    status, text = anyio.run(got, folder, address)
    assert status == 200
    return text


# -- comparing


def test_a_page_tells_what_the_command_does(folder: Path) -> None:
    found = compare([folder / name for name in BOTH], measure="len")
    facts = compared(folder, BOTH, measure="len")
    assert facts.sheets == [*found.sheets()]
    assert facts.latex == as_latex(found)
    assert facts.labels == ["act-only", "random"]


def test_all_runs_of_a_folder_are_compared(folder: Path) -> None:
    assert compared(folder, [], "set").runs == BOTH
    assert compared(folder, [], folder="set").runs == BOTH
    with pytest.raises(ConfigError, match=r"no run below '\.\.' here has come"):
        compared(folder, BOTH, folder="..")


def test_of_a_folder_those_are_compared_that_came_to_their_end(tmp_path: Path) -> None:
    """The others are named: nobody wonders where they are."""
    for agent in ("act-only", "random", "popular"):
        recorded(tmp_path / "set" / agent, agent=agent, episodes=2)
    RunDirectory(tmp_path / "set" / "popular").summary.unlink()
    facts = compared(tmp_path, [], "set")
    assert (facts.runs, facts.left_out) == (BOTH, ["set/popular"])


def test_a_point_leads_to_the_episode_that_it_is(folder: Path) -> None:
    users = compared(folder, BOTH).users
    assert users is not None
    assert (users.one, users.other, users.both) == ("set/act-only", "set/random", 4)
    rows = users.spec["datasets"]["rows"]
    assert {row["k"] for row in rows} == {v.one.episode for v in users.visits if v.one}


def test_visits_come_in_pages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one stands for all beyond it."""
    monkeypatch.setattr("sim.views.web.compare._SHOWN", 3)
    told = [compared(folder, BOTH, page=page).users for page in ("0", "1", "99")]
    assert [len(users.visits) for users in told if users] == [3, 1, 1]


def test_of_one_run_there_is_nothing_to_set_against_it(folder: Path) -> None:
    facts = compared(folder, BOTH[:1])
    assert facts.users is None
    assert facts.forest is None


def test_without_runs_they_may_be_chosen(folder: Path) -> None:
    facts = compare_page(asked(folder, [])).facts
    assert facts == ChoiceFacts(BOTH, ["set"])


@pytest.mark.parametrize(
    ("query", "error", "sentence"),
    [
        ({"measure": "os:getcwd"}, ConfigError, "measure is 'os:getcwd', expected len, r_each"),
        ({"reference": "none"}, ConfigError, "there is no group 'none'"),
        ({"one": "../secret"}, ConfigError, "'../secret' is none of the runs that are compared"),
    ],
)
def test_what_cannot_be_compared(
    folder: Path, query: dict[str, str], error: type[BillpError], sentence: str
) -> None:
    """Nothing that an address names is imported, or opened outside the folder."""
    with pytest.raises(error, match=sentence.replace("..", r"\.\.")):
        compare_page(asked(folder, BOTH, **query))


def test_a_run_outside_the_folder_is_not_compared(folder: Path) -> None:
    with pytest.raises(RunDirectoryError, match="there is no run"):
        compare_page(asked(folder, ["../elsewhere", *BOTH]))


def test_a_comparison_is_a_page(folder: Path) -> None:
    address = f"/compare?run={BOTH[0]}&run={BOTH[1]}"
    text = page(folder, address)
    assert "act-only against random" in text
    assert "/diff?run=set%2Fact-only&amp;run=set%2Frandom&amp;k=" in text
    assert json.loads(page(folder, f"{address}&json"))["runs"] == BOTH


# -- side by side


def test_a_visit_is_set_beside_that_of_the_same_user(folder: Path) -> None:
    facts = beside(folder, BOTH, k="2")
    assert facts.row.episode == 2
    assert facts.row.user == facts.beside.user
    assert facts.found.first is not None


def test_any_two_episodes_may_be_set_side_by_side(folder: Path) -> None:
    facts = beside(folder, [BOTH[0]] * 2, k="1", **{"with": "1"})
    assert facts.found.first is None
    assert beside(folder, [BOTH[0]] * 2, k="1", **{"with": "2"}).found.first is not None


@pytest.mark.parametrize(
    ("runs", "k", "sentence"),
    [(BOTH[:1], "0", "two runs can be set side by side, got 1"), (BOTH, "9", "there is no ep")],
)
def test_what_cannot_be_set_side_by_side(
    folder: Path, runs: list[str], k: str, sentence: str
) -> None:
    with pytest.raises(BillpError, match=sentence):
        diff_page(asked(folder, runs, k=k))


def test_two_episodes_are_a_page_and_their_words_are_text(folder: Path, tmp_path: Path) -> None:
    """Where they part is marked, and markup in what was said is none."""
    for name in ("one", "other"):
        run = recorded(tmp_path / name, agent="act-only", episodes=2)
        _plant(run, b"<script>alert('%b')</script>" % name.encode())
    text = page(tmp_path, "/diff?run=one&run=other&k=0")
    assert text.count('id="first"') == 1
    assert "<del>one</del>" in text
    assert "<script>alert" not in text


def _plant(run: RunDirectory, words: bytes) -> None:
    """Let the first title of a trace be *words*."""
    before, title, rest = run.trace.read_bytes().partition(b'"title":"')
    run.trace.write_bytes(before + title + words + rest[rest.index(b'"') :])
