"""The critic: micro-learning. It values states, and afterwards says what each step was worth.

Its prompt, in order: task and grammar (system); the user's history, the last items with their
rewards, the value given to the most similar earlier state, the question.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agents.asking import ask
from agents.billp.judging import tell_advantages
from agents.billp.memories import (
    HIGHEST,
    LOWEST,
    VALUATIONS,
    Valuation,
    learned_values,
    recalled,
)
from agents.billp.states import WINDOW, state_lines, states
from agents.billp.values import Judge, judged_steps
from agents.grammar import Grammar, structured
from agents.models.model import Prompt
from agents.prompts import OPENINGS, Histories, histories, recent_lines, section
from agents.settings import CriticSettings
from agents.trajectory import Delivery, Trajectory
from engine.errors import UnreadableReplyError
from engine.messages import (
    EpisodeSettled,
    EpisodeStarted,
    StateValued,
    UserResponded,
)
from engine.records import Recall
from storage.catalog import Catalog

ROLE = "critic"
_DEFAULT = CriticSettings()

TASK = f"""\
{OPENINGS[ROLE]} a visit of a user stands. Given what was recommended lately and what rewards it \
brought (1 to 5), estimate what is still to come: how long the user will stay and how content they \
will be. Likeness of recent items and low rewards make users leave.
The value is one whole number from -5 (about to leave) to 5 (long and content)."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def read_value(text: str) -> float:
    """Return the value of a reply: its first number, which must lie from −5 to 5."""
    # Models like to write a true minus sign.
    found = _NUMBER.search(text.replace("−", "-"))
    if found is None or not LOWEST <= float(found.group()) <= HIGHEST:
        raise UnreadableReplyError(f"expected a number from -5 to 5, got {text[:60]!r}")
    return float(round(float(found.group()))) + 0.0


# No worked example: small models copy it.
PLAIN = Grammar("Answer with the number alone.", read_value)
STRUCTURED = structured(
    "value",
    {"type": "integer", "enum": [*range(LOWEST, HIGHEST + 1)]},
    'Its one field, "value", is the number.',
    read_value,
    read_value,
)


@dataclass(frozen=True)
class Critic:
    """Values states with the help of like ones, and judges the steps of settled episodes."""

    catalog: Catalog
    judge_steps: Judge = judged_steps
    settings: CriticSettings = _DEFAULT
    grammar: Grammar[float] = PLAIN

    async def judge_start(self, delivery: Delivery[EpisodeStarted]) -> None:
        """Value state 0."""
        await self._judge(delivery, 0)

    async def judge(self, delivery: Delivery[UserResponded]) -> None:
        """Value the state after a step, unless the user has left: then it is 0 by definition."""
        if not delivery.message.left:
            await self._judge(delivery, delivery.message.step + 1)

    async def _judge(
        self, delivery: Delivery[EpisodeStarted] | Delivery[UserResponded], state: int
    ) -> None:
        trajectory = delivery.trajectory
        key = await delivery.embed(state_lines(trajectory))
        own = self.settings
        found = delivery.view(VALUATIONS).recall(key, own.recall_count, own.within)
        value, _ = await ask(delivery, self.prompt(trajectory, state, found), self.grammar.read)
        if value is not None:
            message = StateValued(state=state, value=value, recalled=recalled(found))
            delivery.publish(message)

    @cached_property
    def _history(self) -> Histories:
        return histories(self.catalog)

    def prompt(
        self, trajectory: Trajectory, state: int, found: Sequence[Recall[Valuation]]
    ) -> Prompt:
        """Return the question for the value of a state."""
        like = (f"- a like state was valued {r.record.payload.value:g}" for r in found)
        text = self._history(trajectory.history)
        text += section("Recent recommendations", recent_lines(trajectory, WINDOW))
        text += section("Values of like states", like)
        text += f"## Question\nWhat is the value of state {state}?"
        system = f"{TASK}\n{self.grammar.words}"
        schema = self.grammar.schema()
        return Prompt(role=ROLE, step=state, system=system, text=text, schema=schema, aside=True)

    async def settle(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Publish the advantages of the episode's steps, and keep what states were worth."""
        judged = self.judge_steps(delivery.episode)
        told = (*delivery.episode, *tell_advantages(delivery, judged))
        texts = states(delivery.trajectory)
        values = learned_values(told, outcomes=self.settings.learns == "outcomes")
        entries = [
            (await delivery.embed(texts[state]), Valuation(value=value))
            for state, value in sorted(values.items())
        ]
        delivery.remember(VALUATIONS, entries)
