"""The reflector: macro-learning. It says why a user left and what to do next time.

Its prompt, in order: task and grammar (system); the user's history, the whole trajectory with its
thoughts (the oldest thoughts are cut first), how the visit ended, the question.
"""

from dataclasses import dataclass

from agents.asking import ask
from agents.models.model import Prompt
from agents.prompts import OPENINGS, TOKEN, history_lines, section, step_lines
from agents.trajectory import Delivery, Trajectory
from engine.errors import UnreadableReplyError
from engine.messages import EpisodeEnded, ReflectionWritten
from storage.catalog import Catalog

ROLE = "reflector"

TASK = f"""\
{OPENINGS[ROLE]} of a user who was given recommendations, with the reward of each (1 to \
5). Users leave when an item is too much like recent ones, or when it does not fit them. Say in \
two or three sentences why this visit ended as it did, and what to do next time with users like \
this one. Name categories."""

WORDS = """\
Example of a reflection:
The user left because the last item was too much like one shown 2 steps before. Next time vary the \
categories from step to step, with more of what was liked and nothing of what was not.

Answer with the reflection alone."""


def read_reflection(text: str) -> str:
    """Return the reflection of a reply, in one line."""
    reflection = " ".join(text.split())
    if not reflection:
        raise UnreadableReplyError("expected a reflection, got an empty reply")
    return reflection


@dataclass(frozen=True)
class Reflector:
    """Writes the lesson of a finished episode."""

    catalog: Catalog
    prompt_tokens: int = 3_000

    async def reflect(self, delivery: Delivery[EpisodeEnded]) -> None:
        """Answer `EpisodeEnded` with `ReflectionWritten`; an unreadable lesson is none."""
        prompt = self.prompt(delivery.trajectory, delivery.message)
        lesson, _ = await ask(delivery, prompt, read_reflection)
        if lesson is not None:
            delivery.publish(ReflectionWritten(text=lesson))

    def prompt(self, trajectory: Trajectory, ended: EpisodeEnded) -> Prompt:
        """Return the question for the lesson of an episode."""
        head = section("History of the user", history_lines(self.catalog, trajectory.history))
        system = f"{TASK}\n\n{WORDS}"
        room = self.prompt_tokens * TOKEN - len(system) - len(head)
        text = head + section("Steps of the visit", step_lines(trajectory, room))
        how = "the user left" if ended.reason == "quit" else "the user was still there"
        text += section("End of the visit", [f"After {ended.length} steps {how}."])
        text += "## Question\nWrite the reflection."
        return Prompt(
            role=ROLE,
            step=ended.length,
            system=system,
            text=text,
            aside=True,
        )
