"""`sim.experiments.rollouts`: what comes of a state, and that its past stays what is recorded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from shutil import copytree

import msgspec
import pytest

from agents.embeddings import HashingEmbedder
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatModel, ChatReply, ChatRequest, call_seed
from engine.errors import CallFailedError, DivergenceError
from engine.messages import (
    ActionTaken,
    EpisodeEnded,
    EpisodeFailed,
    EpisodeStarted,
    PlanRequested,
    StateValued,
    UserResponded,
)
from sim.experiments.rollouts import (
    Origin,
    Player,
    Rollout,
    State,
    origins,
    read_rollout,
    rollout_seed,
    valued_states,
)
from sim.runs.recorded import RecordedRun, open_recorded
from storage.journal import identity
from storage.traces import before_step, decode_line, episode_of
from tests.support.small import (
    Counted,
    Failing,
    Trace,
    lines_of,
    only,
    recorded,
    synthetic,
    trace_of,
)

END = b'"message":{"type":"EpisodeEnded"'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    """A recorded run; nobody writes to it."""
    path = tmp_path_factory.mktemp("recorded") / "run"
    recorded(path)
    return open_recorded(path, synthetic())


@pytest.fixture(scope="module")
def starts(run: RecordedRun) -> list[Origin]:
    """All states that can be played on from."""
    return origins(run, valued_states(run))


def player(run: RecordedRun, model: ChatModel | None = None) -> Player:
    return Player(run, run.course.config, model or EmbeddedModel(), HashingEmbedder())


def played(player: Player, *plays: tuple[Origin, int]) -> list[bytes]:
    """Return the lines of all *plays*, at work at once."""

    async def main() -> list[bytes]:
        return await asyncio.gather(*(player.play(origin, seed) for origin, seed in plays))

    return asyncio.run(main())


def rolled(player: Player, origin: Origin, seed: int) -> Rollout | None:
    return asyncio.run(player.roll(origin, seed))


def envelopes(lines: bytes) -> Trace:
    return [decode_line(Path(), n, line) for n, line in enumerate(lines.splitlines(), 1)]


def recorded_lines(run: RecordedRun) -> dict[int | None, bytes]:
    """Return the lines of each episode of a run."""
    found = groupby(lines_of(run.directory), key=episode_of)
    return {episode: b"".join(lines) for episode, lines in found}


def to_the_end(lines: bytes) -> list[bytes]:
    """Return the lines up to the end of the visit: what critic and reflector say comes later."""
    whole = lines.splitlines()
    (end,) = [n for n, line in enumerate(whole) if END in line]
    return whole[: end + 1]


def numbered(origin: Origin, number: int) -> tuple[Origin, int]:
    return origin, rollout_seed(0, origin.state, number)


# -- states


def test_states_are_those_that_are_valued_and_go_on(run: RecordedRun) -> None:
    """Every one before a step that was taken: neither the last of a visit, nor one of another's."""
    trace = trace_of(run.directory)
    taken = {(e.episode, e.message.step) for e in trace if isinstance(e.message, UserResponded)}
    values = {
        (e.episode, e.message.state): e.message.value
        for e in trace
        if isinstance(e.message, StateValued)
    }
    expected = [(*point, values[point]) for point in sorted(taken & values.keys())]
    found = valued_states(run)
    assert [(state.episode, state.step, state.value) for state in found] == expected
    assert len(found) < len(values)


def test_states_of_failed_episodes_are_left_out(tmp_path: Path) -> None:
    directory = recorded(tmp_path / "run", Failing())
    assert only(trace_of(directory), EpisodeFailed)
    found = valued_states(open_recorded(directory.path, synthetic()))
    assert {state.episode for state in found} == {0, 2, 3, 4, 5}


# -- the run's own seed


def test_the_runs_own_seed_makes_what_is_recorded(run: RecordedRun, starts: list[Origin]) -> None:
    """From every state on, to the byte: messages, calls, causes and times."""
    known = recorded_lines(run)
    seed = run.course.config.seed
    for origin, lines in zip(
        starts, played(player(run), *((o, seed) for o in starts)), strict=True
    ):
        assert to_the_end(lines) == to_the_end(known[origin.state.episode])


def test_the_runs_own_seed_values_as_is_recorded(run: RecordedRun, starts: list[Origin]) -> None:
    """The state, and the one after its step unless the user left: no others."""
    values = {(s.episode, s.step): s.value for s in valued_states(run)}
    for origin in starts[::3]:
        found = rolled(player(run), origin, run.course.config.seed)
        assert found is not None
        assert found.value == origin.state.value
        if len(found.rewards) > 1:
            assert found.next_value == values[origin.state.episode, origin.state.step + 1]


def test_the_runs_own_seed_calls_nobody(run: RecordedRun, starts: list[Origin]) -> None:
    """All that is asked is in the journal; so it makes the same with whatever model."""
    model = Counted()
    played(player(run, model), *((origin, run.course.config.seed) for origin in starts[::5]))
    assert model.asked == []


# -- other seeds


def test_the_past_is_the_recorded_one(run: RecordedRun, starts: list[Origin]) -> None:
    """Whatever the rollout: to the byte, up to the request for the step."""
    known = recorded_lines(run)
    for origin, lines in zip(
        starts, played(player(run), *(numbered(o, 1) for o in starts)), strict=True
    ):
        state = origin.state
        past = before_step(known[state.episode], state.step)
        assert lines.startswith(past)
        assert envelopes(lines[len(past) :])[0].message == PlanRequested(step=state.step)


def test_rollouts_differ(run: RecordedRun, starts: list[Origin]) -> None:
    """From each other, and from what is recorded, in each of the first steps after the state."""
    for origin in starts[::4]:
        plays = [numbered(origin, number) for number in range(4)]
        assert len({*played(player(run), *plays, (origin, 0))}) == 5


def test_the_world_is_drawn_anew_from_the_state_on(run: RecordedRun, starts: list[Origin]) -> None:
    """How long users dwell, which takes no model: as recorded before, otherwise after."""
    known = {e: envelopes(lines) for e, lines in recorded_lines(run).items() if e is not None}
    origin = next(o for o in starts if o.state.step == 2)
    (lines,) = played(player(run), numbered(origin, 0))
    dwelt, before = dwells(envelopes(lines)), dwells(known[origin.state.episode])
    assert dwelt[:2] == before[:2]
    assert dwelt[2] != before[2]


def dwells(trace: Trace) -> list[int]:
    """Return how long a user dwelt on each item."""
    taken = [e.time for e in trace if isinstance(e.message, ActionTaken)]
    answered = [e.time for e in trace if isinstance(e.message, UserResponded)]
    return [after - before for before, after in zip(taken, answered, strict=True)]


def test_candidates_are_drawn_anew_from_the_state_on(
    run: RecordedRun, starts: list[Origin]
) -> None:
    origin = next(o for o in starts if o.state.step == 2)
    plays = (numbered(origin, number) for number in range(3))
    tools = [
        [action.tools[-1].text for action in only(envelopes(lines), ActionTaken)]
        for lines in played(player(run), *plays)
    ]
    assert len({tuple(told[:2]) for told in tools}) == 1
    assert len({told[2] for told in tools}) == 3


def test_a_rollout_is_the_same_every_time(run: RecordedRun, starts: list[Origin]) -> None:
    """Alone or beside others."""
    plays = [numbered(origin, number) for origin in starts[:4] for number in range(2)]
    together = played(player(run), *plays)
    assert [played(player(run), play)[0] for play in plays] == together


def test_no_two_rollouts_share_a_seed() -> None:
    """Whether they differ in the state, the number or the seed of the whole."""
    states = [State(episode=e, step=s, value=0.0) for e in range(12) for s in range(12)]
    seeds = [rollout_seed(seed, s, n) for seed in range(2) for s in states for n in range(12)]
    assert len({*seeds}) == len(seeds)


# -- calls


@dataclass
class Heard:
    """The embedded model, which remembers what it is asked."""

    requests: list[ChatRequest] = field(default_factory=list)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        return await self.model.reply(request)


def asked(run: RecordedRun, origin: Origin) -> Sequence[ChatRequest]:
    model = Heard()
    played(player(run, model), numbered(origin, 0))
    return model.requests


def test_only_what_comes_after_the_state_is_asked(run: RecordedRun, starts: list[Origin]) -> None:
    """The critic of the state and the next, planner and actor from it on, the reflector never."""
    origin = next(o for o in starts if o.state.step == 2)
    steps: dict[str, set[int]] = {}
    for request in asked(run, origin):
        steps.setdefault(request.call.role, set()).add(request.call.step)
    assert steps.keys() == {"planner", "actor", "critic"}
    assert steps["critic"] <= {2, 3}
    assert min(steps["planner"]) == min(steps["actor"]) == min(steps["critic"]) == 2


def test_the_critic_is_asked_the_same_with_another_seed(
    run: RecordedRun, starts: list[Origin]
) -> None:
    """The same prompt, with the same records recalled."""
    origin = starts[-1]
    critic = next(r for r in asked(run, origin) if r.call.role == "critic")
    again = msgspec.structs.replace(critic, seed=call_seed(0, critic.call))
    assert critic.seed != again.seed
    assert run.recording[identity(critic.call)].request == again.digest


def test_calls_are_counted(run: RecordedRun, starts: list[Origin]) -> None:
    """Those that are made; what is recorded costs nothing."""
    model = Counted()
    one = player(run, model)
    played(one, numbered(starts[-1], 0))
    assert one.usage.calls == one.usage.live == len(model.asked) > 0


# -- what goes wrong


@dataclass
class Falling:
    """The embedded model, which never gets to an actor."""

    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        if request.call.role == "actor":
            raise CallFailedError("the server had an error", kind="server")
        return await self.model.reply(request)


def test_of_a_failed_rollout_nothing_comes(run: RecordedRun, starts: list[Origin]) -> None:
    assert rolled(player(run, Falling()), *numbered(starts[0], 0)) is None


def test_another_past_is_found_out(run: RecordedRun, starts: list[Origin]) -> None:
    """Even if all its calls are known: what is played is not what is recorded."""
    other = replace(starts[3], past=starts[3].past.replace(b'"reward":', b'"reward":1'))
    with pytest.raises(ExceptionGroup) as raised:
        played(player(run), numbered(other, 0))
    assert raised.group_contains(DivergenceError, match="does not come out as recorded")


def test_another_question_is_found_out_at_once(run: RecordedRun, tmp_path: Path) -> None:
    """Before anything is asked: code or settings are not those of the run."""
    copy = Path(copytree(run.directory.path, tmp_path / "copy"))
    config = copy / "run.toml"
    config.write_text(config.read_text().replace("history = 10", "history = 5"))
    changed, model = open_recorded(copy, synthetic()), Counted()
    origin = next(o for o in origins(changed, valued_states(changed)) if o.state.step == 2)
    with pytest.raises(ExceptionGroup) as raised:
        played(player(changed, model), numbered(origin, 0))
    assert raised.group_contains(DivergenceError, match="does not ask what was recorded")
    assert {call.role for call in model.asked} <= {"critic"}


# -- returns


def test_a_return_is_the_discounted_sum() -> None:
    found = Rollout(value=1.0, next_value=3.0, rewards=(2.0, 4.0, 8.0), limit=False)
    assert found.discounted(0.5) == 2 + 2 + 2
    assert found.discounted(1.0) == 14
    assert found.discounted(0.0) == 2


def test_a_target_is_the_reward_and_the_value_after_it() -> None:
    found = Rollout(value=1.0, next_value=3.0, rewards=(2.0, 4.0), limit=False)
    assert found.target(0.5) == 3.5
    assert msgspec.structs.replace(found, next_value=None).target(0.5) is None


def test_rewards_are_those_from_the_state_on(run: RecordedRun) -> None:
    """To the last, with which the user left or the limit cut the visit."""
    lines = recorded_lines(run)[0]
    trace = envelopes(lines)
    rewards = [response.reward for response in only(trace, UserResponded)]
    (ended,) = only(trace, EpisodeEnded)
    for step in range(len(rewards)):
        found = read_rollout(lines, step)
        assert found is not None
        assert found.rewards == tuple(rewards[step:])
        assert found.limit == (ended.reason == "limit")


def test_after_the_user_left_the_value_is_nothing(run: RecordedRun) -> None:
    for episode, lines in recorded_lines(run).items():
        trace = envelopes(lines)
        if episode is None or only(trace, EpisodeEnded)[0].reason == "limit":
            continue
        last = read_rollout(lines, only(trace, EpisodeEnded)[0].length - 1)
        assert last is not None
        assert last.next_value == 0


def test_an_episode_plays_on_the_memories_it_saw(run: RecordedRun, starts: list[Origin]) -> None:
    """As long as they were when it began, whatever was written since."""
    for origin, lines in zip(
        starts[::4], played(player(run), *(numbered(o, 0) for o in starts[::4])), strict=True
    ):
        started = only(envelopes(lines), EpisodeStarted)[0]
        known = envelopes(recorded_lines(run)[origin.state.episode])
        assert started == known[0].message
