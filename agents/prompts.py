"""The text of prompts: sections of lines, made from typed state by pure functions.

A prompt is Markdown that people and models read: a heading, then its lines. An item stands in one
line, `- title | categories | reward`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from agents.trajectory import Step, Trajectory
from engine.messages import Rated
from storage.catalog import Catalog

TOKEN = 4
"""Characters a token has, about; an estimate for limits, reconciled with what a service counts."""

SEPARATOR = " | "

_REMEMBERED = 1_024  # histories: as many as there are users about, or few of them are met again

TASTE = "Taste: categories, and how much better than others the user likes them"
"""The heading of what is inferred of a user."""

OPENINGS = {
    "planner": "You plan recommendations",
    "actor": "You choose the next item",
    "critic": "You judge how well",
    "reflector": "You read the whole visit",
}
"""What the tasks of roles begin with: a service tells by it who asks, since no request says so."""


def role_of(task: str) -> str:
    """Return the role whose *task* it is; empty if it begins as none of them."""
    return next((role for role, opening in OPENINGS.items() if task.startswith(opening)), "")


def section(heading: str, lines: Iterable[str]) -> str:
    """Return a section, or nothing if it has no lines."""
    body = "\n".join(lines)
    return f"## {heading}\n{body}\n" if body else ""


def sections(text: str) -> dict[str, list[str]]:
    """Return the lines of each section of a prompt by heading."""
    found: dict[str, list[str]] = {}
    # At the beginning of a line only: a title may contain the same signs.
    for block in f"\n{text}".split("\n## ")[1:]:
        heading, *lines = block.rstrip("\n").split("\n")
        found[heading] = lines
    return found


def item_line(title: str, categories: Sequence[str], reward: float | None = None) -> str:
    """Return the line of an item."""
    line = f"- {title}{SEPARATOR}{', '.join(categories)}"
    return line if reward is None else f"{line}{SEPARATOR}{reward:.2f}"


def item_lines(catalog: Catalog, items: Iterable[int]) -> Iterable[str]:
    """Return the lines of *items*."""
    return (item_line(catalog.titles[item], catalog.categories[item]) for item in items)


def liking_lines(liking: Mapping[str, float]) -> list[str]:
    """Return by how much better than others a user likes each category, the best liked first."""
    order = sorted(liking, key=lambda name: (-liking[name], name))
    return [f"- {name}{SEPARATOR}{liking[name]:+.2f}" for name in order]


def history_lines(catalog: Catalog, history: Sequence[Rated]) -> list[str]:
    """Return what the user rated before the episode."""
    return [item_line(one.title, catalog.categories[one.item], one.rating) for one in history]


Histories: TypeAlias = Callable[[tuple[Rated, ...]], str]
"""Makes the section of a history."""


def histories(catalog: Catalog) -> Histories:
    """Return what makes the section of a history, once for all steps of a visit."""

    @lru_cache(_REMEMBERED)
    def made(history: tuple[Rated, ...]) -> str:
        return section("History of the user", history_lines(catalog, history))

    return made


def recent_lines(trajectory: Trajectory, window: int) -> list[str]:
    """Return the last *window* finished steps, oldest first, and up to as many before them.

    The oldest give way a whole window at a time: so long a prompt goes on as it began, and a
    service that keeps what it has read need not read it again.
    """
    whole = max(0, trajectory.length // window - 1) * window
    return [step_line(step) for step in trajectory.recent(trajectory.length - whole)]


def step_line(step: Step) -> str:
    """Return a finished step without its thought."""
    return item_line(step.title, step.categories, step.reward)


def step_lines(trajectory: Trajectory, characters: int) -> list[str]:
    """Return the steps so far, oldest first; the oldest thoughts give way to the limit."""
    steps = [(step_line(step), step.thought) for step in trajectory.steps()]
    room = characters - sum(len(line) + 1 for line, _ in steps)
    lines: list[str] = []
    for line, thought in steps:
        lines.append(line)
        if thought:
            lines.append(f"Thought: {thought}")
            room -= len(lines[-1]) + 1
            if room < 0:
                lines.pop()
    lines.reverse()
    return lines
