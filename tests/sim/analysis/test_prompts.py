"""What calls asked, word for word: as it was kept, and as it is made again."""

from pathlib import Path

import msgspec
import pytest

from engine.calls import Call
from engine.messages import EpisodeStarted
from sim.analysis.prompts import Prompts, diff_lines, is_exact, prompts_of
from sim.analysis.steps import asked_in
from sim.config.layers import configured
from sim.config.stages import read_course
from sim.runs.run import run
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.small import SMALL, synthetic

EPISODE = 3


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("runs") / "kept"
    run(configured(SMALL, {"prompts": True}), out=path)
    return RunDirectory(path)


def wanted(directory: RunDirectory) -> frozenset[str]:
    return frozenset(call.request for call in asked_in(read_episode(directory.trace, EPISODE)))


def prompts(directory: RunDirectory, *, here: bool = True) -> Prompts:
    world = synthetic() if here else None
    return prompts_of(directory, EPISODE, wanted(directory), world, "it is away")


def test_prompts_are_made_again_as_they_were(recorded: RunDirectory, tmp_path: Path) -> None:
    """A run that kept none tells the same, word for word."""
    out = tmp_path / "bare"
    run(configured(SMALL), out=out)
    kept, made = prompts(recorded), prompts(RunDirectory(out))
    assert (kept.again, made.again) == (False, True)
    assert kept.texts == made.texts
    assert {*kept.texts} == wanted(recorded)


def test_without_its_world_nothing_is_made_again(tmp_path: Path) -> None:
    """What the run did not keep is not there, and it says why."""
    out = tmp_path / "bare"
    run(configured(SMALL, {"episodes": 4}), out=out)
    found = prompts(RunDirectory(out), here=False)
    assert found.texts == {}
    assert "it is away" in found.unknown


def test_a_text_is_proved_by_its_digest(recorded: RunDirectory) -> None:
    """What was asked is told from what somebody wrote into the file later."""
    envelopes = read_episode(recorded.trace, EPISODE)
    started = envelopes[0].message
    assert isinstance(started, EpisodeStarted)
    course = read_course(recorded.read_config(), proven=True)
    for asked in asked_in(envelopes):
        text = prompts(recorded).texts[asked.request]
        who = (started.user, started.session)
        call = Call(EPISODE, *who, asked.step, asked.role, asked.occurrence)
        assert is_exact(text, call, course)
        altered = msgspec.structs.replace(text, text=f"{text.text} ")
        assert not is_exact(altered, call, course)


def test_a_diff_shows_what_changed_and_little_else() -> None:
    """Lines that came and went stand with their neighbours; of the rest it says how many."""
    old = "\n".join(map(str, range(20)))
    new = old.replace("\n9\n", "\nnine\n")
    found = diff_lines(old, new) or ()
    assert [line.text for line in found if line.change == "removed"] == ["9"]
    assert [line.text for line in found if line.change == "added"] == ["nine"]
    assert [line.text for line in found if line.change == "same"] == ["7", "8", "10", "11"]
    assert [line.text for line in found if line.change == "skipped"] == [
        "7 lines alike",
        "8 lines alike",
    ]


def test_texts_that_nobody_would_compare_are_not_compared() -> None:
    """A diff of very long texts would take long, and be read by nobody."""
    assert diff_lines("x\n" * 5_000, "y") is None
