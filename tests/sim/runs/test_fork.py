"""`fork`: a recorded run up to a point, then its own way; and a run of its own ever after."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.billp.values import advantage
from agents.settings import BillpSettings
from engine.errors import ConfigError, DivergenceError, RunDirectoryError, ServiceError, TraceError
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    EpisodeEnded,
    EpisodeStarted,
    ForkedFrom,
    ModelFailed,
    ModelReplied,
    PlanMade,
    PlanRequested,
    ReflectionWritten,
    RunStarted,
    StateValued,
    UserResponded,
    number,
)
from sim.config.layers import configured
from sim.config.run import RunConfig, Settings
from sim.config.stages import Point, read_course
from sim.runs.fork import FORKABLE, fork
from sim.runs.replay import replay
from sim.runs.resume import resume
from sim.verification.verify import verify
from sim.world.quitting.billp import why_leave
from sim.world.rewards import true_reward
from storage.journal import read_journal
from storage.runs import RunDirectory
from storage.traces import digest_of
from tests.support.encounters import met
from tests.support.shell import tree
from tests.support.small import (
    SMALL,
    Counted,
    Failing,
    Telling,
    Trace,
    lines_of,
    only,
    recorded,
    synthetic,
    trace_of,
)

CHANGES: dict[str, Settings] = {
    "a shorter window": {"quit": {"window": 1}},
    "a longer window": {"quit": {"window": 6}},
    "users hard to please": {"quit": {"lowest": 3.2}},
    "users easy to please": {"rewards": {"offset": 0.5}},
    "all at once": {"rewards": {"offset": -0.4}, "quit": {"window": 0, "lowest": 1.5}, "limit": 5},
    "a lower limit": {"limit": 3},
    "a higher limit": {"limit": 12},
    "instructions": {"planner": {"instructions": "Be bold."}},
    "another model": {"model": "openai/other"},
    "a model of a role": {"reflector": {"model": "openai/other"}},
}

Directory = Callable[[], Path]
Holding = Callable[[Point], RunConfig]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    """Give a function that returns a path that is free."""
    parent, numbers = tmp_path_factory.mktemp("forks"), count()
    return lambda: parent / str(next(numbers))


@pytest.fixture(scope="module")
def parent(new: Directory) -> RunDirectory:
    """A run that told, in its thoughts and lessons, what it was told."""
    return recorded(new(), Telling("parent"))


@pytest.fixture(scope="module")
def points(parent: RunDirectory) -> list[Point]:
    """All points at which the run can be forked."""
    return [
        (envelope.episode, envelope.message.step)
        for envelope in trace_of(parent)
        if isinstance(envelope.message, PlanRequested) and envelope.episode is not None
    ]


def forked(parent: RunDirectory, at: Point, *changes: Settings, **how: Any) -> RunDirectory:
    """Return a fork, which tells what it is told unless it has another model."""
    how.setdefault("model", Telling("fork"))
    fork(parent.path, at, settings=changes, environment=synthetic(), **how)
    return RunDirectory(how["out"])


def before(lines: Sequence[bytes], at: Point) -> list[bytes]:
    """Return the lines after the head that stand before a point in canonical order."""
    opening = b'{"episode":%d,' % at[0]
    mark = b'"type":"PlanRequested","step":%d}' % at[1]
    (end,) = [n for n, line in enumerate(lines) if line.startswith(opening) and mark in line]
    return list(lines[1:end])


def holding(*stages: tuple[Point, RunConfig]) -> Holding:
    """Return which configuration holds at a point; stages are in order."""

    def config_at(point: Point) -> RunConfig:
        return [config for begin, config in stages if begin <= point][-1]

    return config_at


def expected_responses(trace: Trace, config_at: Holding) -> Iterator[UserResponded]:
    """Yield how users respond to the actions of a trace, by the rules that hold at each step."""
    world = synthetic()
    user, shown = 0, list[int]()
    for envelope in trace:
        match envelope.message:
            case EpisodeStarted() as started:
                user, shown = started.user, []
            case ActionTaken(step=step, item=item):
                config = config_at((envelope.episode or 0, step))
                reward = true_reward(config.rewards, world, met(world, shown, user=user), item)
                reason = why_leave(config.quit, world.factors, item, reward, shown)
                left = reason is not None
                yield UserResponded(step=step, reward=reward, left=left, reason=reason)
                shown.append(item)


def responses(trace: Trace) -> list[UserResponded]:
    """Return how users responded; what a rule went by is another matter."""
    return [msgspec.structs.replace(one, evidence=None) for one in only(trace, UserResponded)]


def expected_lengths(trace: Trace, config_at: Holding) -> list[int]:
    """Return how long the episodes of a trace are, by the limit that holds at each step."""
    lengths: dict[int | None, int] = {}
    for envelope in trace:
        match envelope.message:
            case UserResponded(step=step, left=left):
                limit = config_at((envelope.episode or 0, step)).limit
                if left or step + 1 >= limit:
                    lengths.setdefault(envelope.episode, step + 1)
    return [lengths[episode] for episode in sorted(lengths, key=lambda e: e or 0)]


def replies(trace: Trace) -> list[tuple[int, ModelReplied]]:
    """Return all replies with their episodes."""
    return [(e.episode or 0, e.message) for e in trace if isinstance(e.message, ModelReplied)]


def told(trace: Trace) -> list[tuple[Point, str, str]]:
    """Return where planner and reflector spoke, and what they told."""
    return [
        ((episode, reply.step), reply.role, reply.text.partition(":")[0])
        for episode, reply in replies(trace)
        if reply.role in {"planner", "reflector"}
    ]


# -- where it parts


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_the_past_is_the_parents_and_the_change_holds_from_there_on(
    data: st.DataObject, parent: RunDirectory, points: list[Point], new: Directory
) -> None:
    """Before the point every byte is the parent's; at it and after it the new settings hold."""
    at = data.draw(st.sampled_from(points))
    change = CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))]
    child = forked(parent, at, change, out=new())
    past = before(lines_of(parent), at)
    assert lines_of(child)[1 : len(past) + 1] == past
    config_at = holding(((0, 0), configured(SMALL)), (at, configured(SMALL, change)))
    trace = trace_of(child)
    assert responses(trace) == list(expected_responses(trace, config_at))
    assert [ended.length for ended in only(trace, EpisodeEnded)] == expected_lengths(
        trace, config_at
    )


@pytest.mark.parametrize("change", ["instructions", "another model", "a model of a role"])
@pytest.mark.parametrize("at", [(0, 0), (2, 1), (4, 0)])
def test_what_a_role_is_told_changes_at_the_point(
    change: str, at: Point, parent: RunDirectory, new: Directory
) -> None:
    """Not a step earlier, not a step later, and not for other roles: as the model tells."""
    child = forked(parent, at, CHANGES[change], out=new())
    roles = {"instructions": "planner", "a model of a role": "reflector"}
    for point, role, text in told(trace_of(child)):
        changed = point >= at and role in roles.get(change, role)
        name = "other" if changed and "model" in change else "embedded"
        known = "told" if changed and change == "instructions" else "untold"
        assert text.endswith(f" {name} {known}")
        assert text.startswith("fork") or not changed


@pytest.mark.parametrize("role", ["planner", "actor", "critic", "reflector"])
@pytest.mark.parametrize("at", [(0, 0), (3, 1), (4, 2)])
def test_calls_are_drawn_anew_from_the_point_on(
    role: str, at: Point, parent: RunDirectory, new: Directory
) -> None:
    """Of one role alone; the critic's value of what a step led to belongs to that step."""
    model = Telling("parent")
    child = forked(parent, at, {role: {"max_tokens": 399}}, out=new(), model=model)
    calls = replies(trace_of(child))
    assert len(calls) == len(replies(trace_of(parent)))
    late = {"critic": 1}.get(role, 0)
    expected = [
        (episode, reply.step)
        for episode, reply in calls
        if reply.role == role and (episode, max(0, reply.step - late)) >= at
    ]
    known = replies(trace_of(parent))
    assert [(e, reply.step) for e, reply in calls if (e, reply) not in known] == expected


def test_an_episode_is_judged_by_the_rules_of_its_end(parent: RunDirectory, new: Directory) -> None:
    """Those of the fork, also for the episode in which it begins."""
    child = forked(parent, (3, 1), {"critic": {"discount": 0.0}}, out=new())
    rewards: dict[tuple[int | None, int], float] = {}
    for envelope in trace_of(child):
        episode = envelope.episode or 0
        match envelope.message:
            case UserResponded(step=step, reward=reward):
                rewards[episode, step] = reward
            case AdvantageEstimated(step=step, value=value, next_value=after) as judged:
                discount = 0.0 if episode >= 3 else 0.5
                expected = advantage(rewards[episode, step], value, after, discount=discount)
                assert judged.advantage == number(expected)


# -- who is asked


@pytest.mark.parametrize("at", [(0, 0), (3, 1), (5, 1)])
def test_a_fork_without_a_change_is_its_parent(
    at: Point, parent: RunDirectory, new: Directory
) -> None:
    """All bytes but the head's, wherever it parts; and nobody is asked."""
    nobody = Counted(last=0)
    child = forked(parent, at, out=new(), model=nobody)
    assert lines_of(child)[1:] == lines_of(parent)[1:]
    assert not nobody.asked


@pytest.mark.parametrize("change", ["a lower limit", "instructions", "users easy to please"])
def test_calls_that_ask_the_same_keep_their_replies(
    change: str, parent: RunDirectory, new: Directory
) -> None:
    """Asked is only what the parent did not ask: before the fork nothing, after it little."""
    model = Counted(model=Telling("fork"))
    child = forked(parent, (3, 1), CHANGES[change], out=new(), model=model)
    known = replies(trace_of(parent))
    fresh = [(e, r) for e, r in replies(trace_of(child)) if (e, r) not in known]
    asked = [(call.episode, call.step, call.role) for call in model.asked]
    assert sorted(asked) == sorted((e, r.step, r.role) for e, r in fresh)
    assert 0 < len(asked) < len(known)


def test_calls_that_failed_in_the_parent_have_failed(new: Directory) -> None:
    """That, too, is taken over for what asks the same."""
    failing = recorded(new(), Failing())
    child = forked(failing, (2, 0), out=new(), model=Counted(last=0))
    assert only(trace_of(child), ModelFailed)
    assert lines_of(child)[1:] == lines_of(failing)[1:]
    assert whole(child)


# -- what is said


SAID = {
    "planner": ("Take Puzzle alone.", 1),
    "actor": ("recommend[The Restless Hunter Deluxe]", 1),
    "critic": ("-5", 2),
    "reflector": ("It was as it was.", None),
}


@pytest.mark.parametrize("role", SAID)
def test_what_is_said_stands_in_place_of_a_reply(
    role: str, parent: RunDirectory, new: Directory
) -> None:
    """At that step, once: the critic's value of what the step led to, the reflector's lesson."""
    text, step = SAID[role]
    child = forked(parent, (3, 1), out=new(), say={role: text})
    spoken = [(e, r) for e, r in replies(trace_of(child)) if r.prompt_tokens == 0]
    ((episode, reply),) = spoken
    assert (episode, reply.role, reply.text) == (3, role, text)
    assert step is None or reply.step == step


def test_what_is_said_is_acted_on(parent: RunDirectory, new: Directory) -> None:
    """A thought, an item, a value and a lesson, as if the models had come to them."""
    say = {role: text for role, (text, _) in SAID.items()}
    trace = trace_of(forked(parent, (3, 1), out=new(), say=say))
    episode = [envelope for envelope in trace if envelope.episode == 3]
    assert only(episode, PlanMade)[1].thought == "Take Puzzle alone."
    assert only(episode, ActionTaken)[1].title == "The Restless Hunter Deluxe"
    assert [m.value for m in only(episode, StateValued) if m.state == 2] == [-5.0]
    assert only(episode, ReflectionWritten) == [ReflectionWritten(text="It was as it was.")]


def test_words_that_cannot_be_read_are_asked_again(parent: RunDirectory, new: Directory) -> None:
    """As if a model had said them; what it says then is its own."""
    child = forked(parent, (3, 1), out=new(), say={"actor": "Whatever."})
    spoken = [r for e, r in replies(trace_of(child)) if (e, r.step, r.role) == (3, 1, "actor")]
    assert [(reply.occurrence, reply.prompt_tokens == 0) for reply in spoken] == [
        (0, True),
        (1, False),
    ]


@pytest.mark.parametrize("role", SAID)
def test_a_role_can_speak_at_the_first_step(
    role: str, parent: RunDirectory, new: Directory
) -> None:
    child = forked(parent, (0, 0), out=new(), say={role: SAID[role][0]})
    assert [r.role for _, r in replies(trace_of(child)) if r.prompt_tokens == 0] == [role]


# -- a run of its own


def whole(run: RunDirectory) -> bool:
    """Tell whether a run replays to the byte, and has no fault."""
    return replay(run.path).agrees and not any(check.fault for check in verify(run.path))


@pytest.mark.parametrize("change", CHANGES)
def test_a_fork_replays(change: str, parent: RunDirectory, new: Directory) -> None:
    child = forked(parent, (2, 1), CHANGES[change], out=new(), say={"planner": "Take Puzzle."})
    assert whole(child)
    assert all(replay(child.path, episode=episode).agrees for episode in (0, 2, 3, 5))


def test_a_fork_replays_without_its_parent(new: Directory) -> None:
    """run.toml, the journal and the trace suffice, wherever they are."""
    model = Telling("parent")
    child = forked(recorded(new(), model), (2, 1), CHANGES["instructions"], out=new())
    alone = RunDirectory(new())
    alone.path.mkdir()
    for path in (child.config, child.journal, child.trace):
        copy(path, alone.path)
    assert replay(alone.path).agrees


def test_the_head_names_the_parent_and_the_point(parent: RunDirectory, new: Directory) -> None:
    """And the settings of the end; run.toml tells those of before as well."""
    change = CHANGES["a shorter window"]
    child = forked(parent, (3, 1), change, out=new())
    (head,) = only(trace_of(child), RunStarted)
    assert head.forks == (ForkedFrom(parent=digest_of(parent.trace), episode=3, step=1),)
    assert dict(head.settings)["quit.window"] == 1
    stages = read_course(child.read_config(), proven=True).stages
    assert [stage.config for stage in stages] == [configured(SMALL), configured(SMALL, change)]


def test_the_parent_is_not_touched(parent: RunDirectory, new: Directory) -> None:
    """Neither its bytes nor its times."""

    def state() -> tuple[dict[str, bytes | None], dict[str, int]]:
        times = {str(path): path.stat().st_mtime_ns for path in parent.path.rglob("*")}
        return tree(parent.path), times

    was = state()
    forked(parent, (2, 0), CHANGES["instructions"], out=new())
    assert state() == was


def test_a_fork_of_a_fork(parent: RunDirectory, new: Directory) -> None:
    """Each stage has its settings, from its point to the next; the head names both."""
    first, second = CHANGES["a longer window"], CHANGES["users hard to please"]
    child = forked(parent, (1, 1), first, out=new())
    grandchild = forked(child, (3, 0), second, out=new())
    config_at = holding(
        ((0, 0), configured(SMALL)),
        ((1, 1), configured(SMALL, first)),
        ((3, 0), configured(SMALL, first, second)),
    )
    trace = trace_of(grandchild)
    assert responses(trace) == list(expected_responses(trace, config_at))
    assert before(lines_of(grandchild), (3, 0)) == before(lines_of(child), (3, 0))
    assert [fork.parent for fork in only(trace, RunStarted)[0].forks] == [
        digest_of(parent.trace),
        digest_of(child.trace),
    ]
    assert whole(grandchild)


def test_a_fork_at_the_point_of_its_parents_fork(parent: RunDirectory, new: Directory) -> None:
    """Takes the place of that: nothing lies between the two."""
    first, second = CHANGES["users hard to please"], CHANGES["users easy to please"]
    child = forked(parent, (2, 1), first, out=new())
    again = forked(child, (2, 1), second, out=new())
    trace = trace_of(again)
    config_at = holding(((0, 0), configured(SMALL)), ((2, 1), configured(SMALL, first, second)))
    assert responses(trace) == list(expected_responses(trace, config_at))
    assert [fork.parent for fork in only(trace, RunStarted)[0].forks] == [digest_of(child.trace)]
    assert whole(again)


# -- interrupted


@pytest.fixture(scope="module")
def mothers(new: Directory) -> Callable[[str], tuple[RunDirectory, str]]:
    """Give a function that returns a run of some arrivals, and the digest of a fork of it."""

    @cache
    def made(arrivals: str) -> tuple[RunDirectory, str]:
        mother = recorded(new(), Telling("parent"), arrivals=arrivals)
        undisturbed = forked(mother, (3, 0), CHANGES["users easy to please"], out=new())
        return mother, digest_of(undisturbed.trace)

    return made


@pytest.mark.parametrize("arrivals", ["batches:2", "all"])
@pytest.mark.parametrize("heard", [0, 1, 7])
def test_an_interrupted_fork_comes_to_the_same(
    heard: int, arrivals: str, mothers: Callable[[str], tuple[RunDirectory, str]], new: Directory
) -> None:
    """Also where much of what it took over was still to come: that is not asked again."""
    mother, digest = mothers(arrivals)
    change = CHANGES["users easy to please"]
    out = new()
    with pytest.raises(ServiceError) as stopped:
        forked(mother, (3, 0), change, out=out, model=Counted(heard, model=Telling("fork")))
    assert stopped.value.hint.endswith(f"billp resume {out}")
    resumed = resume(out, environment=synthetic(), model=Telling("fork"))
    assert resumed is not None
    assert resumed.digest == digest
    assert whole(RunDirectory(out))


@pytest.mark.parametrize("role", SAID)
def test_an_interrupted_fork_still_says_what_it_was_to_say(
    role: str, parent: RunDirectory, new: Directory
) -> None:
    """It stands in run.toml and in the head, so that it is said even if nobody came to it yet."""
    say = {role: SAID[role][0]}
    stopped = forked(parent, (3, 1), out=new(), say=say)
    digest = digest_of(stopped.trace)
    stopped.summary.unlink()
    handed_down = len(read_journal(parent.journal)) + 1
    lines = stopped.journal.read_bytes().splitlines(keepends=True)
    stopped.journal.write_bytes(b"".join(lines[:handed_down]))
    stopped.trace.write_bytes(b"")
    resumed = resume(stopped.path, environment=synthetic(), model=Telling("fork"))
    assert resumed is not None
    assert resumed.digest == digest
    (fork,) = only(trace_of(stopped), RunStarted)[0].forks
    assert fork.said == tuple(say.items())
    assert whole(stopped)


@pytest.fixture(scope="module")
def whole_fork(parent: RunDirectory, new: Directory) -> RunDirectory:
    """A fork that came to its end; who kills it takes a copy."""
    return forked(parent, (2, 1), CHANGES["users easy to please"], out=new())


@settings(deadline=None, max_examples=15)
@given(cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_killed_fork_comes_to_the_same(
    cuts: tuple[float, float], parent: RunDirectory, whole_fork: RunDirectory, new: Directory
) -> None:
    """Killed anywhere after it began: journal and trace end in the middle of a line."""
    known = len(read_journal(parent.journal))
    child = RunDirectory(copytree(whole_fork.path, new()))
    digest = digest_of(child.trace)
    child.summary.unlink()
    handed_down = sum(map(len, child.journal.read_bytes().splitlines(True)[: known + 1]))
    for path, cut, least in ((child.journal, cuts[0], handed_down), (child.trace, cuts[1], 0)):
        size = least + int(cut * (path.stat().st_size - least))
        path.write_bytes(path.read_bytes()[:size])
    resumed = resume(child.path, environment=synthetic(), model=Telling("fork"))
    assert resumed is not None
    assert resumed.digest == digest


def test_a_fork_of_an_unfinished_run(parent: RunDirectory, new: Directory) -> None:
    """It goes as that of the finished one, from any step that is in the trace."""
    out, change = new(), CHANGES["users easy to please"]
    with pytest.raises(ServiceError):
        recorded(out, Counted(40, model=Telling("parent")))
    unfinished = RunDirectory(out)
    episode = trace_of(unfinished)[-1].episode
    assert episode is not None
    child = forked(unfinished, (episode, 0), change, out=new(), model=Telling("parent"))
    finished = forked(parent, (episode, 0), change, out=new(), model=Telling("parent"))
    assert lines_of(child)[1:] == lines_of(finished)[1:]
    assert whole(child)


# -- what cannot be


FIXED: dict[str, Any] = {
    "episodes": 3,
    "seed": 1,
    "agent": "random",
    "environment": "elsewhere",
    "users": "test",
    "arrivals": "all",
    "publication_delay": 1.0,
    "sessions": 2,
    "return_gap": [1.0, 2.0],
    "retention": {"loss": 0.5},
    "history": 3,
    "embeddings": "openai/vectors",
    "test_episodes": 2,
    "test_every": 2,
    "test_memory": "learning",
    "memory_size": 9,
}


@pytest.mark.parametrize("name", FIXED)
def test_what_decides_the_beginning_cannot_change(
    name: str, parent: RunDirectory, new: Directory
) -> None:
    """The setting is named, and nothing is made."""
    out = new()
    mother = parent if name != "sessions" else recorded(new(), arrivals="all")
    needs = {"test_episodes": 2} if name == "test_every" else {}
    with pytest.raises(ConfigError, match=r"^([\w.]+) cannot be changed by a fork") as refused:
        forked(mother, (2, 0), {**needs, name: FIXED[name]}, out=out)
    assert str(refused.value).split()[0].partition(".")[0] in {name, *needs}
    own = BillpSettings.__struct_fields__
    assert refused.value.hint == f"a fork can change {', '.join((*own, *FORKABLE))}"
    assert not out.exists()


def test_every_setting_either_can_change_or_cannot() -> None:
    """What nobody has thought of would be a hole."""
    deciding = {name.split(".")[0] for name, _ in RunConfig().deciding()}
    assert deciding <= {*FORKABLE, *BillpSettings.__struct_fields__, *FIXED}


@pytest.mark.parametrize(
    ("at", "sentence", "hint"),
    [
        ((9, 0), "there is no episode 9", "it holds 0 to 5"),
        ((3, 99), "episode 3 of the run has no step 99", "it has the steps 0 to"),
    ],
)
def test_a_point_that_is_not_in_the_run(
    at: Point, sentence: str, hint: str, parent: RunDirectory, new: Directory
) -> None:
    out = new()
    with pytest.raises((ConfigError, TraceError), match=sentence) as refused:
        forked(parent, at, out=out)
    assert refused.value.hint.startswith(hint)
    assert not out.exists()


def test_a_point_before_the_parents_fork(parent: RunDirectory, new: Directory) -> None:
    """Its parent's parent has what lies there."""
    child = forked(parent, (2, 1), CHANGES["a longer window"], out=new())
    with pytest.raises(ConfigError, match="2:0 lies before 2:1, where the run was forked"):
        forked(child, (2, 0), out=new())


def test_a_role_that_does_not_exist(parent: RunDirectory, new: Directory) -> None:
    with pytest.raises(ConfigError, match="there is no role 'prophet'") as refused:
        forked(parent, (2, 1), out=new(), say={"prophet": "Rain."})
    assert refused.value.hint == "the roles are planner, actor, critic, reflector"


def test_a_place_that_is_taken(parent: RunDirectory) -> None:
    """By the parent itself, say: it stays as it is."""
    was = tree(parent.path)
    with pytest.raises(RunDirectoryError, match="the output directory holds another run"):
        forked(parent, (2, 1), out=parent.path)
    assert tree(parent.path) == was


@pytest.mark.parametrize("episode", [0, 2])
def test_a_past_that_cannot_be_lived_again(episode: int, new: Directory) -> None:
    """A trace that is not what its journal makes is found, up to the very step of the fork.

    Nothing is left that could be resumed, and pass for a fork.
    """
    damaged, out = recorded(new(), Telling("parent")), new()
    lines = lines_of(damaged)
    start = next(n for n, line in enumerate(lines) if line.startswith(b'{"episode":%d,' % episode))
    lines[start + 2] = lines[start + 2].replace(b"parent", b"nobody")
    damaged.trace.write_bytes(b"".join(lines))
    with pytest.raises(DivergenceError, match=f"episode {episode}, n 2, ModelReplied.text: "):
        forked(damaged, (2, 1), out=out)
    assert not out.exists()
