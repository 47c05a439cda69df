"""The embedded model: rules over the text of a request, and over nothing else."""

import asyncio
import re
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from agents.billp.actor import Actor, read_action
from agents.billp.advice import Advice, Surprise
from agents.billp.critic import Critic, read_value
from agents.billp.grounding import Grounder
from agents.billp.memories import Reflection, Valuation
from agents.billp.planner import Planner, read_thought
from agents.billp.reflector import Reflector, read_reflection
from agents.billp.taste import NO_TASTE, Taste, Taster
from agents.billp.tools import CandidateSearch
from agents.embeddings import hashed
from agents.models.embedded import EmbeddedModel
from agents.models.model import ChatReply, ChatRequest, Prompt, Sampling, request_for
from agents.prompts import role_of
from agents.settings import ActorSettings
from agents.trajectory import Trajectory
from engine.calls import Call
from engine.errors import CallFailedError
from engine.messages import EpisodeEnded
from engine.records import P, Recall, Record
from storage.catalog import Catalog
from storage.datasets.fitting import Ratings
from tests.support.cast import (
    CATALOG,
    CHESS,
    FARM,
    GO,
    HOUSE,
    OPERA,
    PILOT,
    RACER,
    SAGA,
    trajectory,
)

PLANNER = Planner(CATALOG)
ACTOR = Actor(CATALOG, CandidateSearch(CATALOG), Grounder(CATALOG), ActorSettings())
CRITIC = Critic(CATALOG)
REFLECTOR = Reflector(CATALOG)
SEEDS = range(20)
EVERYTHING_RATED = Ratings(
    np.arange(len(CATALOG)),
    np.arange(len(CATALOG)),
    np.full(len(CATALOG), 3.0),
    (len(CATALOG), len(CATALOG)),
)
CALL = Call(episode=1, user=2, session=0, step=3, role="planner", occurrence=0)


def asked(prompt: Prompt, seed: int = 0, instructions: str = "") -> ChatRequest:
    sampling = Sampling(model="embedded", instructions=instructions)
    call = msgspec.structs.replace(CALL, role=prompt.role)
    return msgspec.structs.replace(request_for(prompt, call, sampling, 0), seed=seed)


def reply(request: ChatRequest) -> ChatReply:
    return asyncio.run(EmbeddedModel().reply(request))


def said(prompt: Prompt, seed: int = 0) -> str:
    return reply(asked(prompt, seed)).text


def thoughts(so_far: Trajectory, *reflections: str) -> list[str]:
    """Return what the planner's rule says under several seeds."""
    found = [recall(Reflection(text=text)) for text in reflections]
    return [read_thought(said(PLANNER.prompt(so_far, found), seed)) for seed in SEEDS]


def chosen(
    so_far: Trajectory, candidates: list[int], *worths: tuple[int, float], thought: str = "Go on."
) -> set[str]:
    """Return the titles that the actor's rule takes under several seeds."""
    so_far = msgspec.structs.replace(so_far, thought=thought)
    good = tuple(item for item, advantage in worths if advantage >= 0)
    bad = tuple(item for item, advantage in worths if advantage < 0)
    prompt = ACTOR.prompt(so_far, ACTOR.consult(so_far, candidates), Advice(good, bad))
    return {read_action(said(prompt, seed)) for seed in SEEDS}


def value(*steps: tuple[int, float], like: float | None = None) -> float:
    so_far = trajectory(*steps)
    found = [] if like is None else [recall(Valuation(value=like))]
    return read_value(said(CRITIC.prompt(so_far, so_far.length, found)))


def lesson(*steps: tuple[int, float], left: bool = True) -> str:
    so_far = trajectory(*steps)
    ended = EpisodeEnded(length=so_far.length, reward=0.0, reason="quit" if left else "limit")
    return read_reflection(said(REFLECTOR.prompt(so_far, ended)))


def recall(payload: P) -> Recall[P]:
    return Recall(position=0, distance=0.0, record=Record(0, hashed(("key",)), payload))


PROMPTS = [
    PLANNER.prompt(trajectory((GO, 5.0), (RACER, 4.0), (OPERA, 3.5)), []),
    ACTOR.prompt(
        trajectory((GO, 5.0)), ACTOR.consult(trajectory((GO, 5.0)), [HOUSE, RACER, OPERA])
    ),
    CRITIC.prompt(trajectory((GO, 5.0)), 1, []),
    REFLECTOR.prompt(trajectory((GO, 5.0)), EpisodeEnded(length=1, reward=5.0, reason="quit")),
]


# -- of every rule


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: str(prompt.role))
def test_the_same_request_gets_the_same_reply(prompt: Prompt) -> None:
    """From any model, in any order: nothing is kept from call to call."""
    model = EmbeddedModel()

    async def main() -> list[ChatReply]:
        first = await model.reply(asked(prompt))
        for other in PROMPTS:
            await model.reply(asked(other, seed=7))
        return [first, await model.reply(asked(prompt)), await EmbeddedModel().reply(asked(prompt))]

    first, again, elsewhere = asyncio.run(main())
    assert first == again == elsewhere


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: str(prompt.role))
def test_only_messages_and_seed_count(prompt: Prompt) -> None:
    """Who asks, when, and with which settings does not arrive at a remote model either."""
    request = asked(prompt)
    stranger = msgspec.structs.replace(
        request,
        call=msgspec.structs.replace(CALL, episode=9, user=9, role="stranger"),
        sampling=Sampling(model="other", temperature=None, max_tokens=1),
    )
    assert reply(stranger) == reply(request)


def test_another_seed_may_get_another_reply() -> None:
    """Planner and actor break ties by chance; so a second attempt is a new one."""
    planner, actor, *_ = PROMPTS
    assert len({said(planner, seed) for seed in SEEDS}) > 1
    assert len({said(actor, seed) for seed in SEEDS}) > 1


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: str(prompt.role))
def test_instructions_do_not_hide_the_role(prompt: Prompt) -> None:
    """They are added to the system prompt, by which the rule is known."""
    assert reply(asked(prompt, instructions="Be kind.")).text == said(prompt)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: str(prompt.role))
def test_an_improved_prompt_silences_nobody(prompt: Prompt) -> None:
    """In process the call says who asks; a service knows every task by its opening."""
    improved = msgspec.structs.replace(prompt, system=f"Be wise. {prompt.system}")
    assert said(improved) == said(prompt)
    assert role_of(prompt.system) == prompt.role
    assert role_of(improved.system) == ""


def test_what_is_none_of_the_roles_is_told_what_it_is() -> None:
    """It does not pretend to be a language model."""
    assert "is not a language model" in said(Prompt(role="x", step=0, system="Hi", text="Who?"))


def test_tokens_are_estimated() -> None:
    """Four characters each, so that limits and costs can be rehearsed."""
    prompt = PROMPTS[0]
    answer = reply(asked(prompt))
    assert answer.prompt_tokens == (len(prompt.system) + len(prompt.text)) // 4
    assert answer.completion_tokens == len(answer.text) // 4 + 1


# -- planner


def test_the_planner_takes_from_what_was_liked() -> None:
    """By the rewards above the middle, of the history as of the visit."""
    so_far = trajectory((RACER, 5.0), rated=[(OPERA, 4.5), (HOUSE, 1.0)])
    assert set(thoughts(so_far)) == {
        "Take from Racing or Science Fiction.",
        "Take from Science Fiction or Racing.",
    }


def test_the_planner_warns_of_what_was_disliked() -> None:
    """Thoroughly: a single low reward is no habit."""
    once, twice = [(HOUSE, 1.0)], [(HOUSE, 1.0), (HOUSE, 1.0)]
    assert set(thoughts(trajectory(rated=once))) == {"Take what was never tried."}
    assert set(thoughts(trajectory(rated=twice))) == {"Take what was never tried; avoid Horror."}


def test_the_planner_learns_what_others_liked() -> None:
    """From reflections, in the words of the reflector's rule."""
    reflection = "The user stayed. Well liked: Racing. Of these, not welcome: Horror."
    assert set(thoughts(trajectory(rated=()), reflection)) == {"Take from Racing."}
    assert set(thoughts(trajectory(rated=[(HOUSE, 3.5)]), reflection)) == {"Take from Racing."}


def test_the_planner_learns_to_vary() -> None:
    """Then nothing like the last items, however well they were liked."""
    so_far = trajectory((GO, 5.0), (RACER, 5.0), rated=[(OPERA, 4.0)])
    for thought in thoughts(so_far, "Next time vary the categories."):
        assert thought.startswith("Vary: nothing like the last items; take from Science Fiction;")
        assert thought.endswith("avoid Puzzle, Racing, Strategy.")
    assert not any(thought.startswith("Vary") for thought in thoughts(so_far))


# -- actor


def test_the_actor_takes_what_the_thought_wants() -> None:
    thought = "Take from Racing; avoid Horror."
    assert chosen(trajectory(rated=()), [HOUSE, SAGA, RACER], thought=thought) == {"Night Racer"}


def test_the_actor_leaves_what_the_thought_warns_of() -> None:
    thought = "Take what was never tried; avoid Horror."
    assert chosen(trajectory(rated=()), [HOUSE, RACER], thought=thought) == {"Night Racer"}


def test_the_actor_knows_the_users_taste() -> None:
    so_far = trajectory(rated=[(CHESS, 5.0), (HOUSE, 1.0)])
    assert chosen(so_far, [HOUSE, GO, RACER]) == {"Go Master"}


def test_the_actor_takes_what_was_encouraged() -> None:
    """Even if it is no candidate; the first before the others."""
    so_far = trajectory(rated=())
    assert chosen(so_far, [HOUSE, RACER], (PILOT, 1.0), (FARM, 2.0)) == {"Star Pilot"}


def test_the_actor_leaves_what_was_discouraged() -> None:
    so_far = trajectory(rated=[(HOUSE, 5.0)])
    assert chosen(so_far, [HOUSE, RACER]) == {"Haunted House"}
    assert chosen(so_far, [HOUSE, RACER], (HOUSE, -1.0)) == {"Night Racer"}


def rated(items: list[int], taste: Taste = NO_TASTE, **surprises: tuple[float, int]) -> set[str]:
    """Return what the actor's rule takes of candidates that are all rated 3.00 by others."""
    actor = replace(ACTOR, taster=Taster(CATALOG, lambda: EVERYTHING_RATED))
    known = {
        CATALOG.titles.index(title.replace("_", " ")): Surprise(round(mean * times * 2**80), times)
        for title, (mean, times) in surprises.items()
    }
    so_far = msgspec.structs.replace(trajectory(rated=()), thought="Go on.")
    tools = actor.consult(so_far, items, known)
    prompt = actor.prompt(so_far, tools, Advice(), taste, known)
    return {read_action(said(prompt, seed)) for seed in SEEDS}


def test_the_actor_takes_what_the_user_should_like_better_than_others() -> None:
    assert rated([HOUSE, RACER]) == {"Haunted House", "Night Racer"}
    assert rated([HOUSE, RACER], Taste({"Racing": 0.5}, 0.0)) == {"Night Racer"}


def test_the_actor_takes_what_others_rated_best() -> None:
    lines = ["- Go | Puzzle | rated 2.90 by 7", "- Chess | Puzzle | rated 3.10 by 7"]
    text = "## Candidates\n" + "\n".join(lines) + "\n"
    assert read_action(said(Prompt(role="actor", step=0, system="", text=text))) == "Chess"


def test_the_actor_takes_what_surprised_often() -> None:
    """Once may be chance: it counts as with four that were no surprise."""
    once, often = (1.0, 1), (0.5, 12)
    assert rated([HOUSE, RACER], Night_Racer=once) == {"Night Racer"}
    assert rated([HOUSE, RACER], Night_Racer=once, Haunted_House=often) == {"Haunted House"}
    assert rated([HOUSE, RACER], Night_Racer=(-1.0, 1)) == {"Haunted House"}


def test_the_actor_varies_if_the_thought_says_so() -> None:
    so_far = trajectory((GO, 5.0))
    varied = "Vary: nothing like the last items; take what was never tried."
    assert chosen(so_far, [CHESS, HOUSE], thought=varied) == {"Haunted House"}


def test_without_candidates_the_actor_still_answers() -> None:
    """In the grammar, so that grounding finds something."""
    assert chosen(trajectory(), []) == {"anything"}


# -- critic


def test_the_critic_values_variety() -> None:
    """At the same rewards."""
    assert value((GO, 4.0), (RACER, 4.0), (OPERA, 4.0)) > value((GO, 4.0), (CHESS, 4.0), (GO, 4.0))


def test_the_critic_values_content_users() -> None:
    """At the same variety."""
    assert value((GO, 5.0), (RACER, 5.0)) > value((GO, 3.0), (RACER, 3.0)) > value((GO, 1.0))


def test_the_critic_leans_on_like_states() -> None:
    """Half of the way to what was remembered."""
    assert value() == 5.0
    assert (value(like=5.0), value(like=-5.0)) == (5.0, 0.0)


@pytest.mark.parametrize("reward", [-9.0, 1.0, 5.0, 9.0])
@pytest.mark.parametrize("item", [GO, HOUSE])
def test_the_critics_value_is_on_the_scale(reward: float, item: int) -> None:
    assert -5 <= value(*[(item, reward)] * 4) <= 5


# -- reflector


def test_the_reflector_sees_a_low_reward() -> None:
    assert lesson((RACER, 4.0), (HOUSE, 1.25)).startswith(
        "The user left because Haunted House did not fit: reward 1.25."
    )


def test_the_reflector_sees_likeness() -> None:
    """And names the earlier item that was most like the last one."""
    text = lesson((RACER, 4.0), (GO, 4.0), (OPERA, 4.0), (CHESS, 4.0))
    assert "The user left because Chess Duel was too much like Go Master." in text
    assert "vary the categories" in text


def test_the_reflector_tells_what_was_liked_and_what_was_not() -> None:
    text = lesson((RACER, 5.0), (HOUSE, 2.0), (PILOT, 4.0), left=False)
    assert text.startswith("The user stayed")
    assert "Well liked: Racing, Action, Science Fiction." in text
    assert text.endswith("not welcome: Horror.")


def test_the_reflector_sees_that_the_first_item_was_the_last() -> None:
    assert lesson((RACER, 4.0)).startswith("The user left at once, at Night Racer.")


def test_the_planner_reads_what_the_reflector_wrote() -> None:
    """Macro-learning, end to end: likeness drove a user away, so the next one gets variety."""
    written = lesson((RACER, 4.0), (GO, 4.0), (CHESS, 4.0))
    so_far = trajectory((PILOT, 4.0), rated=())
    for thought in thoughts(so_far, written):
        assert thought.startswith("Vary")
        assert set(re.split(r"\W+", thought.partition("avoid")[2])) >= {"Action", "Science"}


# -- any catalog


@pytest.mark.parametrize("title", ["Nim | The Game", "5 | 4.00", "Issue ## 5", "- | -", "[Rec]²"])
def test_titles_may_have_any_signs(title: str) -> None:
    """Bars and number signs part a line and a prompt, and are found in real titles."""
    catalog = Catalog((title, "Emma"), (("A",), ("B",)), np.ones(2, np.int64))
    so_far = trajectory((0, 5.0), (1, 1.0), rated=[], catalog=catalog)
    tools = replace(ACTOR, catalog=catalog, search=CandidateSearch(catalog)).consult(so_far, [0])
    actor = replace(ACTOR, catalog=catalog).prompt(so_far, tools)
    assert read_action(said(actor)) == title
    assert said(Planner(catalog).prompt(so_far, [])) == "Take from A."


def test_a_schema_of_another_kind_fails_the_call() -> None:
    """It fills the one field of its roles' schemas, and says so of any other."""
    prompt = msgspec.structs.replace(PLANNER.prompt(trajectory(), []), schema='{"properties": {}}')
    with pytest.raises(CallFailedError, match="follows no schema but") as caught:
        said(prompt)
    assert caught.value.kind == "schema"


def test_a_prompt_without_end_fails_the_call() -> None:
    prompt = msgspec.structs.replace(PLANNER.prompt(trajectory(), []), text="x" * 2**18)
    with pytest.raises(CallFailedError, match="maximum context length") as caught:
        said(prompt)
    assert caught.value.kind == "too_long"
