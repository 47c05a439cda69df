"""Recorded trajectories as BiLLP's authors' code writes them (jizhi-zhang/BiLLP), line by line.

Its agents make a text for each user (`step` and `_build_info` in Agents/agent_base.py and those
beside it), and `save_info` in generation_rec_agents.py dumps one JSON object: by the user's place
in the task, ``{"userid": …, "prompt": …, "traj": text, "traj_by_line": the text's lines}``::

    The user's viewing history is ['…', '…'], please recommend item for this user
    Thought 1: …
    Action 1: recommend[words]
    Observation 1: [words] can not be recommened, instead, recommend[title]
    Observation 1: Episode continue, reward=4
    Thought 2: …
    Action 2: recommend[title]
    Observation 2: Episode finished, User Stop, reward=-1000.000

The first Observation stands there if the words were grounded to another title. −1000 says that the
user left: the reward of that step is not known. An episode that meets the limit of steps just stops
after "Episode continue". An action outside the grammar ends an episode, too: "Invalid Action. Valid
Actions are recommend[item]." Their agent with revisions (agent_revise.py) grounds in a second
Action line and tells the reward of the last step as well.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, TypeAlias

from engine.messages import number

Outcome: TypeAlias = Literal["continued", "left", "finished", "invalid"]

Fault: TypeAlias = Literal[
    "no action line",
    "unreadable action",
    "empty title",
    "no outcome line",
    "unreadable reward",
    "unknown line",
    "line after the end",
    "episode without end",
    "episode without steps",
    "not an episode",
]
"""The kinds of what cannot be read."""


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """A recommendation: *words* as the model said them, *title* as they were grounded.

    *reward* is None where the recording does not know it, *thought* where there is none.
    """

    thought: str | None
    words: str
    title: str
    reward: float | None
    left: bool

    @property
    def replaced(self) -> bool:
        """Whether another title stands in place of the words."""
        return self.words != self.title


@dataclass(frozen=True, kw_only=True)
class RecordedLines:
    """What the lines of an episode say.

    *outcome* is that of the last of *count* steps, readable or not; None if the lines break off
    within it. *fault* is the first thing that is missing from a step, *faults* counts all that
    cannot be read.
    """

    steps: tuple[RecordedStep, ...]
    count: int
    outcome: Outcome | None
    fault: str
    faults: Counter[Fault]


_LINE = re.compile(r"(Thought|Action|Observation) ([0-9]+):(.*)", re.DOTALL)
_ACTION = re.compile(r"recommend\[(.*)\]", re.DOTALL)
_GROUNDED = re.compile(r"\[(.*?)\] can not be recommend?ed, instead, recommend\[(.*)\]", re.DOTALL)
_OUTCOME = re.compile(r"Episode (continue|finished)(, User Stop)?(?:, reward=(.*))?", re.DOTALL)
_INVALID = "Invalid Action."
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_HUGE = 1e12  # beyond all ratings; sums stay finite
_GONE = -1000.0  # stands where a reward would, and is none


@dataclass(frozen=True)
class _Said:
    """A line of the step that has a *number*: *part* is Thought, Action or Observation."""

    number: int
    part: str
    text: str


@dataclass
class _Step:
    """A step as its lines are read, one after the other."""

    thought: str | None = None
    words: str | None = None
    title: str | None = None
    acted: bool = False
    outcome: Outcome | None = None
    reward: str = ""
    unknown: int = 0

    def take(self, said: _Said) -> None:
        """Read a line."""
        text = said.text.strip()
        grounded = _GROUNDED.fullmatch(text)
        match said.part:
            case "Thought" if self.thought is None and not self.acted:
                self.thought = text
            case "Action" | "Observation" if grounded and self.outcome is None:
                self._ground(text, grounded)
            case "Action" if not self.acted:
                self._act(text)
            case "Observation" if self.outcome is None:
                self._observe(text)
            case _:
                self.unknown += 1

    def _act(self, text: str) -> None:
        self.acted = True
        action = _ACTION.fullmatch(text)
        if action:
            self.words = self.title = action[1]

    def _ground(self, text: str, grounded: re.Match[str]) -> None:
        self.acted = True
        opening = f"[{self.words}] can not be "
        if self.words is not None and text.startswith(opening):  # they may hold brackets themselves
            self.title = text[len(opening) : -1].partition(", instead, recommend[")[2]
        else:
            self.words, self.title = grounded.groups()

    def _observe(self, text: str) -> None:
        outcome = _OUTCOME.fullmatch(text)
        if text.startswith(_INVALID):
            self.outcome = "invalid"
        elif outcome is None or (outcome[1] == "continue" and outcome[2]):
            self.unknown += 1
        else:
            ended: Outcome = "left" if outcome[2] else "finished"
            self.outcome = ended if outcome[1] == "finished" else "continued"
            self.reward = outcome[3] or ""

    def fault(self, *, last: bool) -> Fault | None:
        """Return what is missing from the step; the *last* one may be cut short."""
        cut = last and self.outcome is None
        if not self.acted:
            return None if cut else "no action line"
        if self.title is not None and not self.title.strip():
            return "empty title"
        if self.title is None or self.outcome == "invalid":
            return "unreadable action"
        if self.outcome is None:
            return None if cut else "no outcome line"
        reward = _number(self.reward)
        gone = self.outcome == "left" and reward == _GONE
        return None if gone or reward not in {None, _GONE} else "unreadable reward"

    def recorded(self) -> RecordedStep | None:
        """Return the step, if there was a recommendation."""
        if self.title is None or not self.title.strip() or self.outcome == "invalid":
            return None
        reward = _number(self.reward)
        return RecordedStep(
            thought=self.thought,
            words=self.words or "",
            title=self.title,
            reward=None if reward == _GONE else reward,
            left=self.outcome == "left",
        )


def _number(text: str) -> float | None:
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.inf
    return number(value) if abs(value) < _HUGE else None


@dataclass
class _Episode:
    """An episode as its steps are read, one after the other."""

    faults: Counter[Fault] = field(default_factory=Counter)
    steps: list[RecordedStep] = field(default_factory=list)
    count: int = 0
    outcome: Outcome | None = None
    fault: str = ""

    def take(self, lines: Sequence[_Said], *, last: bool) -> None:
        """Read the lines of a step."""
        if self.outcome not in {None, "continued"}:
            self.faults["line after the end"] += len(lines)
            return
        step = _Step()
        for said in lines:
            step.take(said)
        self.count += 1
        self.outcome = step.outcome
        self.faults["unknown line"] += step.unknown
        fault = step.fault(last=last)
        if fault:
            self.faults[fault] += 1
            self.fault = self.fault or f"{fault} at step {lines[0].number} of the recording"
        recorded = step.recorded()
        if recorded is not None:
            self.steps.append(recorded)


def read_lines(lines: Iterable[str]) -> RecordedLines:
    """Return what the lines of an episode say; the first one may be the question."""
    episode = _Episode()
    said = _said(lines, episode.faults)
    groups = [list(group) for _, group in groupby(said, key=lambda one: one.number)]
    for place, group in enumerate(groups, 1):
        episode.take(group, last=place == len(groups))
    return RecordedLines(
        steps=tuple(episode.steps),
        count=episode.count,
        outcome=episode.outcome,
        fault=episode.fault,
        faults=+episode.faults,
    )


def _said(lines: Iterable[str], faults: Counter[Fault]) -> Iterator[_Said]:
    for place, line in enumerate(lines):
        known = _LINE.fullmatch(line)
        if known:
            yield _Said(int(known[2]), known[1], known[3])
        elif place > 0 and line.strip():
            faults["unknown line"] += 1
