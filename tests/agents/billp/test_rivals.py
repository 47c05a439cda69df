"""Agents with a model: what BiLLP, its ablations and its rivals really do, seen from outside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.billp.judging import MonteCarlo
from agents.billp.memories import EXPERIENCES, REFLECTIONS, Reflection, at_random
from agents.billp.values import returned_steps
from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest
from agents.prompts import TASTE, sections
from agents.roster import AGENTS
from engine.chance import chance
from engine.messages import (
    ActionTaken,
    AdvantageEstimated,
    EpisodeSettled,
    EpisodeStarted,
    MemoryLength,
    MemoryWritten,
    PlanMade,
    ReflectionWritten,
    StateValued,
    UserResponded,
    number,
)
from engine.records import Record, Vector
from sim.runs.replay import replay
from storage.memory import Memory
from storage.runs import RunDirectory
from tests.support.cast import Visit
from tests.support.policies import policy
from tests.support.small import Trace, only, recorded, synthetic, trace_of

THINKING = frozenset({PlanMade, ActionTaken})
MACRO = frozenset({ReflectionWritten})
JUDGED = frozenset({AdvantageEstimated})
MICRO = JUDGED | {StateValued}

SAID: dict[str, frozenset[type]] = {
    "act-only": frozenset({ActionTaken}),
    "react": THINKING,
    "reflexion": THINKING | MACRO,
    "billp": THINKING | MACRO | MICRO,
    "billp:no-macro": THINKING | MICRO,
    "billp:no-micro": THINKING | MACRO,
    "billp:no-critic": THINKING | MACRO | JUDGED,
    "billp:no-tools": THINKING | MACRO | MICRO,
}
ASKED: dict[str, set[str]] = {
    "act-only": {"actor"},
    "react": {"planner", "actor"},
    "reflexion": {"planner", "actor", "reflector"},
    "billp": {"planner", "actor", "critic", "reflector"},
    "billp:no-macro": {"planner", "actor", "critic"},
    "billp:no-micro": {"planner", "actor", "reflector"},
    "billp:no-critic": {"planner", "actor", "reflector"},
    "billp:no-tools": {"planner", "actor", "critic", "reflector"},
}
RECALLED: dict[str, set[str]] = {
    "act-only": set(),
    "react": set(),
    "reflexion": {"planner"},
    "billp": {"planner", "actor", "critic"},
    "billp:no-macro": {"actor", "critic"},
    "billp:no-micro": {"planner"},
    "billp:no-critic": {"planner", "actor"},
    "billp:no-tools": {"planner", "actor", "critic"},
}
MEMORIES: dict[str, list[str]] = {
    "billp": ["planner", "actor", "critic"],
    "billp:paper": ["planner", "actor", "critic"],
    "billp:no-macro": ["actor", "critic"],
    "billp:no-micro": ["planner"],
    "billp:no-critic": ["planner", "actor"],
    "billp:no-tools": ["planner", "actor", "critic"],
    "reflexion": ["planner"],
    "linucb": ["trials"],
    "best-sequence": ["sequences"],
}
TOLD_OF = {
    "planner": {"Reflections from earlier visits"},
    "actor": {"Encouraged in like states", "Discouraged in like states"},
    "critic": {"Values of like states"},
}
TOOLS = {
    "Categories of the recent recommendations",
    "Categories not yet tried",
    "Candidates",
    TASTE,
}
BATCH = 2  # users at a time; the next ones know what these left

of_everybody = pytest.mark.parametrize("agent", [*AGENTS])
of_whoever_asks = pytest.mark.parametrize("agent", SAID)


@dataclass
class Overheard:
    """The embedded model, whose requests are kept."""

    requests: list[ChatRequest] = field(default_factory=list)
    model: EmbeddedModel = field(default_factory=EmbeddedModel)

    async def reply(self, request: ChatRequest) -> ChatReply:
        self.requests.append(request)
        return await self.model.reply(request)


@dataclass(frozen=True)
class Seen:
    """A run of six episodes in batches of two: what it left, and what the model was asked."""

    directory: RunDirectory
    trace: Trace
    requests: list[ChatRequest]

    def asked(self, role: str) -> list[ChatRequest]:
        return [request for request in self.requests if request.call.role == role]

    def headings(self, role: str) -> set[str]:
        texts = (request.messages[-1].content for request in self.asked(role))
        return {heading for text in texts for heading in sections(text)}

    def digest(self) -> str:
        return str(self.directory.read_summary()["digest"])

    def items(self) -> dict[tuple[int, int], list[int]]:
        """Return the items of every visit, by (user, session)."""
        visits: dict[int, tuple[int, int]] = {}
        items: dict[tuple[int, int], list[int]] = {}
        for envelope in self.trace:
            if isinstance(envelope.message, EpisodeStarted) and envelope.episode is not None:
                visits[envelope.episode] = envelope.message.user, envelope.message.session
            if isinstance(envelope.message, ActionTaken) and envelope.episode is not None:
                items.setdefault(visits[envelope.episode], []).append(envelope.message.item)
        return items

    def prompts(self) -> dict[tuple[int, int], set[str]]:
        """Return the digests of what was asked in every visit, by (user, session)."""
        found: dict[tuple[int, int], set[str]] = {visit: set() for visit in self.items()}
        for request in self.requests:
            found[request.call.user, request.call.session].add(request.digest)
        return found


See = Callable[..., Seen]


@pytest.fixture(scope="module")
def see(tmp_path_factory: pytest.TempPathFactory) -> See:
    """Run an agent; the same run is made once."""
    runs: dict[str, Seen] = {}

    def seen(agent: str, **how: Any) -> Seen:
        name = f"{agent} {how}"
        if name not in runs:
            model = Overheard()
            out = tmp_path_factory.mktemp("agent") / "run"
            file = AGENTS.named(agent).file and policy(out.with_name("policy"))
            named = f"{agent}:{file}" if file else agent
            directory = recorded(out, model, agent=named, **how)
            runs[name] = Seen(directory, trace_of(directory), model.requests)
        return runs[name]

    return seen


# -- every agent


@of_everybody
@pytest.mark.parametrize("concurrency", [1, 64])
def test_concurrency_leaves_no_mark_on_any_agent(see: See, agent: str, concurrency: int) -> None:
    """One call in flight or many: the trace is the same bytes."""
    assert see(agent, concurrency=concurrency).digest() == see(agent).digest()


@of_everybody
def test_every_agent_replays_to_the_same_bytes(see: See, agent: str) -> None:
    """From the recorded replies alone, at another concurrency."""
    run = see(agent).directory.path
    told = replay(run, concurrency=3, environment=synthetic())
    assert (told.agrees, told.whole, told.finished) == (True, True, True)


@of_everybody
def test_any_episode_of_any_agent_replays_alone(see: See, agent: str) -> None:
    """The last one, which saw what the others had left in the memories."""
    run = see(agent).directory.path
    told = replay(run, episode=5, environment=synthetic())
    assert (told.agrees, told.whole) == (True, True)


@of_everybody
def test_an_agent_has_the_memories_that_it_writes_and_no_others(see: See, agent: str) -> None:
    """What an episode may see is told of each of them, in one order, and of nothing else."""
    seen = see(agent)
    names = [[one.memory for one in start.memories] for start in only(seen.trace, EpisodeStarted)]
    assert names == [MEMORIES.get(agent, [])] * 6
    assert {one.memory for one in only(seen.trace, MemoryWritten)} == {*MEMORIES.get(agent, [])}


@of_everybody
def test_an_episode_sees_what_earlier_batches_left(see: See, agent: str) -> None:
    """The length of each memory is the count of all that was written by then."""
    trace = see(agent).trace
    names = MEMORIES.get(agent, [])
    left = {name: [0] * 6 for name in names}
    for envelope in trace:
        if isinstance(envelope.message, MemoryWritten) and envelope.episode is not None:
            left[envelope.message.memory][envelope.episode] += envelope.message.count
    sums = {name: [0, *accumulate(counts)] for name, counts in left.items()}
    assert [start.memories for start in only(trace, EpisodeStarted)] == [
        tuple(MemoryLength(memory=n, length=sums[n][episode // BATCH * BATCH]) for n in names)
        for episode in range(6)
    ]


@pytest.mark.parametrize("agent", sorted({*AGENTS} - {*MEMORIES}))
def test_who_has_no_memory_learns_nothing(see: See, agent: str) -> None:
    """Nobody's visit depends on who came before: all at once, it is the same."""
    assert see(agent, arrivals="all").items() == see(agent).items()


@pytest.mark.parametrize("agent", MEMORIES)
def test_who_has_a_memory_learns(see: See, agent: str) -> None:
    """The first batch cannot know anything; later ones do otherwise than if they came first.

    Without candidates the stand-in has nothing to choose from: it is only asked otherwise.
    """
    what = Seen.prompts if agent in {"billp:no-tools", "billp:paper"} else Seen.items
    together, apart = what(see(agent, arrivals="all")), what(see(agent))
    unlike = [visit for visit in apart if apart[visit] != together[visit]]
    first = {(start.user, start.session) for start in only(see(agent).trace, EpisodeStarted)[:2]}
    assert unlike
    assert not first & {*unlike}


# -- who says what


@of_whoever_asks
def test_an_agent_says_what_its_parts_say(see: See, agent: str) -> None:
    """No critic, no values; no reflector, no reflections; no planner, no thoughts."""
    spoken = {type(envelope.message) for envelope in see(agent).trace}
    assert spoken & (THINKING | MACRO | MICRO) == SAID[agent]


@of_whoever_asks
def test_an_agent_asks_for_its_parts_alone(see: See, agent: str) -> None:
    """A part that was taken away costs no calls."""
    assert {request.call.role for request in see(agent).requests} == ASKED[agent]


@of_whoever_asks
def test_an_agent_recalls_what_it_remembers(see: See, agent: str) -> None:
    """The trace says who recalled anything, and the prompts of nobody else speak of it."""
    seen = see(agent)
    recalls = {
        "planner": any(plan.reflections for plan in only(seen.trace, PlanMade)),
        "actor": any(action.recalled for action in only(seen.trace, ActionTaken)),
        "critic": any(value.recalled for value in only(seen.trace, StateValued)),
    }
    told = {role for role, names in TOLD_OF.items() if seen.headings(role) & names}
    assert {role for role, did in recalls.items() if did} == told == RECALLED[agent]


@of_whoever_asks
def test_tools_help_whoever_has_them(see: See, agent: str) -> None:
    """Without them none says anything: the prompt has no categories, taste or candidates."""
    seen = see(agent)
    spoke = {tool.tool for action in only(seen.trace, ActionTaken) for tool in action.tools}
    if agent == "billp:no-tools":
        assert (spoke, seen.headings("actor") & TOOLS) == (set(), set())
    else:
        assert (spoke, seen.headings("actor") & TOOLS) == (
            {"categories", "untried", "candidates", "expected"},
            TOOLS,
        )


def test_who_acts_alone_has_no_planner_and_hears_of_none(see: See) -> None:
    """Neither the task nor the matter speaks of thoughts, a planner, or what worked in states."""
    asked = see("act-only").asked("actor")
    words = {word for request in asked for word in request.messages[0].content.casefold().split()}
    assert not words & {"planner", "planner.", "thought", "encouraged", "discouraged"}
    assert not any("Thought" in sections(request.messages[-1].content) for request in asked)


def test_who_follows_a_planner_hears_its_thought(see: See) -> None:
    """The counterpart: the actor of ReAct is told of the planner and what it thinks."""
    seen = see("react")
    said = [sections(r.messages[-1].content)["Thought"] for r in seen.asked("actor")]
    assert all("a planner" in request.messages[0].content for request in seen.asked("actor"))
    assert sorted(said) == sorted([plan.thought] for plan in only(seen.trace, PlanMade))


def test_before_anything_is_learned_all_who_think_act_alike(see: See) -> None:
    """The same planner, actor, tools and model for all: nobody is weakened to look bad."""
    alike = [agent for agent in SAID if agent not in {"act-only", "billp:no-tools"}]
    firsts = [[*see(agent).items().items()][:BATCH] for agent in alike]
    assert firsts == [firsts[0]] * len(alike)


@pytest.mark.parametrize("agent", ["billp:no-macro", "billp:no-micro", "billp:no-critic"])
def test_what_an_ablation_takes_away_makes_a_difference(see: See, agent: str) -> None:
    """Once something was learned, the whole agent goes another way than its parts."""
    assert see(agent).items() != see("billp").items()


# -- advantages


@pytest.mark.parametrize("agent", [agent for agent, kinds in SAID.items() if kinds >= JUDGED])
def test_the_actor_remembers_the_advantages_that_were_told(see: See, agent: str) -> None:
    """One experience for each, of the item of that step; critic and actor cannot disagree."""
    seen = see(agent)
    saved = Memory.load(seen.directory.memory, EXPERIENCES).records()
    kept = [(r.episode, r.payload.item, r.payload.advantage) for r in saved]
    items = {
        (envelope.episode, envelope.message.step): envelope.message.item
        for envelope in seen.trace
        if isinstance(envelope.message, ActionTaken)
    }
    told = [
        (envelope.episode, items[envelope.episode, message.step], message.advantage)
        for envelope in seen.trace
        if isinstance(message := envelope.message, AdvantageEstimated)
    ]
    assert sorted(kept) == sorted((e, i, a) for e, i, a in told if e is not None)


def told_advantages(trace: Trace, episode: int) -> list[AdvantageEstimated]:
    return only([e for e in trace if e.episode == episode], AdvantageEstimated)


def rewards(trace: Trace, episode: int) -> list[float]:
    part = [envelope for envelope in trace if envelope.episode == episode]
    return [response.reward for response in only(part, UserResponded)]


@pytest.mark.parametrize("discount", [0.5, 0.0, 1.0])
def test_without_a_critic_advantages_are_returns_above_their_mean(
    see: See, discount: float
) -> None:
    """Gₙ = Σₖ γᵏ·rₙ₊ₖ less the mean of the episode; the rewards of a trace are all it takes."""
    trace = see("billp:no-critic", critic={"discount": discount}).trace
    assert only(trace, StateValued) == []
    for episode in range(6):
        gained = rewards(trace, episode)
        returns = discounted(gained, discount)
        mean = sum(returns) / len(returns)
        told = told_advantages(trace, episode)
        assert [one.step for one in told] == list(range(len(gained)))
        assert [one.value for one in told] == pytest.approx([mean] * len(gained), rel=1e-5)
        assert [one.advantage for one in told] == pytest.approx(
            [one - mean for one in returns], rel=1e-5, abs=1e-5
        )


def discounted(gained: list[float], discount: float) -> list[float]:
    return [
        sum(discount**k * reward for k, reward in enumerate(gained[step:]))
        for step in range(len(gained))
    ]


def test_returns_by_hand() -> None:
    """4, 3, 1.5 at γ = 0.5: G = 5.875, 3.75, 1.5; their mean is 3.70833."""
    told = Visit(rewards=(4.0, 3.0, 1.5)).run((EpisodeSettled, MonteCarlo().settle))
    assert told.only(AdvantageEstimated) == [
        AdvantageEstimated(step=0, value=3.70833, next_value=3.75, advantage=2.16667),
        AdvantageEstimated(step=1, value=3.70833, next_value=1.5, advantage=0.0416667),
        AdvantageEstimated(step=2, value=3.70833, next_value=0.0, advantage=-2.20833),
    ]


@given(
    gained=st.lists(st.floats(1, 5), min_size=1, max_size=50),
    discount=st.floats(0, 1, allow_subnormal=False),
)
def test_returns_lie_around_their_mean(gained: list[float], discount: float) -> None:
    """For all rewards and discounts the advantages are those of the definition, and sum to 0."""
    episode = [UserResponded(step=n, reward=r, left=False) for n, r in enumerate(gained)]
    worths = [one.advantage for one in returned_steps(episode, discount=discount)]
    returns = discounted(gained, discount)
    mean = sum(returns) / len(returns)
    assert worths == pytest.approx([one - mean for one in returns], rel=1e-5, abs=1e-5)
    assert sum(worths) == pytest.approx(0, abs=1e-3 * len(gained))


@pytest.mark.parametrize(("with_reward", "discount"), [(True, 0.5), (True, 0.9), (False, 0.5)])
def test_the_critics_advantages_follow_the_settings(
    see: See, with_reward: bool, discount: float
) -> None:
    """r + γ·V(s′) − V(s), with the least V after leaving; or without r, as the authors' runs."""
    told = {"reward_in_advantage": with_reward, "discount": discount}
    trace = see("billp", critic=told).trace
    for episode in range(6):
        part = [envelope for envelope in trace if envelope.episode == episode]
        values = {value.state: value.value for value in only(part, StateValued)}
        worths = []
        for response in only(part, UserResponded):
            after = -5.0 if response.left else values[response.step + 1]
            gain = response.reward + discount * after if with_reward else after
            worths.append(number(gain - values[response.step]))
        assert [one.advantage for one in only(part, AdvantageEstimated)] == worths


# -- reflections at random


def lessons(*keys: Vector) -> Memory[Reflection]:
    memory = Memory(REFLECTIONS)
    for episode, key in enumerate(keys):
        memory.append(Record(episode, key, Reflection(text=f"lesson {episode}")))
    return memory


NUMBERS = st.lists(st.integers(-60, 60), min_size=4, max_size=4).filter(any)
KEYS = st.lists(NUMBERS.map(lambda n: np.array(n, np.int8)), min_size=1, max_size=12)


def cosine_distance(one: Vector, other: Vector) -> float:
    a, b = one.astype(float), other.astype(float)
    return float(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@given(keys=KEYS, seen=st.integers(0, 12), count=st.integers(0, 5), seed=st.integers(0, 1_000))
def test_random_reflections_are_distinct_and_of_the_view(
    keys: list[Vector], seen: int, count: int, seed: int
) -> None:
    """As many as are asked for or there are, each with the distance that it really has."""
    view = lessons(*keys).view(min(seen, len(keys)))
    found = at_random(view, keys[0], count, 2.0, chance(seed, 0, 0, 0, "reflections"))
    places = [recall.position for recall in found]
    assert len(places) == len({*places}) == min(count, len(view))
    assert all(place < len(view) for place in places)
    assert [recall.distance for recall in found] == pytest.approx(
        [cosine_distance(keys[0], keys[place]) for place in places], abs=1e-5
    )
    assert [recall.record.episode for recall in found] == places


@given(keys=KEYS, within=st.floats(0, 2), seed=st.integers(0, 1_000))
def test_random_reflections_beyond_a_distance_are_left_out(
    keys: list[Vector], within: float, seed: int
) -> None:
    """Of those drawn; others do not take their places."""
    view = lessons(*keys).view(len(keys))
    drawn, near = (
        at_random(view, keys[0], 2, limit, chance(seed, 0, 0, 0, "reflections"))
        for limit in (2.0, within)
    )
    assert [r.position for r in near] == [r.position for r in drawn if r.distance <= within]


def test_each_reflection_is_as_likely_as_any_other() -> None:
    """Two of five, 2,000 times: each comes 800 times, however far from the user it is."""
    keys = [hashed((text,)) for text in ("Chess Duel", "Go", "Go Master", "Mars", "Zoo")]
    view = lessons(*keys).view(5)
    drawn = [
        recall.position
        for seed in range(2_000)
        for recall in at_random(view, keys[0], 2, 2.0, chance(seed, 0, 0, 0, "reflections"))
    ]
    counts = np.bincount(drawn, minlength=5).tolist()
    assert counts == pytest.approx([800] * 5, abs=90)


def test_reflexion_draws_anew_at_each_step(see: See) -> None:
    """Where BiLLP's planner has the same two nearest reflections during the whole visit."""
    drawn, nearest = (
        {plan.reflections for plan in only(part, PlanMade)}
        for part in (last_episode(see("reflexion").trace), last_episode(see("billp").trace))
    )
    assert len(drawn) > len(nearest) == 1


def last_episode(trace: Trace) -> Trace:
    return [envelope for envelope in trace if envelope.episode == 5]


@pytest.mark.parametrize("agent", ["reflexion", "billp"])
def test_recalled_reflections_are_as_far_as_the_trace_says(see: See, agent: str) -> None:
    """The distance of the user's history from that of whom the lesson was drawn from."""
    seen = see(agent)
    saved = Memory.load(seen.directory.memory, REFLECTIONS)
    key = np.zeros(0, np.int8)
    checked = 0
    for envelope in seen.trace:
        if isinstance(envelope.message, EpisodeStarted):
            key = hashed(tuple(rated.title for rated in envelope.message.history))
        if isinstance(envelope.message, PlanMade):
            for one in envelope.message.reflections:
                record = saved[one.position]
                assert record.episode == one.episode
                assert one.distance == pytest.approx(cosine_distance(key, record.key), abs=1e-5)
                checked += 1
    assert checked > 20


def test_another_seed_draws_other_reflections(see: See) -> None:
    """And the same seed the same ones: chance is part of what decides a run."""
    positions = [
        [
            [one.position for one in plan.reflections]
            for plan in only(see("reflexion", seed=seed).trace, PlanMade)
        ]
        for seed in (0, 1)
    ]
    assert positions[0] != positions[1]


def test_a_named_agent_has_what_the_tests_say() -> None:
    """A new agent with a memory has a line in the tables above."""
    written = {name: [one.name for one in AGENTS.named(name).memories] for name in AGENTS}
    assert {name: names for name, names in written.items() if names} == MEMORIES
