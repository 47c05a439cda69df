"""The performance book says what was measured, where and when; nothing is asserted on speed."""

import math
from functools import partial
from pathlib import Path

import msgspec
import pytest

from engine.errors import BillpError
from sim.bench.book import Book, measured
from sim.bench.chapters import CHAPTERS
from sim.bench.children import Measurer, Sizes, in_child, job
from sim.bench.cost import Cost, cost_of, times, typical
from sim.bench.figures import exponent
from sim.bench.rivals import RIVALS, rivals
from sim.views.bench import bench_markdown, bench_view
from sim.views.console import Visible
from tests.support.shell import Shell

TINY = Sizes(
    rounds=1,
    episodes=10,
    many=(12,),
    all_episodes=(5, 10),
    batches_episodes=(5, 10),
    messages=500,
    calls=50,
    in_flight=4,
)


def silent(_: str) -> None:
    """Hear nothing."""


def seen(book: Book) -> str:
    console = Visible(width=80, record=True, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        console.print(bench_view(book))
    return captured.get()


def test_a_chapter_is_measured_and_told() -> None:
    """With machine, commit and command; each figure beside what it is compared with."""
    book = measured(["start"], silent, sizes=TINY)
    (chapter,) = book.chapters
    *ours, yardstick = chapter.figures
    assert [figure.what for figure in ours] == ["billp --help", "import sim"]
    assert {figure.yardstick for figure in ours} == {yardstick.what}
    assert all(figure.ratio is not None and figure.seconds > 0 for figure in ours)
    assert yardstick.ratio is None
    page = seen(book)
    assert max(map(len, page.splitlines())) <= 80
    assert book.machine.processor in page
    markdown = bench_markdown(book)
    assert markdown.startswith("# What billp costs\n")
    assert f"Python {book.process.python}" in markdown
    assert markdown.count("| import sim | ") == 1


def test_a_chapter_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sentence, hint = Shell(capsys).refusal("bench", "--only", "speed")
    assert sentence == "there is no chapter 'speed'"
    assert hint == f"there are {', '.join(CHAPTERS)}"


def test_a_page_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is measured."""
    out = tmp_path / "nowhere" / "book.md"
    sentence, _ = Shell(capsys).refusal("bench", "--out", out)
    assert sentence == f"--out: there is no directory {str(out.parent)!r}"


def test_a_job_that_fails_is_named() -> None:
    with pytest.raises(BillpError, match=r"^start could not be measured: .*'nonsense'"):
        in_child(job("starts", "start", nonsense=1))


def test_a_cost_counts_processes_that_were_waited_for() -> None:
    """As those of workers; and it can be sent."""
    cost = cost_of(partial(sum, range(1_000)), line=2.0)
    assert (cost.count, cost.told) == (499_500, {"line": 2.0})
    assert cost.peak > 1
    assert msgspec.json.decode(msgspec.json.encode(cost), type=Cost) == cost
    started = in_child(job("starts", "start", code="sum(range(10**6))"))
    assert started.seconds > 0


def spent(*seconds: float, count: int = 10) -> list[Cost]:
    return [Cost(count=count, seconds=one, wall=one) for one in seconds]


def test_rounds_are_compared_one_by_one() -> None:
    """A round in which the machine was slow was so for both."""
    assert times(spent(2.0, 20.0, 2.2), spent(1.0, 10.0, 1.0)) == pytest.approx(2.0)
    assert times(spent(2.0, count=1), spent(2.0, count=4)) == pytest.approx(4.0)
    assert typical(spent(3.0, 1.0, 2.0)).seconds == 2.0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_a_law(power: float) -> None:
    points = [(x, 3 * math.pow(x, power)) for x in (100.0, 316.0, 1_000.0, 10_000.0)]
    assert exponent(points) == pytest.approx(power)


@pytest.mark.slow
def test_every_chapter_can_be_measured() -> None:
    """All of the book, if little of it."""
    book = measured([], silent, sizes=TINY)
    assert [chapter.name for chapter in book.chapters] == list(CHAPTERS)
    for chapter in book.chapters:
        assert chapter.figures or chapter.notes
        assert all(figure.value > 0 and figure.seconds > 0 for figure in chapter.figures)
    assert max(map(len, seen(book).splitlines())) <= 80


@pytest.mark.slow
def test_the_command_prints_the_book(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, and as a page; what is measured next is told aside."""
    page = tmp_path / "book.md"
    said = Shell(capsys).billp("bench", "--only", "start", "--json", "--out", page)
    assert said.status == 0
    assert "import sim" in said.err
    book = msgspec.json.decode(said.out, type=Book)
    assert page.read_text("utf-8") == bench_markdown(book)


@pytest.mark.slow
def test_who_cannot_be_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And said to be."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    chapter = rivals(Measurer(tmp_path, TINY), RIVALS[:1])
    assert chapter.figures == ()
    (note,) = chapter.notes
    assert note.startswith(f"{RIVALS[0].package} was left out: pip cannot install it: ")
