"""What is planted in a run is text on every page: nothing of it is an element, a link or a sign."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from sim.views.web.site import PAGES
from tests.support.planted import NAME, PLANTED, planted
from tests.support.viewed import Answer, asked, crawled, viewed

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("planted") / "runs"
    planted(folder)
    planted(folder, "other", seed=1)
    with viewed(folder) as url:
        yield url


@pytest.fixture(scope="module")
def pages(url: str) -> dict[str, Answer]:
    """Return every page there is."""
    two = f"run={quote(NAME)}&run=other"
    return crawled(url, 300, f"/compare?{two}", f"/diff?{two}&k=0", "/memory/other", "/map/other")


class Elements(HTMLParser):
    """What a browser would make of a page: its elements, and the scripts that are data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.data: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and data.strip():
            self.data.append(data)


def rendered(pages: dict[str, Answer]) -> dict[str, Answer]:
    return {path: one for path, one in pages.items() if "text/html" in one.headers["Content-Type"]}


def test_there_is_something_to_look_at(pages: dict[str, Answer]) -> None:
    """All kinds of pages were come to, and what was planted stands in them."""
    kinds = {path.split("/")[1].partition("?")[0] for path in pages}
    assert kinds >= {*PAGES}
    assert {answer.status for answer in pages.values()} <= {200, 400}
    everything = "".join(answer.body for answer in rendered(pages).values())
    assert "&lt;script&gt;document.planted = &#39;script&#39;&lt;/script&gt;" in everything
    assert "javascript:document.planted" in everything
    assert "{{ 7 * 7 }}{% for x in page %}" in everything
    assert r"\x1b[31m\x07\u202eright to left" in everything


def test_no_element_is_planted(pages: dict[str, Answer]) -> None:
    """Neither a picture nor anything that does something, and no script but our files."""
    for path, answer in rendered(pages).items():
        for tag, told in Elements(answer.body).found:
            assert tag not in {"img", "iframe", "object", "embed", "base", "b"}, path
            assert not [name for name in told if name.startswith("on") or name == "style"], path
            if tag == "script":
                ours = told.get("src", "").startswith("/static/")
                assert ours or told.get("type") == "application/json", path


def test_no_address_is_planted(pages: dict[str, Answer]) -> None:
    """Whatever is followed or loaded is of this service."""
    for path, answer in rendered(pages).items():
        for _, told in Elements(answer.body).found:
            for name in {"href", "src", "action", "formaction", "data-src", "trend", "calls"} & {
                *told
            }:
                assert re.match(r"/(?!/)|#", told[name]), path


def test_no_sign_is_obeyed(pages: dict[str, Answer]) -> None:
    """Control characters, and what turns the direction of reading, are shown as escapes."""
    for path, answer in pages.items():
        assert not OBEYED.search(answer.body), path


def test_data_for_scripts_is_data(pages: dict[str, Answer]) -> None:
    """What a script reads ends where it should, and is what was meant."""
    specs = [data for page in rendered(pages).values() for data in Elements(page.body).data]
    assert len(specs) > 3
    for data in specs:
        assert "<" not in data
        assert isinstance(json.loads(data), dict)


def test_json_says_what_was_planted(url: str, pages: dict[str, Answer]) -> None:
    """The facts are unchanged, and of a type that no browser takes for a page."""
    path = next(path for path in pages if path.startswith("/episode/") and path.endswith("json"))
    answer = asked(url, path)
    assert answer.headers["Content-Type"] == "application/json"
    history = json.loads(answer.body)["started"]["history"]
    assert history[0][1] == f"{PLANTED[0]} 0"
    assert json.loads(answer.body)["run"] in {NAME, "other"}
