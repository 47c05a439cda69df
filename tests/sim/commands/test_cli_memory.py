"""`billp memory`: what memories hold, what was recalled of them, and a map."""

import csv
import shutil
from math import fsum
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from agents.billp.memories import EXPERIENCES, REFLECTIONS, VALUATIONS, Reflection
from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.serving.server import Server
from engine.messages import ActionTaken, EpisodeStarted, PlanMade
from sim.runs.importing import import_trajectories
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.lacking import without
from tests.support.shell import Shell, tree
from tests.support.small import only, recorded, trace_of

LAST = 5
"""An episode of the second batch, which recalls what the first one learned."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return recorded(tmp_path_factory.mktemp("run") / "finished", arrivals="batches:3")


@pytest.fixture
def copy(finished: RunDirectory, tmp_path: Path) -> RunDirectory:
    """Give a copy to spoil."""
    return RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "copy")))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def told(shell: Shell, *arguments: str | Path) -> dict[str, Any]:
    """Return the one JSON object that a command writes."""
    found: dict[str, Any] = msgspec.json.decode(shell.fine("memory", *arguments, "--json"))
    return found


# -- the numbers


def test_the_numbers_are_told_with_a_caution(shell: Shell, finished: RunDirectory) -> None:
    page = shell.fine("memory", finished.path)
    assert page.startswith("The agent billp, 6 episodes.\n")
    for text in ("planner", "actor", "critic", "encouraged", "nothing recalled", "R_traj"):
        assert f" {text} " in page
    assert "Observed, not caused" in page
    assert "The embedded model is a stand-in" in page


def test_the_numbers_fit_a_terminal(
    capsys: pytest.CaptureFixture[str], finished: RunDirectory
) -> None:
    page = Shell(capsys, width=80).fine("memory", finished.path)
    assert "…" not in page


def test_json_tells_the_same_in_one_object(shell: Shell, finished: RunDirectory) -> None:
    facts = told(shell, finished.path)
    writers = {one["memory"]: one["writers"] for one in facts["memories"]}
    assert writers == {"planner": 6, "actor": 6, "critic": 6}
    steps = len(only(trace_of(finished), ActionTaken))
    assert sum(row["steps"] for row in facts["followed"]) == steps
    assert sum(row["episodes"] for row in facts["guided"]) == facts["episodes"] == 6
    assert (facts["agent"], facts["finished"]) == ("billp", True)


def test_phases_are_told_apart_where_there_are_tests(shell: Shell, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", episodes=2, test_episodes=2)
    page = shell.fine("memory", run.path)
    assert "train, with reflections" in page
    assert "test, with reflections" in page
    phases = [row["phase"] for row in told(shell, run.path)["guided"]]
    assert phases == ["train", "train", "test", "test"]


def test_an_unfinished_run_tells_what_its_trace_does(shell: Shell, copy: RunDirectory) -> None:
    """The same numbers, and that there may be more."""
    before = told(shell, copy.path)
    copy.summary.unlink()
    shutil.rmtree(copy.memory)
    assert "The run is not finished" in shell.fine("memory", copy.path)
    assert told(shell, copy.path) == {**before, "finished": False}


def test_an_agent_that_reads_all_of_its_memory(shell: Shell, tmp_path: Path) -> None:
    """No message tells of recalls: that is said, and not a zero left to be misread."""
    run = recorded(tmp_path / "run", agent="linucb", episodes=2)
    assert "Recalls of trials leave no mark in a trace" in shell.fine("memory", run.path)
    assert "No memory was asked there" in shell.fine("memory", run.path, "--episode", "1:0")
    assert "pay-off" in shell.fine("memory", run.path, "--list", "trials")
    sentence, _ = shell.refusal("memory", run.path, "--map", tmp_path / "map.csv")
    assert sentence.endswith("nothing can be drawn")


# -- records


def test_a_memory_is_listed(shell: Shell, finished: RunDirectory) -> None:
    """The oldest records first, as many as were asked for, and how many more there are."""
    log = Memory.load(finished.memory, REFLECTIONS)
    page = shell.fine("memory", finished.path, "--list", "planner", "--limit", "2")
    for position in (0, 1):
        assert log[position].payload.text in page
    assert "4 records more" in page
    shown = told(shell, finished.path, "--list", "planner")
    assert [(one["episode"], one["says"]) for one in shown["shown"]] == [
        (record.episode, record.payload.text) for record in log.records()
    ]


def test_a_long_record_is_cut_for_people(shell: Shell, copy: RunDirectory) -> None:
    """Whole in JSON."""
    text = "word " * 400 + "end"
    known, longer = Memory.load(copy.memory, REFLECTIONS), Memory(REFLECTIONS)
    for record in known.records():
        longer.append(msgspec.structs.replace(record, payload=Reflection(text=text)))
    longer.save(copy.memory)
    page = shell.fine("memory", copy.path, "--list", "planner", "--limit", "1")
    assert "word …" in page
    assert len(page) < 10_000
    assert told(shell, copy.path, "--list", "planner")["shown"][0]["says"].startswith(text)


def test_a_record_that_was_altered_is_refused(shell: Shell, copy: RunDirectory) -> None:
    """Its line does not agree with its checksum any more."""
    lines = copy.memory / "planner.jsonl"
    lines.write_bytes(lines.read_bytes().replace(b'"text":"', b'"text":"Not ', 1))
    sentence, _ = shell.refusal("memory", copy.path, "--list", "planner")
    assert "planner.jsonl:1: not a record" in sentence


def test_records_are_found_by_likeness(shell: Shell, finished: RunDirectory) -> None:
    """A user's history is the key of the reflection on that user."""
    trace = trace_of(finished)
    history = only(trace, EpisodeStarted)[2].history
    text = "\n".join(rated.title for rated in history)
    found = told(shell, finished.path, "--like", text, "--limit", "1")["found"][0]
    entry = found["entry"]
    assert (found["distance"], entry["memory"], entry["episode"]) == (0, "planner", 2)
    assert entry["says"] in shell.fine("memory", finished.path, "--like", text, "--limit", "1")


def test_likeness_is_looked_for_in_one_memory(shell: Shell, finished: RunDirectory) -> None:
    found = told(shell, finished.path, "--list", "actor", "--like", "nothing yet", "--limit", "6")
    records = Memory.load(finished.memory, EXPERIENCES).records()
    first = [n for n, record in enumerate(records) if (record.key == hashed(["nothing yet"])).all()]
    assert [(one["entry"]["position"], one["distance"]) for one in found["found"]] == [
        (n, 0) for n in first
    ]


def test_vectors_of_a_service_are_taken_as_recorded(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the run embedded can be looked for; for anything else the service would be needed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-a-test")
    server = Server(EmbeddedModel(), embed=lambda text: hashed(text.splitlines()).tolist())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as url:
        how: dict[str, Any] = {"embeddings": "openai/embedded", "base_url": url, "episodes": 2}
        run = recorded(tmp_path / "run", None, **how)
    titles = [rated.title for rated in only(trace_of(run), EpisodeStarted)[0].history]
    found = told(shell, run.path, "--like", "\n".join(titles), "--limit", "1")["found"]
    assert found[0]["distance"] == 0
    sentence, hint = shell.refusal("memory", run.path, "--like", "Chess")
    assert sentence == "the keys are openai/embedded's, and its vector of 'Chess' is not recorded"
    assert "one a line" in hint


# -- what was recalled where


def test_what_was_recalled_at_a_step_is_told(shell: Shell, finished: RunDirectory) -> None:
    """From which episode, how near, and what it said."""
    asked = told(shell, finished.path, "--episode", f"{LAST}:0")["asked"]
    assert [(one["memory"], one["at"]) for one in asked] == [
        ("planner", 0),
        ("actor", 0),
        ("critic", 0),
        ("critic", 1),
    ]
    episode = [e.message for e in trace_of(finished) if e.episode == LAST]
    plan = next(m for m in episode if isinstance(m, PlanMade))
    log = Memory.load(finished.memory, REFLECTIONS)
    assert asked[0]["found"] == [
        {
            "position": one.position,
            "episode": one.episode,
            "distance": one.distance,
            "says": log[one.position].payload.text,
        }
        for one in plan.reflections
    ]
    page = shell.fine("memory", finished.path, "--episode", f"{LAST}:0")
    assert all(one["says"] in page for one in asked[0]["found"])


def test_what_nobody_could_know_yet_is_said_to_be_nothing(
    shell: Shell, finished: RunDirectory
) -> None:
    assert "nothing was near enough" in shell.fine("memory", finished.path, "--episode", "0:0")


@pytest.mark.parametrize("asked", [("--episode", f"{LAST}:0"), ("--list", "critic")])
def test_an_unfinished_run_tells_records_by_its_trace(
    shell: Shell, copy: RunDirectory, asked: tuple[str, ...]
) -> None:
    """The same as in the end, before any memory is saved."""
    before = told(shell, copy.path, *asked)
    copy.summary.unlink()
    shutil.rmtree(copy.memory)
    assert told(shell, copy.path, *asked) == before


# -- maps


def test_a_map_is_a_table_of_all_records(
    shell: Shell, finished: RunDirectory, tmp_path: Path
) -> None:
    """Of states by what their item was worth; of reflections by the mean of their episode."""
    path = tmp_path / "map.csv"
    said = told(shell, finished.path, "--map", path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [panel["kind"] for panel in said["panels"]] == ["state", "reflection"]
    assert len(rows) == sum(panel["records"] for panel in said["panels"])
    records = Memory.load(finished.memory, EXPERIENCES).records()
    worths = [(record.episode, record.payload.advantage) for record in records]
    states = [row for row in rows if row["memory"] == "actor"]
    assert [float(row["advantage"]) for row in states] == [worth for _, worth in worths]
    for row in (row for row in rows if row["kind"] == "reflection"):
        own = [worth for episode, worth in worths if episode == int(row["episode"])]
        assert float(row["advantage"]) == pytest.approx(fsum(own) / len(own), abs=1e-5)
    assert {row["advantage"] for row in rows if row["memory"] == VALUATIONS.name} == {""}


@pytest.mark.parametrize("form", ["csv", "svg"])
def test_the_same_memories_make_the_same_file(
    shell: Shell, finished: RunDirectory, tmp_path: Path, form: str
) -> None:
    if form == "svg":
        pytest.importorskip("vl_convert")
    one, other = tmp_path / f"one.{form}", tmp_path / f"other.{form}"
    for path in (one, other):
        assert str(path) in shell.fine("memory", finished.path, "--map", path)
    assert one.read_bytes() == other.read_bytes()


def test_reflections_alone_can_be_drawn(shell: Shell, tmp_path: Path) -> None:
    """An agent that has no advantages draws without colours."""
    pytest.importorskip("vl_convert")
    run = recorded(tmp_path / "run", agent="reflexion", episodes=3)
    path = tmp_path / "map.png"
    panels = told(shell, run.path, "--map", path)["panels"]
    assert [panel["kind"] for panel in panels] == ["reflection"]
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_needs_an_extra(shell: Shell, finished: RunDirectory, tmp_path: Path) -> None:
    with without("sim.views.charts", "altair"):
        sentence, hint = shell.refusal("memory", finished.path, "--map", tmp_path / "map.png")
    assert sentence.startswith("a map as a picture needs the extra view: ")
    assert "pip install 'billp[view]'" in hint
    assert tree(tmp_path) == {}


# -- what cannot be


def test_a_map_of_an_unknown_form(shell: Shell, finished: RunDirectory) -> None:
    sentence, _ = shell.refusal("memory", finished.path, "--map", "map.gif")
    assert sentence == "a map ends in .csv, .png, .svg, .pdf, got 'map.gif'"


def test_a_map_that_cannot_be_written(shell: Shell, finished: RunDirectory, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "map.csv"
    sentence, _ = shell.refusal("memory", finished.path, "--map", path)
    assert sentence == f"{path}: cannot be written: No such file or directory"


@pytest.mark.parametrize(
    "asked", [("--list", "actor", "--episode", "0:0"), ("--like", "", "--map", "map.csv")]
)
def test_one_thing_is_looked_at(
    shell: Shell, finished: RunDirectory, asked: tuple[str, ...]
) -> None:
    sentence, _ = shell.refusal("memory", finished.path, *asked)
    assert sentence == "choose one of --list, --like, --episode and --map"


def test_a_memory_that_does_not_exist(shell: Shell, finished: RunDirectory) -> None:
    sentence, hint = shell.refusal("memory", finished.path, "--list", "trials")
    assert sentence == "there is no memory 'trials'"
    assert hint == "the agent billp has planner, actor, critic"


def test_a_text_that_is_none(shell: Shell, finished: RunDirectory) -> None:
    sentence, _ = shell.refusal("memory", finished.path, "--like", " ")
    assert sentence == "there is nothing to look for in an empty text"


def test_a_place_that_does_not_exist(shell: Shell, finished: RunDirectory) -> None:
    sentence, _ = shell.refusal("memory", finished.path, "--episode", "3")
    assert sentence == "expected EPISODE:STEP, got '3'"
    sentence, hint = shell.refusal("memory", finished.path, "--episode", "6:0")
    assert hint == "it holds 0 to 5"
    sentence, hint = shell.refusal("memory", finished.path, "--episode", "0:99")
    assert sentence == "episode 0 has no step 99"
    assert hint.startswith("it has the steps 0 to ")


@pytest.mark.parametrize("asked", [("--like", "Chess"), ("--map", "map.csv")])
def test_keys_of_an_unfinished_run_are_not_saved_yet(
    shell: Shell, copy: RunDirectory, asked: tuple[str, ...]
) -> None:
    copy.summary.unlink()
    sentence, hint = shell.refusal("memory", copy.path, *asked)
    assert (
        sentence == f"{copy.path}: the run is not finished: keys of memories are saved at its end"
    )
    assert "--list and --episode go by the trace" in hint


def test_what_messages_do_not_tell_is_not_listed(shell: Shell, tmp_path: Path) -> None:
    """An agent's own records may stand in no message: that is said, and no list cut short."""
    run = recorded(tmp_path / "run", agent="linucb", episodes=2)
    run.summary.unlink()
    sentence, _ = shell.refusal("memory", run.path, "--list", "trials")
    assert sentence.endswith("its trace does not tell what the memory 'trials' holds")


def test_memories_that_were_not_kept(shell: Shell, copy: RunDirectory) -> None:
    """The numbers need the trace alone, and so do places without texts."""
    shutil.rmtree(copy.memory)
    sentence, _ = shell.refusal("memory", copy.path, "--list", "actor")
    assert sentence == f"{copy.path}: the memories of the run were not kept"
    assert "encouraged" in shell.fine("memory", copy.path)
    assert "(its text is " in shell.fine("memory", copy.path, "--episode", f"{LAST}:0")


def test_an_agent_without_a_memory(shell: Shell, tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", agent="random", episodes=1)
    sentence, hint = shell.refusal("memory", run.path)
    assert sentence == f"{run.path}: the agent random has no memory"
    assert hint.startswith("those with one: billp, ")


def test_an_imported_run(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "recordings.json"
    file.write_text('{"1": {"traj_by_line": ["Thought 1: Hm.", "Action 1: recommend[Red]"]}}')
    import_trajectories(file, tmp_path / "run")
    sentence, _ = shell.refusal("memory", tmp_path / "run")
    assert sentence == f"{tmp_path / 'run'}: was imported: it tells of no memory"


def test_a_directory_that_is_no_run(shell: Shell, tmp_path: Path) -> None:
    sentence, _ = shell.refusal("memory", tmp_path / "nowhere")
    assert sentence == f"{tmp_path / 'nowhere'}: not a run directory"


def test_a_damaged_trace_is_named(shell: Shell, copy: RunDirectory) -> None:
    lines = copy.trace.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"type"', b'"kind"')
    copy.trace.write_bytes(b"".join(lines))
    sentence, _ = shell.refusal("memory", copy.path)
    assert sentence.startswith(f"{copy.trace}:3: not an envelope: ")


def test_looking_writes_nothing(shell: Shell, finished: RunDirectory) -> None:
    before = tree(finished.path)
    for asked in ((), ("--list", "actor"), ("--like", "Chess"), ("--episode", "3:0")):
        shell.fine("memory", finished.path, *asked)
    assert tree(finished.path) == before
