"""A recorded run in Python: everything that is in its directory, typed, and one sentence if not."""

import re
import sys
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import msgspec
import polars as pl
import pytest

import sim
from agents.billp.memories import EXPERIENCES, Experience, Reflection
from agents.making import AgentMemory
from engine.errors import BillpError, ServiceError
from engine.messages import ActionTaken, EpisodeStarted, Message, PlanMade, UserResponded
from sim import Run
from sim.config.layers import configured
from sim.library.run import _called
from sim.runs.importing import import_trajectories
from sim.runs.listeners import Listeners
from storage import tables
from storage.journal import read_journal
from storage.runs import RunDirectory
from storage.traces import read_kind
from tests.support.small import SMALL, Counted, Failing, only, recorded, synthetic, trace_of

CONFIG = configured(SMALL, {})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished run, one with a failed episode, and one that was stopped."""
    path = tmp_path_factory.mktemp("library")
    recorded(path / "whole")
    recorded(path / "failed", Failing())
    with pytest.raises(ServiceError):
        recorded(path / "torn", Counted(last=60))
    return path


@pytest.fixture(scope="module")
def run(here: Path) -> Run:
    return Run.open(here / "whole")


# -- what it was and what came of it


def test_a_run_says_what_running_it_returned(tmp_path: Path) -> None:
    """Nothing is lost on the way through the files, not even who listened."""
    listeners = Listeners({"mine": Last()})
    summary = sim.run(CONFIG, out=tmp_path / "run", environment=synthetic(), listeners=listeners)
    run = Run.open(summary.run)
    assert run.summary == summary
    assert run.summary.listeners == {"mine": 5}
    assert (run.metrics, run.digest, run.config) == (summary.metrics, summary.digest, CONFIG)


class Last:
    """The number of the last episode."""

    hears = EpisodeStarted

    def __call__(self, envelope: object) -> None:
        self.episode = getattr(envelope, "episode", None)

    def result(self) -> object:
        return self.episode


def test_an_unfinished_run_has_the_metrics_of_what_is_there(here: Path) -> None:
    """Those that a shorter run would have had; it has no summary, and says how to go on."""
    torn = Run.open(here / "torn")
    whole = sum(episode.whole for episode in torn.episodes())
    assert 0 < torn.metrics.episodes == whole < CONFIG.episodes
    with pytest.raises(BillpError, match="is not finished: it has no summary") as caught:
        _ = torn.summary
    assert "billp resume" in caught.value.hint


def test_metrics_of_a_finished_run_can_be_reckoned_from_its_trace(here: Path) -> None:
    """So those of an unfinished one mean the same."""
    run = Run.open(here / "failed")
    told = run.metrics
    run.directory.summary.rename(here / "summary.json")
    assert (run.finished, run.metrics) == (False, told)
    (here / "summary.json").rename(run.directory.summary)


# -- what happened in it


@pytest.mark.parametrize("kind", get_args(Message))
def test_a_frame_has_a_row_for_each_message(kind: type[Message], here: Path) -> None:
    """By name or by type; also if there is none."""
    run = Run.open(here / "failed")
    frame = run.frame(kind)
    assert frame.equals(run.frame(kind.__name__))
    fields = [field.name for field in msgspec.structs.fields(kind)]
    assert frame.columns == ["episode", "n", "cause", "time", *fields]
    assert frame.height == len(only(trace_of(run.directory), kind))
    assert pl.Null not in frame.dtypes


def test_a_frame_says_what_the_messages_say(run: Run) -> None:
    envelopes = list(read_kind(run.directory.trace, UserResponded))
    rows = run.frame("UserResponded").select("episode", "n", "cause", "time", "reward").rows()
    assert rows == [(e.episode, e.n, e.cause, e.time, e.message.reward) for e in envelopes]


def test_episodes_are_the_trace_in_parts(run: Run) -> None:
    """In canonical order; each can be had alone as well."""
    episodes = list(run.episodes())
    assert [episode.number for episode in episodes] == list(range(CONFIG.episodes))
    told = [envelope for episode in episodes for envelope in episode.envelopes]
    assert told == [e for e in trace_of(run.directory) if e.episode is not None]
    assert run.episode(3) == episodes[3]


def test_a_message_leads_back_to_the_arrival_of_the_user(run: Run) -> None:
    """Cause by cause."""
    episode = run.episode(0)
    action = next(e for e in episode.envelopes if isinstance(e.message, ActionTaken))
    causes = [type(e.message).__name__ for e in episode.causes_of(action)]
    assert causes == ["PlanMade", "PlanRequested", "EpisodeStarted"]
    assert episode.causes_of(episode.envelopes[0]) == []


def test_what_was_recalled_is_there_with_its_record(run: Run) -> None:
    """The message that was made of it, and the record as it was saved."""
    told = [one for episode in run.episodes() for one in episode.recollections]
    assert {type(one.message) for one in told} >= {PlanMade, ActionTaken}
    experiences = run.memory("experiences")
    found = [each for one in told if one.memory == "actor" for each in one.found]
    kept = experiences.at([each.place.position for each in found])
    assert found
    assert all(isinstance(each.record, Experience) for each in found)
    assert [each.record for each in found] == [kept[e.place.position].record for e in found]


def test_what_was_recalled_before_memories_are_saved_has_no_record(here: Path) -> None:
    """Its place is known all the same."""
    found = [
        each
        for episode in Run.open(here / "torn").episodes()
        for one in episode.recollections
        for each in one.found
    ]
    assert found
    assert {each.record for each in found} == {None}


def test_calls_are_the_journal(run: Run) -> None:
    """What was asked of whom, and what it cost."""
    calls, ended = run.calls(), list(read_journal(run.directory.journal).every())
    assert calls["text"].to_list() == [call.text for call in ended]
    assert calls["prompt_tokens"].sum() == run.summary.prompt_tokens
    assert set(calls["model"]) == {"embedded"}
    assert {"role", "latency", "wait", "attempts", "error"} <= set(calls.columns)


@pytest.mark.parametrize("name", ["torn", "failed"])
def test_calls_that_failed_and_runs_that_stopped(name: str, here: Path) -> None:
    """What is there is shown."""
    run = Run.open(here / name)
    assert run.calls().height == len(list(read_journal(run.directory.journal).every()))
    assert run.calls()["error"].drop_nulls().to_list() == (["server"] if name == "failed" else [])


def test_a_long_table_is_made_in_parts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of that is to be seen."""
    whole = run.frame("PlanMade")
    monkeypatch.setattr(tables, "ROWS", 3)
    assert run.frame("PlanMade").equals(whole)


@pytest.mark.parametrize(("name", "same"), [("actor", "experiences"), ("planner", "reflections")])
def test_a_memory_has_its_name_and_that_of_its_records(name: str, same: str, run: Run) -> None:
    assert run.memory(name) == run.memory(same)
    assert len(run.memory(name)) == len(list(run.memory(same).entries()))


def test_the_name_of_a_memory_goes_before_that_of_others_records() -> None:
    """An agent from outside may call its memories as it likes."""
    namesake: AgentMemory[Any] = AgentMemory("experiences", Reflection, key_lines=lambda _: ())
    for memories in permutations([EXPERIENCES, namesake]):
        assert _called(memories)["experiences"] is namesake


# -- instead of a path


def test_a_run_takes_the_place_of_its_path(run: Run) -> None:
    """Wherever a run directory is asked for."""
    assert not sim.diff(run, run).changed
    assert [group.label for group in sim.compare([run]).groups] == ["billp"]
    assert repr(run) == f"Run.open({str(run.directory.path)!r})"


# -- what it does not have, or is not

REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no run": (Run.open, "not a run directory", "billp run"),
    "a type": (lambda here: opened(here).frame("PlanMad"), "no message type", "mean PlanMade?"),
    "a memory": (lambda here: opened(here).memory("experience"), "no memory", "mean experiences?"),
    "an episode": (lambda here: opened(here).episode(99), "no episode 99", "0 to 5"),
    "memories": (
        lambda here: opened(here, "torn").memory("actor"),
        "saved at its end",
        "billp resume",
    ),
}


def opened(here: Path, name: str = "whole") -> Run:
    return Run.open(here / name)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_there_is_one_sentence_and_a_hint(case: str, here: Path) -> None:
    act, sentence, hint = REFUSED[case]
    with pytest.raises(BillpError, match=sentence) as caught:
        act(here)
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


def test_an_agent_without_memory_says_so(tmp_path: Path) -> None:
    run = Run(recorded(tmp_path / "run", agent="random"))
    with pytest.raises(BillpError, match="no memory 'actor'") as caught:
        run.memory("actor")
    assert caught.value.hint == "its agent has none"


DAMAGED: dict[str, tuple[str, bytes, Callable[[Run], object]]] = {
    "summary": ("summary.json", b'{"run": 3}', lambda run: run.summary),
    "trace": ("trace.jsonl", b"{}\n", lambda run: run.frame("PlanMade")),
    "journal": ("calls.jsonl", b"{}\n", lambda run: run.calls()),
    "settings": ("run.toml", b"agent = 3", lambda run: run.config),
    "record": ("memory/actor.jsonl", b"{}\n", lambda run: list(recollected(run))),
}


def recollected(run: Run) -> list[object]:
    return [one for episode in run.episodes() for one in episode.recollections]


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_an_error_that_names_the_file(case: str, tmp_path: Path) -> None:
    """Whatever was opened before, it is met when it is read."""
    name, content, look = DAMAGED[case]
    run = Run(recorded(tmp_path / "run"))
    (run.directory.path / name).write_bytes(content)
    with pytest.raises(BillpError) as caught:
        look(run)
    assert case == "settings" or Path(name).name in str(caught.value)


def test_an_imported_run_has_what_its_file_tells(tmp_path: Path) -> None:
    """Messages; but neither a configuration nor calls nor memories, which it says."""
    file = tmp_path / "recordings.json"
    file.write_text('{"1": {"traj_by_line": ["Thought 1: Hm.", "Action 1: recommend[Red]"]}}')
    imported = import_trajectories(file, tmp_path / "run")
    run = Run.open(imported.run)
    assert run.imported == imported
    assert (run.digest, run.frame("ActionTaken")["title"].to_list()) == (imported.digest, ["Red"])
    assert not [one for episode in run.episodes() for one in episode.recollections]
    assert "r_traj" in run._repr_html_()
    looks: list[Callable[[], object]] = [run.calls, partial(run.memory, "actor")]
    looks += [partial(getattr, run, name) for name in ("config", "summary", "metrics")]
    for look in looks:
        with pytest.raises(BillpError, match="was imported"):
            look()


@pytest.mark.parametrize("position", [-1, 10**6])
def test_a_trace_that_recalls_what_was_never_kept(position: int, tmp_path: Path) -> None:
    """It is said, and no other record is given for it."""
    run = Run(recorded(tmp_path / "run"))
    trace = run.directory.trace.read_bytes()
    changed = re.sub(rb'"reflections":\[\[\d+', b'"reflections":[[%d' % position, trace)
    run.directory.trace.write_bytes(changed)
    with pytest.raises(BillpError, match=f"holds no record {position}"):
        recollected(run)


def test_a_run_that_was_killed_at_once_has_nothing_yet(tmp_path: Path) -> None:
    """Tables without rows, and no episode."""
    directory = recorded(tmp_path / "run")
    directory.trace.write_bytes(b"")
    directory.summary.unlink()
    run = Run.open(tmp_path / "run")
    assert (run.frame("PlanMade").height, list(run.episodes())) == (0, [])


# -- in a notebook


def test_what_a_notebook_shows(run: Run, here: Path) -> None:
    """The numbers of the summary; of a run that is not finished, how to go on."""
    assert f"{run.summary.metrics.r_traj:.2f}" in run._repr_html_()
    assert run.summary.digest in run._repr_html_()
    assert "not finished; go on with: billp resume" in Run.open(here / "torn")._repr_html_()
    assert "not a run" not in Run(RunDirectory(here))._repr_html_()
    found = sim.compare([run])
    assert "billp" in found._repr_html_()


def test_what_a_notebook_shows_is_not_obeyed(run: Run) -> None:
    """Paths, names and settings may come from anywhere."""
    evil = "<img src=x onerror=alert(1)>"
    summary = msgspec.structs.replace(run.summary, run=evil, agent=evil, environment=evil)
    assert "<img" not in summary._repr_html_()
    found = sim.compare([run])
    groups = (msgspec.structs.replace(found.groups[0], label=evil),)
    found = msgspec.structs.replace(found, groups=groups, notes=(evil,))
    assert "<img" not in found._repr_html_()


def test_looking_at_a_run_from_elsewhere_imports_nothing_of_its_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its summary may name a module that lies beside it."""
    run = Run(recorded(tmp_path / "run"))
    (tmp_path / "evil.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    run.directory.write_summary({**run.directory.read_summary(), "quit_rule": "evil:RULE"})
    assert run.summary.quit_rule == "evil:RULE"
    assert "R_traj" in run._repr_html_()
    assert "evil" not in sys.modules


def test_a_comparison_as_tables(run: Run, tmp_path: Path) -> None:
    """A row for each group and measure, and one for each pair."""
    found = sim.compare([run, Run(recorded(tmp_path / "run", agent="random"))])
    means = {(row["label"], row["measure"]): row["mean"] for row in found.frame().to_dicts()}
    assert means == {(g.label, name): m.mean for g in found.groups for name, m in g.means.items()}
    (row,) = found.differences().to_dicts()
    assert (row["mean"], row["p"]) == (found.pairs[0].difference.mean, found.pairs[0].p)
