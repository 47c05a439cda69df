"""The planner: macro-learning. Before each action it writes a thought, guided by reflections.

Its prompt, in order: task and example (system); the user's history, reflections from the most
similar users, the steps so far with their thoughts (the oldest thoughts are cut first), the user's
taste, the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agents.asking import ask
from agents.billp.memories import REFLECTIONS, Reflection, at_random, recalled
from agents.billp.taste import Taster
from agents.models.model import Prompt
from agents.prompts import (
    OPENINGS,
    TOKEN,
    Histories,
    histories,
    section,
    step_lines,
)
from agents.trajectory import Delivery, Trajectory, task_lines
from engine.errors import UnreadableReplyError
from engine.messages import EpisodeSettled, PlanMade, PlanRequested, ReflectionWritten
from engine.records import Recall
from storage.catalog import Catalog

ROLE = "planner"

TASK = f"""\
{OPENINGS[ROLE]} for one user over a long visit. The user leaves when bored by items too \
much like recent ones, or annoyed by an item that does not fit. Your aim is that the user stays \
long and is content: the sum of the rewards (1 to 5 each) over the whole visit counts.
Before each step you write a thought: guidance in one or two sentences on what to recommend next, \
naming categories to take from and categories to avoid."""

WORDS = """\
Example of a thought:
Variety keeps this user; take from a well liked category that was not shown lately; avoid those of \
the last items.

Answer with the thought alone."""


def read_thought(text: str) -> str:
    """Return the thought of a reply: its first paragraph, in one line."""
    # The label goes first: some write it as a paragraph of its own.
    unlabelled = text.strip().removeprefix("Thought:").strip()
    thought = " ".join(unlabelled.split("\n\n")[0].split())
    if not thought:
        raise UnreadableReplyError("expected a thought, got an empty reply")
    return thought


@dataclass(frozen=True)
class Planner:
    """Writes the thought for each step; recalls *recall_count* reflections (arXiv: K = 2).

    They are those of the most similar users, unless they are drawn at *random* as in Reflexion. A
    *taster* tells the user's taste.
    """

    catalog: Catalog
    recall_count: int = 2
    within: float = 2.0
    prompt_tokens: int = 3_000
    random: bool = False
    taster: Taster | None = None

    async def plan(self, delivery: Delivery[PlanRequested]) -> None:
        """Answer `PlanRequested` with `PlanMade`."""
        trajectory = delivery.trajectory
        found = await self._reflections(delivery) if self.recall_count else []
        thought, text = await ask(delivery, self.prompt(trajectory, found), read_thought)
        delivery.publish(
            PlanMade(
                step=delivery.message.step,
                thought=thought or text.strip(),
                reflections=recalled(found),
            )
        )

    async def _reflections(self, delivery: Delivery[PlanRequested]) -> list[Recall[Reflection]]:
        key = await delivery.embed(task_lines(delivery.trajectory))
        view = delivery.view(REFLECTIONS)
        if self.random:
            stream = delivery.chance("reflections", delivery.message.step)
            return at_random(view, key, self.recall_count, self.within, stream)
        return list(view.recall(key, self.recall_count, self.within))

    @cached_property
    def _history(self) -> Histories:
        return histories(self.catalog)

    def prompt(self, trajectory: Trajectory, found: Sequence[Recall[Reflection]]) -> Prompt:
        """Return the question for the thought of a step."""
        head = self._history(trajectory.history)
        head += section(
            "Reflections from earlier visits", (f"- {r.record.payload.text}" for r in found)
        )
        taste = "" if self.taster is None else self.taster.taste(trajectory).section
        system = f"{TASK}\n\n{WORDS}"
        room = self.prompt_tokens * TOKEN - len(system) - len(head) - len(taste)
        text = head + section("Steps so far", step_lines(trajectory, room)) + taste
        text += f"## Question\nWrite the thought for step {trajectory.step}."
        return Prompt(role=ROLE, step=trajectory.step, system=system, text=text)

    async def remember(self, delivery: Delivery[EpisodeSettled]) -> None:
        """Keep the episode's reflection under the likeness of the user's history."""
        written = [m for m in delivery.episode if isinstance(m, ReflectionWritten)]
        if written:
            key = await delivery.embed(task_lines(delivery.trajectory))
            delivery.remember(REFLECTIONS, [(key, Reflection(text=m.text)) for m in written])
