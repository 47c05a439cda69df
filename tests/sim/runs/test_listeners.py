"""Listeners and followers of the user's own."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.bus import Bus
from engine.errors import ConfigError
from engine.messages import RunEnded, RunStarted
from sim.runs.listeners import Listeners, load_listeners

HEAD = RunStarted(schema=1, agent="billp", model="embedded", environment="ab", seed=0, settings=())
TALKATIVE = """
from engine.messages import RunEnded

class Everything:
    def __init__(self):
        self.heard = []

    def __call__(self, envelope):
        self.heard.append(type(envelope.message).__name__)

    def result(self):
        return self.heard

class Ends(Everything):
    hears = RunEnded

class Live(Everything):
    live = True

class Keyed(Everything):
    def result(self):
        return {(1, 2): 3}

class Torn(Everything):
    def result(self):
        return chr(0xD800)

class Silent:
    def __call__(self, envelope):
        pass

class Demanding:
    def __init__(self, size):
        pass

class Clumsy(Silent):
    def __init__(self):
        self.missing
"""

Writing = Callable[[str, str], None]


@pytest.fixture
def writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writing]:
    """Give a function that writes a module into the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)

    def write(name: str, code: str) -> None:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


def heard(listeners: Listeners) -> dict[str, Any]:
    """Return what *listeners* found on a run without episodes."""

    async def run() -> None:
        bus: Bus[None] = Bus()
        listeners.attach(bus)
        await bus.open(HEAD)
        await bus.close(RunEnded(episodes=0, failed=0), 0)

    asyncio.run(run())
    return listeners.results()


def test_listeners_are_found_beside_the_user(writing: Writing) -> None:
    """A module in the current directory, as `python -m` would find it; live or in order."""
    writing("beside_me", TALKATIVE)
    names = ["beside_me:Everything", "beside_me:Live"]
    both = ["RunStarted", "RunEnded"]
    assert heard(load_listeners(names)) == dict.fromkeys(names, both)


def test_listeners_hear_what_they_ask_for(writing: Writing) -> None:
    writing("choosing", TALKATIVE)
    assert heard(load_listeners(["choosing:Ends"])) == {"choosing:Ends": ["RunEnded"]}


def test_only_results_are_reported(writing: Writing) -> None:
    """A listener without `result` says nothing in the summary."""
    writing("silent", TALKATIVE)
    assert heard(load_listeners(["silent:Silent"])) == {}


@pytest.mark.parametrize("name", ["Keyed", "Torn"])
def test_a_result_that_is_no_json_costs_nobody_the_run(writing: Writing, name: str) -> None:
    writing("unfit", TALKATIVE)
    with capture_logs():
        results = heard(load_listeners([f"unfit:{name}"]))
    assert "Error: " in results[f"unfit:{name}"]["error"]


def test_no_listeners_are_none() -> None:
    assert load_listeners([]).results() == {}


@pytest.mark.parametrize("name", ["module", "module:", ":Class", ":", ""])
def test_a_name_has_a_module_and_a_class(name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no listener '{name}'") as caught:
        load_listeners([name])
    assert "package.module:object" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "nowhere_at_all:Class",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("broken:Class", "cannot be imported: SyntaxError: .*broken.py, line 1"),
        ("sound:Missing", "module 'sound' has no attribute 'Missing'"),
        ("sound:Demanding", "cannot be made: TypeError: .*'size'"),
        ("sound:Clumsy", "object has no attribute 'missing'"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(
    writing: Writing, name: str, sentence: str
) -> None:
    """Before the run begins, with the name that was asked for and the reason."""
    writing("sound", TALKATIVE)
    writing("broken", "class Class(:\n")
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_listeners([name])
    assert str(caught.value).startswith(f"listener '{name}'")
