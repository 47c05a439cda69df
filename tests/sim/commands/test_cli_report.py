"""`billp report`: one file of runs, without a network and without scripts."""

import re
import shutil
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from sim.views.web.offered import folder_of, report, report_html
from storage.runs import RunDirectory
from tests.support.lacking import without
from tests.support.shell import Shell
from tests.support.small import recorded

PLANTED = "<script>alert(1)</script>"
FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs; titles of the first hold what somebody would like to be obeyed."""
    folder = tmp_path_factory.mktemp("runs")
    run = recorded(folder / "first", episodes=4)
    _plant(run, PLANTED, FORMULA, "javascript:alert(2)")
    recorded(folder / "second", agent="random", episodes=4)
    return folder


def _plant(run: RunDirectory, *titles: str) -> None:
    """Let the first titles that are recommended be others, wherever they stand."""
    text = run.trace.read_text()
    for old, new in zip(
        dict.fromkeys(re.findall(r'"title":"([^"]+)"', text)), titles, strict=False
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    run.trace.write_text(text)


@pytest.fixture(scope="module")
def text(runs: Path) -> str:
    return report_html(report(folder_of([runs]), 9))


@pytest.mark.slow
def test_a_report_is_the_same_bytes_every_time(shell: Shell, runs: Path, tmp_path: Path) -> None:
    """Wherever it is written, and whenever."""
    for name in ("one.html", "other.html"):
        assert shell.fine("report", runs, "--out", tmp_path / name).split() == [
            str(tmp_path / name)
        ]
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_a_report_asks_for_nothing(text: str) -> None:
    """All that it shows is in it: no address leads out, and no script is there."""
    assert not re.search(r'(?:src|href)="(?!data:image/|#)', text)
    assert "<script" not in text
    assert not re.search(r" (?:on\w+|style)=", text)


def test_the_policy_allows_its_own_style_alone(text: str) -> None:
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;; img-src data:" in text


def test_what_was_said_is_text(text: str) -> None:
    """In the page, and in its pictures."""
    assert "&lt;script&gt;alert(1)" in text
    assert "javascript:alert(2)" in text
    assert FORMULA in text
    drawings = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", text)
    assert drawings
    assert all(b"<script" not in b64decode(data) for data in drawings)


def test_a_report_tells_of_each_run_and_compares_them(text: str, runs: Path) -> None:
    """Where runs lie on this machine is nobody's business who reads it."""
    for name in (
        "first",
        "second",
        "Comparison",
        "digest",
        "Configuration",
        "What the memories hold",
    ):
        assert name in text
    assert str(runs) not in text


def test_every_link_leads_somewhere(text: str) -> None:
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len({*names})
    assert {*re.findall(r'href="#([^"]+)"', text)} <= {*names}


def test_a_report_may_have_few_episodes(shell: Shell, runs: Path, tmp_path: Path) -> None:
    shell.fine("report", runs / "second", "--out", tmp_path / "a.html", "--episodes", "2")
    assert (tmp_path / "a.html").read_text().count('<h3 id="r0e') == 2


@pytest.mark.slow
def test_charts_are_written_beside_a_report(shell: Shell, runs: Path, tmp_path: Path) -> None:
    shell.fine("report", runs, "--out", tmp_path / "a.html", "--plots", tmp_path / "plots")
    written = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"forest.svg", "forest.png", "first-memory.svg", "second-rewards.png"} <= written


def test_runs_that_cannot_be_compared_are_told_of_all_the_same(
    shell: Shell, runs: Path, tmp_path: Path
) -> None:
    """Two runs of one agent under one seed, say; the report says why."""
    for name in ("a", "b"):
        shutil.copytree(runs / "second", tmp_path / "runs" / name)
    shell.fine("report", tmp_path / "runs", "--out", tmp_path / "a.html", "--episodes", "0")
    assert "These runs are not compared: b: random with seed" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--out", "a.txt"), "--out: expected a file named .html, got 'a.txt'"),
        (("--out", "no/a.html"), "--out: there is no directory 'no'"),
        (("--pdf", "a.html"), "--pdf: expected a file named .pdf, got 'a.html'"),
    ],
)
def test_what_cannot_be_written(
    shell: Shell, runs: Path, options: tuple[str, str], sentence: str
) -> None:
    assert shell.refusal("report", runs, *options)[0] == sentence


def test_a_folder_without_runs(shell: Shell, tmp_path: Path) -> None:
    sentence, _ = shell.refusal("report", tmp_path, "--out", tmp_path / "a.html")
    assert sentence == f"{tmp_path}: there is no run to report on"


def test_paper_needs_a_browser(
    shell: Shell, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is said before anything is written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = "--out", tmp_path / "a.html", "--pdf", tmp_path / "a.pdf"
    sentence, hint = shell.refusal("report", runs, *paths)
    assert sentence == "--pdf needs Chromium, and there is none on the PATH"
    assert "install chromium" in hint
    assert not (tmp_path / "a.html").exists()


def test_a_report_needs_an_extra(shell: Shell, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "sim.views", "jinja2", "altair")
    sentence, hint = shell.refusal("report", runs)
    assert sentence.startswith("billp report needs the extra view: ")
    assert hint == "pip install 'billp[view]'"


@pytest.mark.slow
def test_a_report_is_printed(shell: Shell, runs: Path, tmp_path: Path) -> None:
    paths = "--out", tmp_path / "a.html", "--pdf", tmp_path / "a.pdf"
    shell.fine("report", runs / "second", *paths, "--episodes", "1")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
