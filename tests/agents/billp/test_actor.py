"""The actor: from a thought to an item of the catalog."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from agents.billp.actor import PLAIN, TASK, Actor, read_action
from agents.billp.grounding import Grounder
from agents.billp.memories import EXPERIENCES, Experience
from agents.billp.states import state_lines
from agents.billp.tools import CandidateSearch
from agents.billp.values import judged_steps
from agents.embeddings import hashed
from agents.models.model import Prompt
from agents.prompts import item_lines
from agents.settings import ActorSettings, Repeats
from agents.trajectory import Delivery
from engine.errors import UnreadableReplyError
from engine.messages import (
    ActionTaken,
    EpisodeFailed,
    EpisodeSettled,
    EpisodeStarted,
    MemoryWritten,
    PlanMade,
    Recalled,
    StateValued,
    UserResponded,
)
from engine.records import Vector
from tests.support.cast import (
    CATALOG,
    CHESS,
    EVERYTHING,
    GO,
    HOUSE,
    OPERA,
    PILOT,
    RACER,
    Told,
    Visit,
    headings,
    known,
    lines,
    trajectory,
)

SYSTEM = f"{TASK}\n{PLAIN.words}"

ACTOR = Actor(CATALOG, CandidateSearch(CATALOG), Grounder(CATALOG), ActorSettings())


def settled(**settings: Any) -> Actor:
    return replace(ACTOR, settings=ActorSettings(**settings))


START = ("nothing yet",)
"""The text of state 0."""


def saying(*replies: str) -> Visit:
    """Return a visit of as many steps as the actor's model has *replies*."""
    return Visit(script=lambda prompt: replies[prompt.step], rewards=[4.0] * len(replies))


def acted(visit: Visit, actor: Actor = ACTOR) -> Told:
    return visit.run((PlanMade, actor.act))


def actions(visit: Visit, actor: Actor = ACTOR) -> list[ActionTaken]:
    return acted(visit, actor).only(ActionTaken)


def worth(item: int, advantage: float) -> Experience:
    return Experience(item=item, title=CATALOG.titles[item], advantage=advantage)


def offered(prompt: Prompt) -> list[str]:
    """Return the titles of the candidates in a prompt."""
    return [line[2:].split(" | ")[0] for line in lines(prompt, "Candidates")]


# -- from words to items


def test_a_thought_becomes_an_item() -> None:
    """The message says which, what the model said, and how the one became the other."""
    (action,) = actions(saying("recommend[go master]"))
    assert (action.step, action.item, action.title) == (0, GO, "Go Master")
    assert (action.words, action.grounding, action.distance) == ("go master", "normalised", 0.0)


def test_every_step_gets_an_item() -> None:
    said = ["recommend[Star Pilot]", "recommend[Night Racr]", "recommend[space opera soundtrack]"]
    assert [(a.step, a.item, a.grounding) for a in actions(saying(*said))] == [
        (0, PILOT, "exact"),
        (1, RACER, "fuzzy"),
        (2, OPERA, "nearest"),
    ]


def test_an_unreadable_action_is_asked_again() -> None:
    replies = iter(["Go Master", "recommend[Go Master]"])
    visit = Visit(script=lambda prompt: next(replies), rewards=[1.0])
    told = acted(visit)
    assert [(a.item, a.grounding) for a in told.only(ActionTaken)] == [(GO, "exact")]
    assert [call.occurrence for call, _ in told.asked] == [0, 1]


def test_what_cannot_be_read_falls_back_on_the_nearest_candidate() -> None:
    """An unreadable action does not end the visit; its text still says something."""
    visit = replace(saying("Surely the Space Opera!"), thought="Science Fiction, please.")
    told = acted(visit)
    (action,) = told.only(ActionTaken)
    assert (action.item, action.grounding) == (OPERA, "fallback")
    assert action.words == "Surely the Space Opera!"
    assert 0 < action.distance < 1
    assert len(told.prompts) == 2


def test_the_fallback_takes_candidates_only() -> None:
    """Haunted House is named, and does not fit the thought."""
    visit = replace(saying("Haunted House"), thought="Take from Racing.")
    assert [a.item for a in actions(visit)] == [RACER]


def test_without_candidates_the_fallback_is_the_catalog() -> None:
    (action,) = actions(saying("Haunted House"), settled(candidates=0))
    assert (action.item, action.grounding) == (HOUSE, "fallback")


def test_a_failed_call_fails_the_episode() -> None:
    told = acted(Visit(script=lambda prompt: None))
    assert told.only(EpisodeFailed) == [EpisodeFailed(why="Actor.act raised CallFailedError")]
    assert told.only(ActionTaken) == []


# -- items shown before


@pytest.mark.parametrize(
    ("repeats", "again"), [("forbid", False), ("avoid", True), ("allow", True)]
)
def test_repeats_are_a_switch(repeats: Repeats, again: bool) -> None:
    """Forbidden, the nearest other item is taken; else the model's word counts."""
    shown = [a.item for a in actions(saying(*["recommend[Go Master]"] * 3), actor_for(repeats))]
    assert shown[0] == GO
    assert (shown[1:] == [GO, GO]) == again
    assert len(set(shown)) == (1 if again else 3)


def actor_for(repeats: Repeats) -> Actor:
    return replace(ACTOR, repeats=repeats, settings=ActorSettings(within=2.0, recall_count=5))


@pytest.mark.parametrize(
    ("repeats", "offers"), [("forbid", False), ("avoid", False), ("allow", True)]
)
def test_only_where_repeats_are_allowed_they_are_offered(repeats: Repeats, offers: bool) -> None:
    """Among the candidates as among the encouraged and the discouraged."""
    memories = known(EXPERIENCES, (START, worth(GO, 1.0)))
    visit = saying(*["recommend[Go Master]"] * 2)
    visit = replace(visit, memories=memories, thought="Take from Puzzle.")
    first, second = acted(visit, actor_for(repeats)).prompts
    assert "Go Master" in offered(first)
    assert lines(first, "Encouraged in like states") == ["- Go Master | Puzzle, Strategy"]
    assert ("Go Master" in offered(second)) == offers
    assert bool(lines(second, "Encouraged in like states")) == offers


@pytest.mark.parametrize(("pooled", "recalled"), [(True, []), (False, [0])])
def test_the_message_tells_what_was_recalled(pooled: bool, recalled: list[int]) -> None:
    """Of an item that was shown nothing is, unless so many records are recalled, whatever of."""
    memories = known(EXPERIENCES, (START, worth(GO, 1.0)))
    visit = saying("recommend[Go Master]", "recommend[Star Pilot]")
    told = acted(replace(visit, memories=memories), settled(pooled=pooled, within=2.0))
    assert "Encouraged in like states" not in headings(told.prompts[1])
    assert [r.position for r in told.only(ActionTaken)[1].recalled] == recalled


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_there_are_as_many_hints_late_in_a_visit(sign: float) -> None:
    """Items that were shown take nobody's place among them."""
    records = [(START, worth(item, sign)) for item in EVERYTHING]
    visit = saying(*[f"recommend[{CATALOG.titles[item]}]" for item in EVERYTHING[:4]])
    visit = replace(visit, memories=known(EXPERIENCES, *records))
    heading = f"{'Encouraged' if sign > 0 else 'Discouraged'} in like states"
    prompts = acted(visit, settled(hints=3, within=2.0)).prompts
    assert [len(lines(prompt, heading)) for prompt in prompts] == [3, 3, 3, 3]
    assert lines(prompts[3], heading) == [*item_lines(CATALOG, EVERYTHING[3:6])]


def test_the_whole_catalog_can_be_shown_without_repeats() -> None:
    visit = saying(*["recommend[Go Master]"] * len(EVERYTHING))
    shown = [action.item for action in actions(visit)]
    assert sorted(shown) == list(EVERYTHING)


# -- the prompt


def test_the_prompt_has_its_parts_in_order() -> None:
    records = [(START, worth(RACER, 1.0)), (START, worth(HOUSE, -1.0))]
    visit = saying("recommend[Star Pilot]", "recommend[Space Opera]")
    told = acted(
        replace(visit, memories=known(EXPERIENCES, *records)),
        settled(within=2.0),
    )
    prompt = told.prompts[1]
    assert (prompt.role, prompt.step, prompt.system) == ("actor", 1, SYSTEM)
    assert headings(prompt) == [
        "History of the user",
        "Recent recommendations",
        "Categories of the recent recommendations",
        "Categories not yet tried",
        "Candidates",
        "Encouraged in like states",
        "Discouraged in like states",
        "Thought",
        "Question",
    ]
    assert lines(prompt, "Question") == ["Which item is recommended at step 1?"]


def test_the_prompt_shows_thought_and_recent_items() -> None:
    visit = saying("recommend[Star Pilot]", "recommend[Space Opera]")
    prompt = acted(replace(visit, thought="Go on.")).prompts[1]
    assert lines(prompt, "Thought") == ["Go on."]
    assert lines(prompt, "Recent recommendations") == [
        "- Star Pilot | Action, Science Fiction | 4.00"
    ]


def test_the_tools_are_in_the_prompt_and_in_the_message() -> None:
    """So a trace shows what the model was told, and categories are whole words, not letters."""
    told = acted(saying("recommend[Star Pilot]", "recommend[Space Opera]"))
    prompt, action = told.prompts[1], told.only(ActionTaken)[1]
    said = {result.tool: result.text for result in action.tools}
    assert said["categories"] == "Action 1, Science Fiction 1"
    assert said["untried"] == "Puzzle, Strategy, Fiction, Horror, Racing, Simulation"
    assert lines(prompt, "Categories of the recent recommendations") == [said["categories"]]
    assert lines(prompt, "Categories not yet tried") == [said["untried"]]
    assert lines(prompt, "Candidates") == said["candidates"].split("\n")


def test_the_tools_look_at_the_last_items() -> None:
    """At more than the last one, and in the end not at the first any more."""
    words = ["Chess Duel", *["Space Opera"] * 10, "Star Pilot"]
    visit = saying(*[f"recommend[{title}]" for title in words])
    prompts = acted(visit, actor_for("allow")).prompts
    heading = "Categories of the recent recommendations"
    assert lines(prompts[2], heading) == ["Puzzle 1, Science Fiction 1, Strategy 1"]
    assert lines(prompts[11], heading) == ["Science Fiction 10"]


def test_candidates_fit_the_thought() -> None:
    visit = replace(saying("recommend[Star Pilot]"), thought="Take from Racing; avoid Horror.")
    assert offered(acted(visit).prompts[0]) == ["Night Racer"]


def test_there_are_so_many_candidates_at_most() -> None:
    actor = settled(candidates=3)
    assert len(offered(acted(saying("recommend[Star Pilot]"), actor).prompts[0])) == 3


def test_candidates_are_the_seeds() -> None:
    """The same run draws the same ones, another seed or another user others."""
    draws = [
        acted_by(seed, user) for seed, user in [(0, 0), (0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]
    ]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) > 2


def acted_by(seed: int, user: int) -> list[str]:
    visit = replace(saying("recommend[Star Pilot]"), users=[user])
    return offered(visit.run((PlanMade, ACTOR.act), seed=seed).prompts[0])


# -- what is remembered


def test_experiences_encourage_and_discourage() -> None:
    """By the sign of the advantage, the most telling first: 0 is no loss, so it encourages."""
    records = [(START, worth(HOUSE, -0.5)), (START, worth(RACER, 0.0)), (START, worth(PILOT, 2.0))]
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    told = acted(visit)
    prompt = told.prompts[0]
    assert lines(prompt, "Encouraged in like states") == [*item_lines(CATALOG, [PILOT, RACER])]
    assert lines(prompt, "Discouraged in like states") == [*item_lines(CATALOG, [HOUSE])]
    assert told.only(ActionTaken)[0].recalled == tuple(
        Recalled(position=position, episode=0, distance=0.0) for position in (2, 1, 0)
    )


def test_an_item_is_encouraged_once() -> None:
    records = [(START, worth(RACER, 1.0)), (START, worth(RACER, 2.0))]
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    encouraged = lines(acted(visit).prompts[0], "Encouraged in like states")
    assert encouraged == ["- Night Racer | Racing"]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_items_advantage_is_the_mean_over_like_states(sign: float) -> None:
    """So it is never encouraged and discouraged at once."""
    records = [(START, worth(RACER, -sign)), (START, worth(RACER, 3 * sign))]
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    prompt = acted(visit).prompts[0]
    word, other = ("Encouraged", "Discouraged") if sign > 0 else ("Discouraged", "Encouraged")
    assert lines(prompt, f"{word} in like states") == ["- Night Racer | Racing"]
    assert f"{other} in like states" not in headings(prompt)


def test_unlike_states_say_nothing() -> None:
    records = [(("Quantum Tennis",), worth(RACER, 1.0))]
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    told = acted(visit)
    assert "Encouraged in like states" not in headings(told.prompts[0])
    assert told.only(ActionTaken)[0].recalled == ()


@pytest.mark.parametrize("how", [{"pooled": False, "recall_count": 2}, {"hints": 2}])
def test_so_many_experiences_are_told_at_most(how: dict[str, Any]) -> None:
    records = [(START, worth(item, 1.0)) for item in EVERYTHING]
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    (action,) = actions(visit, settled(**how))
    assert [recalled.position for recalled in action.recalled] == [0, 1]


def thirty(pooled: bool) -> Told:
    """Twelve old records of a state that speak for an item, and newer ones that speak against."""
    records = [(START, worth(RACER, 0.5))] * 12 + [(START, worth(RACER, -2.0))] * 18
    visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
    return acted(visit, settled(pooled=pooled, hints=3))


def test_all_the_evidence_of_a_state_counts() -> None:
    """Of one that is not pooled the oldest records hide the others for ever."""
    told = thirty(pooled=True)
    assert lines(told.prompts[0], "Discouraged in like states") == ["- Night Racer | Racing"]
    assert [one.position for one in told.only(ActionTaken)[0].recalled] == [29]
    prompt = thirty(pooled=False).prompts[0]
    assert lines(prompt, "Encouraged in like states") == ["- Night Racer | Racing"]


def test_what_was_learned_elsewhere_is_not_taken_for_this() -> None:
    """An actor may be asked of another log: what it kept is of the log that it was asked of."""
    for sign in (1.0, -1.0):
        records = [(START, worth(RACER, sign))]
        visit = replace(saying("recommend[Star Pilot]"), memories=known(EXPERIENCES, *records))
        heading = "Encouraged" if sign > 0 else "Discouraged"
        assert lines(acted(visit).prompts[0], f"{heading} in like states")


async def value_start(delivery: Delivery[EpisodeStarted]) -> None:
    delivery.publish(StateValued(state=0, value=1.0))


async def value_next(delivery: Delivery[UserResponded]) -> None:
    """Value the states 1 and 3, not 2; the user leaves after the third step."""
    if delivery.message.step != 1 and not delivery.message.left:
        delivery.publish(StateValued(state=delivery.message.step + 1, value=3.0))


def remembered(actor: Actor = ACTOR) -> Told:
    visit = Visit(items=[CHESS, RACER, HOUSE, OPERA], rewards=[4.0, 3.0, 2.0, 1.5])
    return visit.run(
        (EpisodeStarted, value_start), (UserResponded, value_next), (EpisodeSettled, actor.remember)
    )


def test_each_item_is_remembered_with_its_advantage() -> None:
    """4 + 0.5·3 − 1 for step 0, 1.5 − 3 for the last; no values, no experience: steps 1 and 2."""
    told = remembered()
    assert [record.payload for record in told.kept(EXPERIENCES)] == [
        worth(CHESS, 4.5),
        worth(OPERA, -1.5),
    ]
    assert told.only(MemoryWritten) == [MemoryWritten(memory="actor", count=2)]


def test_an_experience_lies_under_the_state_it_was_made_in() -> None:
    """Before the item was shown, since that is when it will be asked for."""
    steps = [(CHESS, 4.0), (RACER, 3.0), (HOUSE, 2.0)]
    visit = Visit(script=lambda prompt: "recommend[Go Master]", rewards=[1.0])
    told = replace(visit, memories=remembered().memories).run((PlanMade, ACTOR.act))
    (action,) = told.only(ActionTaken)
    assert action.recalled == (Recalled(position=0, episode=0, distance=0.0),)
    view = told.memories["actor"].view(2)
    (found,) = view.recall(hashed_state(steps), 1)
    assert (found.position, found.distance) == (1, 0.0)


def hashed_state(steps: list[tuple[int, float]]) -> Vector:
    return hashed(state_lines(trajectory(*steps)))


@pytest.mark.parametrize(
    ("actor", "advantages"),
    [
        (replace(ACTOR, judge=partial(judged_steps, discount=0.0)), [3.0, -1.5]),
        (replace(ACTOR, judge=partial(judged_steps, discount=1.0)), [6.0, -1.5]),
        (replace(ACTOR, judge=partial(judged_steps, with_reward=False)), [2.0, -3.0]),
    ],
)
def test_advantages_follow_the_settings(actor: Actor, advantages: list[float]) -> None:
    kept = remembered(actor).kept(EXPERIENCES)
    assert [record.payload.advantage for record in kept] == advantages


# -- reading


def test_nothing_in_the_system_prompt_can_be_copied_into_an_action() -> None:
    """Small models copy what they are shown: there is no example, and its form names no item."""
    assert "Answer with recommend[title]" in SYSTEM
    with pytest.raises(UnreadableReplyError):
        read_action(SYSTEM)


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ("recommend[Go Master]", "Go Master"),
        ("Recommend [ Go Master ]\n", "Go Master"),
        ("I would recommend[Go Master].", "Go Master"),
        ("recommend[Go Master [Remastered]]", "Go Master [Remastered]"),
        ("recommend[Go [Master]", "Go [Master"),
        ("recommend[Go Master]\nrecommend[Chess Duel]", "Go Master"),
        ("Either recommend[Go Master] or recommend[Chess Duel].", "Go Master"),
    ],
)
def test_the_title_stands_in_brackets(reply: str, title: str) -> None:
    """Titles may have brackets of their own."""
    assert read_action(reply) == title


@pytest.mark.parametrize("reply", ["", "Go Master", "recommend[]", "recommend[ ]", "recommend Go"])
def test_other_replies_are_no_action(reply: str) -> None:
    with pytest.raises(UnreadableReplyError, match=r"expected recommend\[title\], got"):
        read_action(reply)
