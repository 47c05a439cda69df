"""The page of a memory: what is near a record, who recalled it, and what followed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ServiceError
from engine.records import distance
from sim.analysis.memory.record import map_of, neighbours, of_episodes, uses
from sim.analysis.memory.recorded import open_memories
from sim.analysis.memory.trace import read_recalls
from sim.config.layers import configured
from sim.runs.run import run
from tests.sim.views.web.test_pages import facts, got
from tests.support.small import SMALL, Counted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run that learned, one that was stopped, and one without a memory."""
    folder = tmp_path_factory.mktemp("memories")
    run(configured(SMALL, {"episodes": 12}), out=folder / "first")
    run(configured(SMALL, {"agent": "random"}), out=folder / "random")
    with pytest.raises(ServiceError):
        run(configured(SMALL, {"episodes": 12}), out=folder / "stopped", model=Counted(150))
    return folder


def test_neighbours_are_the_nearest_of_all(folder: Path) -> None:
    """As by looking at every key."""
    memory = open_memories(folder / "first").saved("actor")
    for position in range(0, len(memory), 5):
        others = [n for n in range(len(memory)) if n != position]
        far = sorted((distance(memory.keys[position], memory.keys[n]), n) for n in others)[:4]
        found = neighbours(memory, position, 4)
        assert [one.entry.position for one in found] == [n for _, n in far]
        assert [one.distance for one in found] == pytest.approx([d for d, _ in far])


def test_uses_are_all_recalls_of_the_record(folder: Path) -> None:
    """Over all records they are what all steps recalled, each with what came of its step."""
    memories = open_memories(folder / "first")
    recalls = read_recalls(memories.directory.trace, memories.memories)
    told = [uses(recalls, "actor", n, 3) for n in range(len(memories.saved("actor")))]
    assert sum(one.count for one in told) == len(recalls.found["actor"]) > 0
    used = next(one for one in told if one.count > 3)
    assert len(used.first) == 3
    assert used.reward is not None
    assert all(use.reward is not None for use in used.first)


def test_a_map_has_every_record_once(folder: Path) -> None:
    memory = open_memories(folder / "first").saved("actor")
    told = map_of(memory)
    assert told.positions == [*range(told.records)]
    assert 0 <= min(told.x + told.y) <= max(told.x + told.y) <= 10_000
    assert all(value is not None for value in told.advantages)
    places = np.array([told.x, told.y]).T
    same = (memory.keys[:, None] == memory.keys[None]).all(axis=2)
    assert (np.abs(places[:, None] - places[None]).sum(axis=2)[same] <= 1).all()


def test_lessons_are_worth_what_their_episode_was(folder: Path) -> None:
    memories = open_memories(folder / "first")
    recalls = read_recalls(memories.directory.trace, memories.memories)
    means = of_episodes(recalls, "actor")
    told = facts_of(folder, "/map/first?name=planner&json")["map"]
    assert told["advantages"] == [means[episode] for episode in told["episodes"]]


def facts_of(folder: Path, address: str) -> Any:
    status, text = got(address, folder)
    assert status == 200
    return json.loads(text)


def test_a_page_tells_a_record_with_its_surroundings(folder: Path) -> None:
    told = facts_of(folder, "/memory/first?name=actor&at=3&json")
    assert told["entry"]["position"] == 3
    assert len(told["near"]) > 3
    status, text = got("/memory/first?name=actor&at=3", folder)
    assert status == 200
    assert "billp-map" in text


def test_a_text_is_looked_for(folder: Path) -> None:
    title = facts_of(folder, "/memory/first?name=actor&at=3&json")["entry"]["record"]["title"]
    found = facts_of(folder, f"/memory/first?name=actor&like={title}&json")["found"]
    assert found


def test_an_unfinished_run_tells_what_its_trace_does(folder: Path) -> None:
    told = facts("/memory/stopped", folder)
    assert told["why"]
    assert got("/memory/stopped?name=actor", folder)[0] == 200


@pytest.mark.parametrize(
    "address",
    [
        "/memory/random",
        "/memory/first?name=none",
        "/memory/first?name=actor&at=99999",
        "/memory/first?name=actor&at=x",
        "/map/stopped?name=actor",
        "/map/first",
    ],
)
def test_what_is_not_there_is_a_sentence(folder: Path, address: str) -> None:
    status, text = got(address, folder)
    assert status in {400, 404}
    assert '<p class="said">' in text
