"""`billp show`: episodes and steps as people read them."""

import shutil
from pathlib import Path

import msgspec
import pytest

from agents.billp.memories import REFLECTIONS
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    Envelope,
    Message,
    PlanMade,
    ReflectionWritten,
    UserResponded,
)
from sim.config.run import RunConfig
from sim.runs.run import run
from storage.memory import Memory
from storage.runs import RunDirectory
from storage.traces import read_episode
from tests.support.shell import Shell

LAST = 5
"""An episode of the second batch, which recalls what the first one learned."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    path = tmp_path_factory.mktemp("run") / "finished"
    run(RunConfig(episodes=6, arrivals="batches:3"), out=path)
    return RunDirectory(path)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def messages(finished: RunDirectory, episode: int) -> list[Message]:
    return [envelope.message for envelope in read_episode(finished.trace, episode)]


def test_an_episode_is_shown_step_by_step(shell: Shell, finished: RunDirectory) -> None:
    """A line for each step, with the item and the reward."""
    page = shell.fine("show", finished.path, "0").splitlines()
    happened = messages(finished, 0)
    actions = [m for m in happened if isinstance(m, ActionTaken)]
    rewards = [m.reward for m in happened if isinstance(m, UserResponded)]
    head = next(n for n, line in enumerate(page) if line.startswith("step"))
    rows = page[head + 1 : page.index("", head)]
    assert len(rows) == len(actions) > 1
    for row, action, reward in zip(rows, actions, rewards, strict=True):
        assert action.title in row
        assert f"{reward:.2f}" in row


def test_an_episode_has_a_beginning_and_an_end(shell: Shell, finished: RunDirectory) -> None:
    """Who came with which history, how it ended, and the lesson that was drawn."""
    page = shell.fine("show", finished.path, "0")
    lesson = next(m.text for m in messages(finished, 0) if isinstance(m, ReflectionWritten))
    assert page.startswith("Episode 0: user ")
    for text in ("history: ", "End: the user left after ", f"Reflection: {lesson}"):
        assert text in page


def test_a_step_is_shown_with_all_that_led_to_it(shell: Shell, finished: RunDirectory) -> None:
    """Thought, what tools said, the model's words, the item, reward, values, advantage."""
    page = shell.fine("show", finished.path, f"{LAST}:0")
    happened = messages(finished, LAST)
    plan = next(m for m in happened if isinstance(m, PlanMade))
    action = next(m for m in happened if isinstance(m, ActionTaken))
    gain = next(m for m in happened if isinstance(m, AdvantageEstimated))
    for text in (plan.thought, action.words, f"{action.title} (item {action.item}, exact)"):
        assert text in page
    for name in ("tool: candidates", "reward", "value before", "value after"):
        assert name in page
    assert page.rstrip().endswith(f"{gain.advantage:+g}")


def test_what_was_recalled_is_shown_in_full(shell: Shell, finished: RunDirectory) -> None:
    """A reflection with its text, the episode that wrote it and how far it was."""
    page = shell.fine("show", finished.path, f"{LAST}:0")
    plan = next(m for m in messages(finished, LAST) if isinstance(m, PlanMade))
    log = Memory.load(finished.memory, REFLECTIONS)
    assert plan.reflections
    for found in plan.reflections:
        place = f"[episode {found.episode}, distance {found.distance:g}]"
        assert f"{log[found.position].payload.text} {place}" in page


@pytest.mark.parametrize("agent", ["reflexion", "billp:no-macro"])
def test_who_has_some_of_the_memories_shows_those(agent: str, shell: Shell, tmp_path: Path) -> None:
    """Not every agent has all three."""
    run(RunConfig(agent=agent, episodes=6, arrivals="batches:3"), out=tmp_path / "run")
    page = shell.fine("show", tmp_path / "run", f"{LAST}:0")
    assert "recalled" in page
    assert "which is not here" not in page


def test_every_step_has_a_page(shell: Shell, finished: RunDirectory) -> None:
    for episode in range(6):
        for message in messages(finished, episode):
            if isinstance(message, ActionTaken):
                page = shell.fine("show", finished.path, f"{episode}:{message.step}")
                assert message.title in page


def test_json_is_the_trace_itself(shell: Shell, finished: RunDirectory) -> None:
    """The episode's lines as they stand there, for programs."""
    lines = shell.fine("show", finished.path, "3", "--json")
    assert lines.encode() in finished.trace.read_bytes()
    decoded = [msgspec.json.decode(line, type=Envelope[Message]) for line in lines.splitlines()]
    assert decoded == read_episode(finished.trace, 3)


def test_an_unfinished_run_can_be_shown(
    shell: Shell, finished: RunDirectory, tmp_path: Path
) -> None:
    """What was recalled is told by the trace, before any memory is saved."""
    unfinished = RunDirectory(tmp_path / "unfinished")
    shutil.copytree(finished.path, unfinished.path)
    shutil.rmtree(unfinished.memory)
    unfinished.summary.unlink()
    for place in (f"{LAST}:0", str(LAST)):
        whole = shell.fine("show", finished.path, place)
        assert shell.fine("show", unfinished.path, place) == whole


def test_a_torn_trace_can_be_shown(shell: Shell, finished: RunDirectory, tmp_path: Path) -> None:
    """A crash may leave half a line; the episodes before it are there."""
    torn = RunDirectory(tmp_path / "torn")
    shutil.copytree(finished.path, torn.path)
    torn.trace.write_bytes(finished.trace.read_bytes()[:-20])
    assert shell.fine("show", torn.path, "0") == shell.fine("show", finished.path, "0")


@pytest.mark.parametrize("place", ["", "first", "1:", ":0", "1:2:3", "1.5", "1:x", "0:-1"])
def test_a_place_is_an_episode_or_a_step(shell: Shell, finished: RunDirectory, place: str) -> None:
    sentence, hint = shell.refusal("show", finished.path, place)
    assert sentence == f"expected EPISODE or EPISODE:STEP, got {place!r}"
    assert hint == "such as 3 or 3:0"


def test_an_episode_that_does_not_exist(shell: Shell, finished: RunDirectory) -> None:
    """The hint says which do."""
    sentence, hint = shell.refusal("show", finished.path, "6")
    assert sentence == f"{finished.trace}: there is no episode 6"
    assert hint == "it holds 0 to 5"


def test_a_step_that_does_not_exist(shell: Shell, finished: RunDirectory) -> None:
    length = sum(isinstance(m, ActionTaken) for m in messages(finished, 0))
    sentence, hint = shell.refusal("show", finished.path, f"0:{length}")
    assert sentence == f"the episode has no step {length}"
    assert hint == f"it has the steps 0 to {length - 1}"


def test_a_directory_that_is_no_run(shell: Shell, tmp_path: Path) -> None:
    sentence, hint = shell.refusal("show", tmp_path / "nowhere", "0")
    assert sentence == f"{tmp_path / 'nowhere'}: not a run directory"
    assert "billp run" in hint


def test_a_damaged_line_is_named(shell: Shell, finished: RunDirectory, tmp_path: Path) -> None:
    """With its place in the trace, and never a traceback."""
    damaged = RunDirectory(tmp_path / "damaged")
    shutil.copytree(finished.path, damaged.path)
    lines = finished.trace.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"type"', b'"kind"')
    damaged.trace.write_bytes(b"".join(lines))
    sentence, _ = shell.refusal("show", damaged.path, "0")
    assert sentence.startswith(f"{damaged.trace}:3: not an envelope: ")
